"""`dycoke chat` from a pipe and at a terminal: commands, files, Ctrl-C, SIGTERM, history."""

import fcntl
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dycoke_cli.cli import prompt
from dycoke_cli.cli.app import run
from dycoke_cli.cli.interrupt import Stopper, Termination
from dycoke_cli.config.settings import Settings
from dycoke_cli.models import checkpoints
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.session.load import load_model

ROOT = Path(__file__).parents[2]
CUBE = str(ROOT / "sample_videos" / "cube.mp4")
FLAGS = ["-m", "demo", "-n", "4", "--max-new-tokens", "6"]
QUESTION = "what colour is the cube?"
pytestmark = pytest.mark.usefixtures("own_signals")


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Isolate from the user's settings; a terminal of 100 columns without colour."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoded")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, encoded: Path) -> None:
    """Load the model once, and share the cache of encoded videos between tests."""
    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", lambda: encoded)
    monkeypatch.setattr("dycoke_cli.session.pipeline.load_model", lambda checkpoint, settings, *_: demo())


@cache
def demo() -> Llava:
    return load_model(checkpoints.locate("demo"), Settings())


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command with piped lines -> exit code, stdout, stderr."""

    def piped(*lines: str, flags: list[str] = FLAGS) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        code = run(["chat", CUBE, *flags])
        return code, *capsys.readouterr()

    return piped


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command with typed lines; a callable is called in place of a line."""

    def entered(*lines: Any, flags: list[str] = FLAGS) -> tuple[int, str, str]:
        class Person:
            interactive = True
            left = iter(lines)

            def read(self) -> str | None:
                line = next(self.left, None)
                return line() if callable(line) else line

        class Keyboard(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(sys, "stdin", Keyboard())
        monkeypatch.setattr(prompt, "KeyboardPrompt", Person)
        code = run(["chat", CUBE, *flags])
        return code, *capsys.readouterr()

    return entered


Runner = Callable[..., tuple[int, str, str]]


def test_piped_questions_get_one_answer_per_line(chat: Runner) -> None:
    """Blank lines are skipped; stdout has only the answers; with -q stderr is empty."""
    code, out, err = chat(QUESTION, "", "  ", "how many cubes are there?", flags=[*FLAGS, "-q"])
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 2
    assert all(out.splitlines())


def test_empty_input_asks_nothing(chat: Runner) -> None:
    assert chat(flags=[*FLAGS, "-q"]) == (0, "", "")


def test_method_and_frames_can_change(chat: Runner) -> None:
    """Trace and report have the turns after the last change; the transcript has all turns, each with its method."""
    lines = [QUESTION, "/method full", "and now?", "/frames 2", "and then?", "/trace t.json", "/report r.html"]
    code, out, err = chat(*lines, "where is it?", "/save talk.md", "/save talk.md", "/quit", "not asked")
    assert code == 0
    assert len(out.splitlines()) == 4
    assert "2 earlier turns" in err
    talk = Path("talk.md").read_text()
    asked = [line for line in talk.splitlines() if line.startswith("> ")]
    assert asked == [f"> {question}" for question in (QUESTION, "and now?", "and then?", "where is it?")]
    assert "*demo, full, 2 frames*" in talk
    assert talk.index("*demo, dycoke, 4 frames*") < talk.index("and now?") < talk.index("*demo, full, 2 frames*")
    trace = json.loads(Path("t.json").read_text())
    assert max(trace["visual"]["frame"]) == 1
    assert len(trace["answers"]) == 2  # written again after the last answer
    assert "and then?" in Path("r.html").read_text()
    assert sorted(path.name for path in Path().iterdir()) == ["r.html", "t.json", "talk.md"]


def test_another_method_does_not_repeat_the_damage_notice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even if it needs saliency and the video is encoded again; other frames may have other gaps."""
    clip = str(ROOT / "tests" / "media" / "cut60_faststart.mp4")
    for lines, times in (("q\n/method visionzip\nq\n", 1), ("q\n/frames 3\nq\n", 2)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        assert run(["chat", clip, *FLAGS]) == 0
        out, err = capsys.readouterr()
        assert (len(out.splitlines()), err.count("only 86 of 150 frames can be read")) == (2, times)


def test_a_method_that_prefills_every_turn_prints_a_notice(chat: Runner) -> None:
    code, out, err = chat(QUESTION, "/method fastv:l=2", QUESTION)
    assert (code, len(out.splitlines())) == (0, 2)
    assert "every turn runs the whole conversation anew" in err


@pytest.mark.parametrize(
    ("line", "what", "remedy"),
    [
        ("/methd full", "'/methd'", "/method"),
        ("/method nosuch", "'nosuch'", "Choose from"),
        ("/method dycoke:l=99", "l=99", "-o l="),
        ("/frames many", "'many'", "/frames 32"),
        ("/frames 0", "'0'", "/frames 32"),
        ("/save", "a file is missing", "/save talk.md"),
        ("/save there.txt", "already exists", "another file"),
        ("/save no/such/folder.md", "cannot be written", "folder"),
        ("/trace on", "no file", "/trace trace.json"),
        ("/report r.html", "nothing to report", "Ask something"),
    ],
)
def test_errors_keep_the_conversation(typed: Runner, line: str, what: str, remedy: str) -> None:
    """At a terminal: problem with value, and remedy; the next question is answered, and no file is replaced."""
    Path("there.txt").write_text("mine")
    code, out, err = typed(line, QUESTION)
    assert code == 0
    complaint = err.splitlines().index(next(text for text in err.splitlines() if text.startswith("dycoke: ")))
    assert what in err.splitlines()[complaint]
    assert remedy in err.splitlines()[complaint + 1]
    assert len(out.splitlines()) == 1
    assert Path("there.txt").read_text() == "mine"


def test_a_change_beyond_the_context_keeps_the_conversation(typed: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """More frames or a method that exceed the model's positions are refused; the chat continues as before."""
    monkeypatch.setattr(LanguageModel, "context", property(lambda _: 230))
    code, out, err = typed(QUESTION, "/frames 16", "/method full", "/frames 12", QUESTION)
    assert (code, len(out.splitlines())) == (0, 2)
    assert [line for line in err.splitlines() if line.startswith("dycoke: ")] == [
        "dycoke: method dycoke needs 298 positions for 16 frames and the question, and the model's context has 230",
        "dycoke: method full needs 454 positions for 12 frames and the question, and the model's context has 230",
    ]
    assert err.count("Would fit: --frames") == 2


def test_a_file_is_written_by_one_command_of_a_chat(typed: Runner) -> None:
    """A report written over the trace would be lost at the next answer."""
    code, out, err = typed(QUESTION, "/trace t.json", "/report t.json", "/save t.json", QUESTION)
    assert (code, len(out.splitlines())) == (0, 2)
    assert err.count("t.json' is already written by /trace") == 2
    assert Path("t.json").read_text().startswith("{")


def test_an_unknown_home_folder_is_an_unwritable_path(typed: Runner) -> None:
    """`~nobody/` ends in the message for a path that cannot be written."""
    code, _, err = typed("/save ~nobody-of-that-name/t.md", QUESTION)
    assert (code, "cannot be written" in err, "unexpected" in err) == (0, True, False)


def test_an_error_in_a_pipe_ends_with_its_exit_code(chat: Runner) -> None:
    """Earlier answers stay on stdout."""
    code, out, err = chat(QUESTION, "/frames many", "not asked")
    assert (code, len(out.splitlines())) == (2, 1)
    assert "'many'" in err


def test_a_video_from_stdin_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chat", "-"]) == 2
    assert "stdin" in capsys.readouterr().err


def test_an_interruption_keeps_the_conversation(typed: Runner, chat: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during an answer keeps its words, and the chat continues."""
    from dycoke_cli.session.trace import Recorder

    take = Recorder.take

    def taken(self: Recorder, *arguments: Any) -> str:
        if len(self.ids) == 1 and self.shared and "describe" in wanted:
            wanted.clear()
            signal.raise_signal(signal.SIGINT)
        return take(self, *arguments)

    wanted = ["describe"]
    monkeypatch.setattr(Recorder, "take", taken)
    code, out, err = typed("describe the video", "/save talk.md", QUESTION)
    assert code == 0
    assert "the incomplete answer stays" in err
    assert "*(stopped)*" in Path("talk.md").read_text()
    assert len(out.splitlines()) == 2


def test_ctrl_c_interrupts_outside_answers() -> None:
    """During decoding the first requests a stop and the second interrupts; before decoding the first interrupts."""
    with Stopper(active=True) as stopper:
        stopper.phase("prefill")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        stopper.phase("decode")
        signal.raise_signal(signal.SIGINT)
        assert stopper.stop_requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


READER = """
import sys
import termios
from dycoke_cli.cli.interrupt import Termination
from dycoke_cli.cli.prompt import KeyboardPrompt
Termination().install()
keyboard = KeyboardPrompt()
while (line := keyboard.read()) is not None:
    print(repr(line), flush=True)
print("left", flush=True)
"""


def _own_terminal(slave: int) -> None:
    """Make `slave` the controlling terminal of this process."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a child inherits SIG_IGN, but no handlers


class Screen:
    """A Python program in a pseudo-terminal."""

    def __init__(self, code: str, folder: Path) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder)}
        command = [sys.executable, "-c", code]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=lambda: _own_terminal(slave),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> str:
        """Read output until `text` -> the output before it."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 4096).decode(errors="replace")
        shown, self.seen = self.seen.split(text, 1)
        return shown

    def type(self, text: str) -> None:
        if "\x03" in text:
            time.sleep(0.3)  # readline prints its prompt before it handles signals
        os.write(self.master, text.encode())


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Callable[[], Screen]]:
    screens: list[Screen] = []

    def opened() -> Screen:
        screens.append(Screen(READER, tmp_path))
        screens[-1].until(prompt.PROMPT)
        return screens[-1]

    yield opened
    for one in screens:
        one.process.kill()
        one.process.wait()
        os.close(one.master)


def test_a_paste_is_one_question_and_the_history_is_kept(screen: Callable[[], Screen]) -> None:
    """With and without bracketed paste; arrow up recalls entries, in this chat and the next; Ctrl-D ends the chat."""
    first = screen()
    first.type("\x1b[200~one\ntwo\x1b[201~\r")
    first.until("'one\\ntwo'")
    first.until(prompt.PROMPT)
    first.type("three\nfour\n")
    first.until("'three\\nfour'")
    first.until(prompt.PROMPT)
    first.type("\x1b[A\r")
    first.until("'three\\nfour'")
    first.until(prompt.PROMPT)
    first.type("\x04")
    first.until("left")
    assert first.process.wait(30) == 0
    second = screen()
    second.type("\x1b[A\x1b[A\x1b[A\r")
    second.until("'one\\ntwo'")


def test_ctrl_c_twice_at_the_prompt_leaves(screen: Callable[[], Screen]) -> None:
    """The first discards the line and prints how to leave; the second in a row leaves."""
    at = screen()
    at.type("half a quest\x03")
    at.until(prompt.LEAVING)
    at.until(prompt.PROMPT)
    at.type("whole\r")
    at.until("'whole'")
    at.until(prompt.PROMPT)
    at.type("\x03")
    at.until(prompt.PROMPT)
    at.type("\x03")
    at.until("KeyboardInterrupt")
    assert at.process.wait(30) != 0


def test_sigterm_at_the_prompt_leaves(screen: Callable[[], Screen]) -> None:
    """Immediately, unlike the first Ctrl-C."""
    at = screen()
    at.type("half a quest")
    time.sleep(0.3)  # as for Ctrl-C
    at.process.send_signal(signal.SIGTERM)
    at.until("Terminated")
    assert at.process.wait(30) != 0


def test_sigterm_during_an_answer_ends_the_chat(typed: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike Ctrl-C, which stops only the answer."""
    from dycoke_cli.session.trace import Recorder

    def taken(self: Recorder, *arguments: Any) -> str:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("not reached")

    Termination().install()
    monkeypatch.setattr(Recorder, "take", taken)
    code, _, err = typed("describe the video", QUESTION)
    assert code == 130
    assert err.splitlines()[-1] == "dycoke: interrupted"
