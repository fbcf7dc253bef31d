"""Where a chat's lines come from: a person at a terminal, or a pipe."""

import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from dycoke_cli.cli.interrupt import Terminated

PROMPT, MORE = "> ", ". "  # plain, as a readline without a UTF-8 locale would garble anything else
PASTE_S = 0.03  # whoever types takes longer for the next line
REMEMBERED = 1000  # entries of the history
LEAVING = "Ctrl-C again, or Ctrl-D, leaves."


class PipedLines:
    """One question a line."""

    interactive = False

    def __init__(self) -> None:
        _read_any_bytes()

    def read(self) -> str | None:
        """Give the next line, None after the last one."""
        line = sys.stdin.readline()
        return line.strip() if line else None


class KeyboardPrompt:
    """Reads what a person types or pastes, with line editing and a history that outlives the chat.

    A paste of several lines is one question: readline holds it together where it knows how; elsewhere lines that are
    there at once belong together.
    """

    interactive = True

    def __init__(self) -> None:
        _read_any_bytes()
        self.readline = _readline()
        self.history = _history_file()
        if self.readline is not None:
            self.readline.parse_and_bind("set enable-bracketed-paste on")
            self.readline.set_auto_history(False)
            for line in _remembered(self.history):
                self.readline.add_history(line)

    def read(self) -> str | None:
        """Give what was entered, None at its end.

        Raises KeyboardInterrupt at the second Ctrl-C in a row, Terminated at SIGTERM.
        """
        hit = False
        while True:
            try:
                text = self._entered()
            except EOFError:
                sys.stderr.write("\n")
                return None
            except KeyboardInterrupt as stop:
                if hit or isinstance(stop, Terminated):
                    raise
                hit = True
                sys.stderr.write(f"\n{LEAVING}\n")
                continue
            if text:
                self._remember(text)
            return text

    def _entered(self) -> str:
        lines = [_line(PROMPT)]
        while sys.platform != "win32" and select.select([sys.stdin], [], [], PASTE_S)[0]:
            lines.append(_line(MORE))
        return "\n".join(lines).strip()

    def _remember(self, text: str) -> None:
        if self.readline is None:
            return
        self.readline.add_history(text)
        with suppress(OSError):
            self.history.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.history, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8", errors="replace") as file:
                file.write(json.dumps(text) + "\n")


def _read_any_bytes() -> None:
    """Let stdin give what is not text: it is refused as a question, and not before."""
    reconfigure = getattr(sys.stdin, "reconfigure", None)  # a stream of a caller's own may have none
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")


def _line(prompt: str) -> str:
    if sys.stdout.isatty():
        return input(prompt)
    # input() would write the prompt among the answers.
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return input()


def _readline() -> Any:
    try:
        import readline
    except ImportError:  # Windows, whose console edits lines itself
        return None
    return readline


def _history_file() -> Path:
    import typer

    return Path(typer.get_app_dir("dycoke")) / "chat_history.jsonl"


def _remembered(file: Path) -> list[str]:
    """Read the last entries of the history; a file that has grown long is cut down to them."""
    try:
        entries = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    lines = []
    for entry in entries[-REMEMBERED:]:
        with suppress(ValueError):
            lines.append(str(json.loads(entry)))
    if len(entries) > 2 * REMEMBERED:
        from dycoke_cli.display.records import write_whole
        from dycoke_cli.errors import UsageError

        with suppress(UsageError):
            write_whole(file, "".join(json.dumps(line) + "\n" for line in lines))
            file.chmod(0o600)
    return lines
