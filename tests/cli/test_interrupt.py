"""SIGTERM does what Ctrl-C does, in every command; a run without a terminal says how far it is, once a minute."""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from dycoke_cli.captioning.run import Tally
from dycoke_cli.cli.app import run
from dycoke_cli.cli.interrupt import INTERRUPTED, TWICE_S, Interrupt, Terminated, Termination
from dycoke_cli.cli.terminal import DelayedBar, Terminal
from dycoke_cli.display.captions import CaptionProgress
from dycoke_cli.display.minute_lines import MINUTE_S, MinuteLines
from tests.captioning.launcher import Launcher, appears

CUBE = str(Path(__file__).parents[2] / "sample_videos" / "cube.mp4")
QUESTIONS = "".join(f"- {{video: {CUBE}, question: what is this {n}?, answer: a cube}}\n" for n in range(60))
QUICK = ("-m", "demo", "-n", "2", "--max-new-tokens", "4")
pytestmark = pytest.mark.usefixtures("own_signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the states of processes are read from /proc")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_second_sigterm_ends_at_once_and_a_doubled_one_does_not() -> None:
    """GNU timeout's two in a row are one; later ones end the process with the exit code of an interruption."""
    clock, ended = Clock(), []
    Termination(clock, ended.append).install()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    clock.now += TWICE_S * 0.6
    signal.raise_signal(signal.SIGTERM)
    assert ended == []
    clock.now += TWICE_S * 0.6  # since the first: those who send one twice a second want an end
    with pytest.raises(Terminated):  # a real end does not come back
        signal.raise_signal(signal.SIGTERM)
    assert ended == [INTERRUPTED]


class Final:
    """Ends with an exception that Python cannot pass on."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end

    def __del__(self) -> None:
        self.end()


def fail() -> None:
    raise ZeroDivisionError


def test_a_sigterm_amid_a_finalizer_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reports what a finalizer raises, and goes on; the signal is heard a moment later. Others are reported."""
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    Termination().install()
    Final(fail)
    assert reported == [ZeroDivisionError]
    Final(lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Terminated):
        time.sleep(60)
    assert reported == [ZeroDivisionError]


def test_a_sigterm_that_is_ignored_stays_so() -> None:
    """Whoever starts a command may want it to outlive the signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Termination().install()
    signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_a_run_that_finishes_its_work_hears_both_signals() -> None:
    """The first of either asks, a doubled one changes nothing, another one interrupts; handlers come back."""
    Termination().install()
    heard = signal.getsignal(signal.SIGTERM)
    clock, told = Clock(), []
    with Interrupt(lambda: told.append(1), clock) as interrupt:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert (interrupt.asked, told) == (True, [1])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        clock.now += TWICE_S
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert told == [1]
    assert signal.getsignal(signal.SIGTERM) == heard


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    made = Launcher()
    yield made
    made.close()


def hears(pid: int, within_s: float = 60.0) -> None:
    """Wait until a process has a handler for SIGTERM."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError("no handler of SIGTERM")


