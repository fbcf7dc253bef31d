"""The slash commands of a chat: /method, /frames, /trace, /report, /save, /clear, /help, /quit."""

import difflib
import json
import os
from collections.abc import Callable
from pathlib import Path

from dycoke_cli.display.output_files import check_writable, write_file
from dycoke_cli.display.records import trace_record
from dycoke_cli.errors import UsageError
from dycoke_cli.session.chat import Chat

HELP = {
    "/method": "[NAME[:K=V,...]]  change the method, for example to dycoke:k=0.5; without NAME: print the current one",
    "/frames": "[N]  use N frames; without N: print their number",
    "/trace": "FILE.json | on | off  write the tokens that each step reads, now and after every answer",
    "/report": "FILE.html  write an HTML page of the turns so far, with the tokens by word and by frame",
    "/save": "FILE.md  write the conversation as text",
    "/clear": "remove all turns; the video stays encoded",
    "/help": "print this list",
    "/quit": "end the chat, like Ctrl-D",
}


class ChatCommands:
    """The commands of one chat. `notice` prints a line to stderr.

    Commands replace files that this chat wrote, and never files that existed before.
    """

    def __init__(self, chat: Chat, notice: Callable[[str], None]) -> None:
        self.chat, self.notice = chat, notice
        self.written: dict[Path, str] = {}  # the command that wrote each file
        self.trace_file: Path | None = None
        self.tracing = False

    def run(self, line: str) -> bool:
        """Run one command and return False if it ends the chat. Raises DyCokeError."""
        name, _, rest = line.partition(" ")
        if name not in HELP:
            close = difflib.get_close_matches(name, HELP, n=1)
            raise UsageError(
                f"no command is called {name!r}", f"Did you mean {close[0]}?" if close else "See /help; questions "
                "begin without a slash"
            )  # fmt: skip
        if name == "/quit":
            return False
        getattr(self, f"_{name[1:]}")(rest.strip())
        return True

    def answered(self) -> None:
        """Rewrite the trace after an answer, if tracing is on."""
        if self.tracing and self.trace_file is not None:
            self._write_trace(self.trace_file)

    def _help(self, rest: str) -> None:
        for name, text in HELP.items():
            self.notice(f"{name} {text}")

    def _method(self, rest: str) -> None:
        if rest:
            self.chat.use_method(rest)
        self.notice(f"method: {self.chat.method_text}")

    def _frames(self, rest: str) -> None:
        if rest:
            self.chat.use_frames(rest)
        self.notice(f"{self.chat.frames} frames")

    def _clear(self, rest: str) -> None:
        self.chat.clear()
        self.notice("All turns are removed; the video stays encoded.")

    def _save(self, rest: str) -> None:
        from dycoke_cli.display.chat import transcript

        path = self._file("/save", rest, "talk.md")
        write_file(path, transcript(self.chat.said, self.chat.video, self.chat.opened.checkpoint.name))
        self._written("/save", path)

    def _trace(self, rest: str) -> None:
        if rest in ("", "off"):
            self.tracing = False
            self.notice("trace: off")
            return
        if rest == "on":
            if self.trace_file is None:
                raise UsageError("no file has been named for the trace", "Name one: /trace trace.json")
            self.tracing = True
            self.answered()
            return
        path = self._file("/trace", rest, "trace.json")
        self.trace_file, self.tracing = path, True
        self.written[path] = "/trace"
        if self._turns("the trace"):
            self._write_trace(path)
        self.notice(f"trace: {path}")

    def _write_trace(self, path: Path) -> None:
        if self.chat.conversation.turns[self.chat.since :]:
            write_file(path, json.dumps(trace_record(self.chat.outcome())) + "\n")

    def _report(self, rest: str) -> None:
        from dycoke_cli.display.report import ask_runs, write_report

        path = self._file("/report", rest, "talk.html")
        if not self._turns("the report"):
            raise UsageError("there is nothing to report yet", "Ask something first")
        chat, outcome = self.chat, self.chat.outcome()
        settings = chat.settings.model_copy(update={"model": chat.opened.checkpoint.name})
        command = settings.as_command("chat", [chat.video])
        shown = settings.model_dump(exclude={"cache", "cache_size"})
        write_report(path, ask_runs(outcome), outcome.frames, outcome.model, shown, command)
        self._written("/report", path)

    def _turns(self, what: str) -> int:
        """Return the number of turns with the current method and frames, and print how many are not in `what`."""
        chat = self.chat
        if chat.since:
            turns = "turn" if chat.since == 1 else "turns"
            self.notice(f"{chat.since} earlier {turns} used another method or other frames: not in {what}")
        return len(chat.conversation.turns) - chat.since

    def _file(self, command: str, text: str, example: str) -> Path:
        """Return the path for a command to write. Raises UsageError if it exists or another command writes it."""
        if not text:
            raise UsageError("a file is missing", f"Write it like {command} {example}")
        path = Path(os.path.expanduser(text)).absolute()
        other = self.written.get(path, command)
        if other != command:
            raise UsageError(f"{str(path)!r} is already written by {other}", "Name another file")
        if os.path.lexists(path) and path not in self.written:
            raise UsageError(f"{str(path)!r} already exists", "Name another file, or remove that one first")
        check_writable(path)
        return path

    def _written(self, command: str, path: Path) -> None:
        self.written[path] = command
        self.notice(f"{path} written")
