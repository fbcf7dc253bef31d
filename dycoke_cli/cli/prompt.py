"""Read the lines of a chat from a terminal or a pipe."""

import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from dycoke_cli.cli.interrupt import Terminated

PROMPT, CONTINUED = "> ", ". "  # ASCII, because readline without a UTF-8 locale garbles other characters
PASTE_S = 0.03  # lines that follow faster belong to a paste: typing takes longer
HISTORY_SIZE = 1000  # entries
LEAVING = "Press Ctrl-C again or Ctrl-D to leave."


class PipedLines:
    """Reads one question per line from stdin."""

    interactive = False

    def __init__(self) -> None:
        _read_any_bytes()

    def read(self) -> str | None:
        """Return the next line, or None at the end."""
        line = sys.stdin.readline()
        return line.strip() if line else None


class KeyboardPrompt:
    """Reads typed or pasted questions, with line editing and a history file.

    A paste of several lines is one question: readline with bracketed paste returns it whole; without, lines that
    arrive within PASTE_S are joined.
    """

    interactive = True

    def __init__(self) -> None:
        _read_any_bytes()
        self.readline = _readline()
        self.history = Path(typer.get_app_dir("dycoke")) / "chat_history.jsonl"
        if self.readline is not None:
            self.readline.parse_and_bind("set enable-bracketed-paste on")
            self.readline.set_auto_history(False)
            for line in _read_history(self.history):
                self.readline.add_history(line)

    def read(self) -> str | None:
        """Return the next entry, or None at the end of input.

        Raises KeyboardInterrupt at the second Ctrl-C in a row, Terminated at SIGTERM.
        """
        interrupted = False
        while True:
            try:
                text = self._read_entry()
            except EOFError:
                sys.stderr.write("\n")
                return None
            except KeyboardInterrupt as stop:
                if interrupted or isinstance(stop, Terminated):
                    raise
                interrupted = True
                sys.stderr.write(f"\n{LEAVING}\n")
                continue
            if text:
                self._append_history(text)
            return text

    def _read_entry(self) -> str:
        lines = [_input(PROMPT)]
        while sys.platform != "win32" and select.select([sys.stdin], [], [], PASTE_S)[0]:
            lines.append(_input(CONTINUED))
        return "\n".join(lines).strip()

    def _append_history(self, text: str) -> None:
        if self.readline is None:
            return
        self.readline.add_history(text)
        with suppress(OSError):
            self.history.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.history, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8", errors="replace") as file:
                file.write(json.dumps(text) + "\n")


def _read_any_bytes() -> None:
    """Decode invalid UTF-8 on stdin to surrogates; `check_question` then refuses it with a message."""
    reconfigure = getattr(sys.stdin, "reconfigure", None)  # a caller's own stream may have none
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")


def _input(prompt: str) -> str:
    if sys.stdout.isatty():
        return input(prompt)
    # input() would write the prompt to stdout, among the answers.
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return input()


def _readline() -> Any:
    try:
        import readline
    except ImportError:  # Windows, whose console edits lines itself
        return None
    return readline


def _read_history(file: Path) -> list[str]:
    """Return the last HISTORY_SIZE entries; a file of more than twice as many is rewritten with these."""
    try:
        entries = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    lines = []
    for entry in entries[-HISTORY_SIZE:]:
        with suppress(ValueError):
            lines.append(str(json.loads(entry)))
    if len(entries) > 2 * HISTORY_SIZE:
        from dycoke_cli.display.output_files import write_file
        from dycoke_cli.errors import UsageError

        with suppress(UsageError):
            write_file(file, "".join(json.dumps(line) + "\n" for line in lines))
            file.chmod(0o600)
    return lines