@linux
@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", CUBE, *["what colour is the cube?"] * 60, *QUICK, "--no-cache"),
        ("compare", CUBE, "what?", "--repeat", "9999", "-m", "demo", "-n", "2", "--max-new-tokens", "4"),
        ("bench", "--shape", "demo", "--frames", "2", "--repeat", "9999", "--device", "cpu"),
        ("caption", str(Path(CUBE).parent), *QUICK, "--output", "captions.jsonl"),
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_sigterm_ends_commands_as_ctrl_c_does(launcher: Launcher, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Exit 130, one line, no traceback, wherever the command is: here within its first tenths of a second."""
    arguments = tuple(str(tmp_path / each) if each.endswith(".jsonl") else each for each in arguments)
    pid = launcher.start(tmp_path / "log", *arguments)
    hears(pid)
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    assert launcher.wait(pid) == INTERRUPTED, (tmp_path / "log").read_text()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[-1] == "dycoke: interrupted"
    assert not any("Traceback" in line for line in lines)
    assert {path.name for path in tmp_path.iterdir()} <= {"log", "captions.jsonl"}


@linux
def test_eval_keeps_and_shows_its_answers_at_sigterm(launcher: Launcher, tmp_path: Path) -> None:
    """A real run, ended amid its work: the scores so far, every answer in the file, and exit 130."""
    questions, output, log = tmp_path / "q.yaml", tmp_path / "out.jsonl", tmp_path / "log"
    questions.write_text(QUESTIONS)
    pid = launcher.start(log, "eval", str(questions), *QUICK, "--output", str(output))
    appears(output, 2)
    os.kill(pid, signal.SIGTERM)
    assert launcher.wait(pid) == INTERRUPTED, log.read_text()
    answers = output.read_bytes().count(b"\n")
    assert 2 <= answers < 60
    assert f"Incomplete: {answers} of 60 answers" in log.read_text()


def wait_for(text: str, shown: Callable[[], str]) -> None:
    deadline = time.monotonic() + 60
    while text not in shown():
        assert time.monotonic() < deadline, shown()
        time.sleep(0.005)


def test_minute_lines_tell_the_newest_where_there_is_no_terminal() -> None:
    """Each with the time since the first; none before an interval has passed, none of nothing, none after the end."""
    shown = io.StringIO()
    lines = MinuteLines(Console(file=shown, width=20), every_s=0.05)
    lines.update("Answering, 1 of 8")
    lines.update("Answering a long question, 3 of 8")
    assert shown.getvalue() == ""
    wait_for("0:00  Answering a long question, 3 of 8\n", shown.getvalue)
    lines.update("")
    before = shown.getvalue().count("\n")
    time.sleep(0.2)
    assert shown.getvalue().count("\n") <= before + 1
    lines.update("Answering, 8 of 8")
    lines.close()
    closed = shown.getvalue()
    time.sleep(0.1)
    assert shown.getvalue() == closed


@pytest.mark.parametrize("how", [{"quiet": True}, {"force_terminal": True}])
def test_minute_lines_are_not_for_the_quiet_nor_for_terminals(how: dict[str, bool]) -> None:
    """On a terminal a bar shows it, and an answer may be coming that a line would break."""
    shown = io.StringIO()
    lines = MinuteLines(Console(file=shown, **how), every_s=0.01)
    lines.update("Answering")
    time.sleep(0.1)
    lines.close()
    assert shown.getvalue() == ""


def test_an_interruption_that_keeps_a_thread_from_starting_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What shows progress closes all the same, where it had only just begun."""

    def interrupted(self: threading.Thread) -> None:
        raise KeyboardInterrupt

    lines = MinuteLines(Console(file=io.StringIO()))
    bar = DelayedBar(Console(file=io.StringIO(), force_terminal=True))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lines.update("Answering")
        with pytest.raises(KeyboardInterrupt):
            bar.update("Answering", 0, 0)
    lines.close()
    bar.drop()


def test_a_log_is_told_how_far_a_run_is(capsys: pytest.CaptureFixture[str]) -> None:
    """What a bar would show, as lines."""
    with Terminal(quiet=False, stats=False, answers=False, several=False, counted=True) as terminal:
        terminal.lines.every_s = 0.02
        terminal.callbacks.progress("Measuring full", 3, 24)
        seen = ""
        deadline = time.monotonic() + 60
        while "Measuring full, 3 of 24" not in seen and time.monotonic() < deadline:
            seen += capsys.readouterr().err
            time.sleep(0.01)
    assert "0:00  Measuring full, 3 of 24\n" in seen


def test_a_log_is_told_of_captions_before_the_first_is_there() -> None:
    """A large model loads for minutes; later the line is what the bar would show."""
    shown = io.StringIO()
    with CaptionProgress(Console(file=shown, width=80)) as progress:
        assert progress.lines.every_s == MINUTE_S
    with CaptionProgress(Console(file=shown, width=80), every_s=0.02) as progress:
        wait_for("0:00  0 done\n", shown.getvalue)
        progress.update(Tally(total=3, kept=1, kept_failed=0))
        wait_for("0:00  0 done · 1 skipped\n", shown.getvalue)


def test_the_handler_is_the_entry_points(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that calls the command line inside itself keeps its own."""
    assert run(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert capsys.readouterr().out
