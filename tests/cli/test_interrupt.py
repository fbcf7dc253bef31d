"""SIGTERM and Ctrl-C in every command, and the progress lines of runs without a terminal."""

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
from dycoke_cli.cli.interrupt import DUPLICATE_S, INTERRUPTED, Interrupt, Terminated, Termination
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
    """A clock that a test sets, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_second_sigterm_ends_at_once_and_a_duplicate_does_not() -> None:
    """Two in a row, as of GNU timeout, count once; a later one ends the process with exit code 130."""
    clock, ended = Clock(), []
    Termination(clock, ended.append).install()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    clock.now += DUPLICATE_S * 0.6
    signal.raise_signal(signal.SIGTERM)
    assert ended == []
    clock.now += DUPLICATE_S * 0.6  # counted from the first, so that a sender with a shorter period ends the run too
    with pytest.raises(Terminated):  # os._exit, which the test replaces, does not return
        signal.raise_signal(signal.SIGTERM)
    assert ended == [INTERRUPTED]


class Final:
    """Calls `end` in its finalizer, where Python cannot propagate exceptions."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end

    def __del__(self) -> None:
        self.end()


def fail() -> None:
    raise ZeroDivisionError


def test_a_sigterm_in_a_finalizer_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminated is raised again after the finalizer; other exceptions go to the previous hook."""
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    Termination().install()
    Final(fail)
    assert reported == [ZeroDivisionError]
    Final(lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Terminated):
        time.sleep(60)
    assert reported == [ZeroDivisionError]


def test_an_ignored_sigterm_stays_ignored() -> None:
    """As set by a parent process, such as nohup."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Termination().install()
    signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_interrupt_handles_both_signals() -> None:
    """The first requests a stop, a duplicate does nothing, the next one interrupts; handlers are restored."""
    Termination().install()
    handler = signal.getsignal(signal.SIGTERM)
    clock, requests = Clock(), []
    with Interrupt(lambda: requests.append(1), clock) as interrupt:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert (interrupt.requested, requests) == (True, [1])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        clock.now += DUPLICATE_S
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert requests == [1]
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    made = Launcher()
    yield made
    made.close()


def wait_for_handler(pid: int, within_s: float = 60.0) -> None:
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
    """Exit code 130, one line, no traceback, also within the first tenths of a second."""
    arguments = tuple(str(tmp_path / each) if each.endswith(".jsonl") else each for each in arguments)
    pid = launcher.start(tmp_path / "log", *arguments)
    wait_for_handler(pid)
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    assert launcher.wait(pid) == INTERRUPTED, (tmp_path / "log").read_text()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[-1] == "dycoke: interrupted"
    assert not any("Traceback" in line for line in lines)
    assert {path.name for path in tmp_path.iterdir()} <= {"log", "captions.jsonl"}


@linux
def test_eval_keeps_and_prints_its_answers_at_sigterm(launcher: Launcher, tmp_path: Path) -> None:
    """A real run ended in its middle prints the scores so far, keeps every answer, and exits with 130."""
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


def test_minute_lines_print_the_latest_progress_without_a_terminal() -> None:
    """Each with the time since the first update; none before the interval, none for empty text, none after close."""
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
def test_minute_lines_are_off_in_quiet_runs_and_at_terminals(how: dict[str, bool]) -> None:
    """A terminal has a bar, and a line could break up an answer that is being printed."""
    shown = io.StringIO()
    lines = MinuteLines(Console(file=shown, **how), every_s=0.01)
    lines.update("Answering")
    time.sleep(0.1)
    lines.close()
    assert shown.getvalue() == ""


def test_an_interruption_before_a_thread_starts_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress lines and bar close without an error."""

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


def test_a_log_has_progress_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """stderr that is not a terminal gets the progress of the bar as lines."""
    with Terminal(quiet=False, stats=False, answers=False, several=False, counted=True) as terminal:
        terminal.lines.every_s = 0.02
        terminal.callbacks.progress("Measuring full", 3, 24)
        seen = ""
        deadline = time.monotonic() + 60
        while "Measuring full, 3 of 24" not in seen and time.monotonic() < deadline:
            seen += capsys.readouterr().err
            time.sleep(0.01)
    assert "0:00  Measuring full, 3 of 24\n" in seen


def test_a_log_has_progress_lines_before_the_first_caption() -> None:
    """Loading a large model takes minutes; later lines have the counts of the bar."""
    shown = io.StringIO()
    with CaptionProgress(Console(file=shown, width=80)) as progress:
        assert progress.lines.every_s == MINUTE_S
    with CaptionProgress(Console(file=shown, width=80), every_s=0.02) as progress:
        wait_for("0:00  0 done\n", shown.getvalue)
        progress.update(Tally(total=3, kept=1))
        wait_for("0:00  0 done · 1 skipped\n", shown.getvalue)


def test_run_does_not_install_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the entry point does; a program that calls `run` keeps its handlers."""
    assert run(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert capsys.readouterr().out
