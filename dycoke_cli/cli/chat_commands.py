"""What a chat's user can do besides asking: lines that begin with a slash."""

import difflib
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

from dycoke_cli.display.output_files import check_writable
from dycoke_cli.display.records import trace_record, write_whole
from dycoke_cli.errors import UsageError
from dycoke_cli.session.chat import Chat

HELP = {
    "/method": "[NAME[:K=V,...]]  another method from here on, as dycoke:k=0.5; alone: the one that runs",
    "/frames": "[N]  look at so many frames; alone: how many there are",
    "/trace": "FILE.json | on | off  write which tokens each step reads, now and after every answer",
    "/report": "FILE.html  a page that shows the turns so far, word by word and frame by frame",
    "/save": "FILE.md  the conversation as text",
    "/clear": "forget the conversation; the video stays",
    "/help": "this list",
    "/quit": "leave, as Ctrl-D does",
}


class ChatCommands:
    """Runs the commands of one chat. `tell` shows a line that is no answer.

    A file that was there before is never replaced; one that this chat wrote is.
    """

    def __init__(self, chat: Chat, tell: Callable[[str], None]) -> None:
        self.chat, self.tell = chat, tell
        self.written: dict[Path, str] = {}  # and by which command
        self.trace_file: Path | None = None
        self.tracing = False

    def run(self, line: str) -> bool:
        """Run one command; False where it leaves the chat. Raises a DyCokeError."""
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
        """Write the trace anew, where it is wanted."""
        if self.tracing and self.trace_file is not None:
            self._write_trace(self.trace_file)

    def _help(self, rest: str) -> None:
        for name, text in HELP.items():
            self.tell(f"{name} {text}")

    def _method(self, rest: str) -> None:
        if rest:
            self.chat.use_method(rest)
        self.tell(f"method: {self.chat.method_text}")

    def _frames(self, rest: str) -> None:
        if rest:
            self.chat.use_frames(rest)
        self.tell(f"{self.chat.frames} frames")

    def _clear(self, rest: str) -> None:
        self.chat.clear()
        self.tell("The conversation begins anew; the video is still there.")

    def _save(self, rest: str) -> None:
        from dycoke_cli.display.transcript import transcript

        path = self._file("/save", rest, "talk.md")
        self._write(
            "/save", path, lambda: write_whole(path, transcript(self.chat.said, self.chat.video, self.chat.opened.name))
        )

    def _trace(self, rest: str) -> None:
        if rest in ("", "off"):
            self.tracing = False
            self.tell("trace: off")
            return
        if rest == "on":
            if self.trace_file is None:
                raise UsageError("there is no file yet that the trace could go to", "Name one: /trace trace.json")
            self.tracing = True
            self.answered()
            return
        path = self._file("/trace", rest, "trace.json")
        self.trace_file, self.tracing = path, True
        self.written[path] = "/trace"
        if self._turns("the trace"):
            self._write_trace(path)
        self.tell(f"trace: {path}")

    def _write_trace(self, path: Path) -> None:
        if self.chat.conversation.turns[self.chat.since :]:
            write_whole(path, json.dumps(trace_record(self.chat.outcome())) + "\n")

    def _report(self, rest: str) -> None:
        from dycoke_cli.display.report import ask_runs, write_report

        path = self._file("/report", rest, "talk.html")
        if not self._turns("the report"):
            raise UsageError("there is nothing to report yet", "Ask something first")
        chat, outcome = self.chat, self.chat.outcome()
        settings = chat.settings.model_copy(update={"model": chat.opened.name})
        command = shlex.join(["dycoke", "chat", *settings.as_flags(), chat.video])
        shown = settings.model_dump(exclude={"cache", "cache_size"})
        self._write(
            "/report",
            path,
            lambda: write_report(path, ask_runs(outcome), outcome.frames, outcome.model, shown, command),
        )

    def _turns(self, what: str) -> int:
        """Count the turns that share method and frames, and say which ones are left out."""
        chat = self.chat
        if chat.since:
            self.tell(f"{chat.since} earlier turns had another method or other frames: {what} leaves them out")
        return len(chat.conversation.turns) - chat.since

    def _file(self, command: str, text: str, example: str) -> Path:
        """Give the file that a command may write. Raises UsageError for one that is somebody else's."""
        if not text:
            raise UsageError("a file is missing", f"Write it like {command} {example}")
        path = Path(os.path.expanduser(text)).absolute()
        other = self.written.get(path, command)
        if other != command:
            raise UsageError(f"{str(path)!r} is what {other} writes", "Name another file")
        if os.path.lexists(path) and path not in self.written:
            raise UsageError(f"{str(path)!r} is there already", "Name another file, or remove that one first")
        check_writable(path)
        return path

    def _write(self, command: str, path: Path, write: Callable[[], None]) -> None:
        write()
        self.written[path] = command
        self.tell(f"{path} written")
