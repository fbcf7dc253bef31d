"""The panel contains measured and computed figures only, and fits the terminal."""

from dataclasses import replace

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from dycoke_cli.display.panel import answer_panel, seconds, size, sparkline
from dycoke_cli.session.answer import Answer, Memory, StepRecord, Times, TokenCounts
from dycoke_cli.session.ask import Outcome
from dycoke_cli.video.frames import Frames, VideoInfo

STEPS = (
    StepRecord(0, 243, 0.4746, 0, False),
    StepRecord(1, 73, 0.1426, 0, True),
    StepRecord(2, 73, 0.1426, 12, True),
)
ANSWER = Answer(
    question="what?",
    answer="a red cube",
    finish="stop",
    tokens=TokenCounts(512, 243, 1, 31, 3, 544, 0.474609, 8192),
    steps=STEPS,
    time_s=Times(0.1, 0.2, 0.1, 0.4, 0.04, 0.02, 0.44),
    memory_bytes=Memory(7_000_000, 900_000, 1_900_000, 800_000_000, 3_000_000, "process"),
)
PLAIN = replace(
    ANSWER,
    answer="a blue cube",
    tokens=TokenCounts(512, 512, 1, 31, 3, 544, 1.0, 8192),
    steps=tuple(replace(step, read=512, retained=1.0, recalled=0, reselected=False) for step in STEPS),
    time_s=Times(0.1, 0.2, 0.3, 0.6, 0.06, 0.03, 0.66),
)


def outcome(baseline: bool = False, answer: Answer = ANSWER) -> Outcome:
    info = VideoInfo("v.mp4", 8.0, 24.0, 192, 640, 480, "decord", "test")
    frames = Frames(np.zeros((1, 2, 2, 3), np.uint8), (0,), (0.0,), info)
    model = {"name": "demo", "family": "llava_onevision", "dtype": "float32", "device": "cpu"}
    method = {"name": "dycoke", "options": {"k": 0.7, "l": 3, "p": 0.7, "variant": "paper"}}
    return Outcome(frames, model, method, (answer,), (PLAIN,) if baseline else (), 1.0)


def drawn(what: Outcome, width: int, color: bool = False) -> str:
    console = Console(width=width, force_terminal=color, color_system="truecolor" if color else None)
    with console.capture() as capture:
        console.print(answer_panel(what, 0, width))
    return capture.get()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("baseline", [False, True])
def test_it_fits_any_terminal(width: int, baseline: bool) -> None:
    """No line is wider than the terminal, and no figure is cut off."""
    text = drawn(outcome(baseline), width)
    assert max(cell_len(line) for line in text.splitlines()) <= min(width, 100)
    assert "…" not in "".join(text.splitlines()[1:])
    for figure in ("243", "512", "47.5%", "440 ms", "878.9 KiB"):
        assert figure in text


def test_without_a_baseline_its_times_are_dashes() -> None:
    """Counts and computed bytes of the uncompressed run are present; its times and peaks are dashes."""
    text = drawn(outcome(), 100)
    assert "1.8 MiB" in text
    for label in ("first token", "total", "process peak"):
        line = next(line for line in text.splitlines() if label in line)
        assert line.rstrip("│ ").endswith("–")
    assert "--baseline" in text


def test_a_measured_baseline_is_shown() -> None:
    """The panel contains both times, their ratio, and the other answer if it differs."""
    text = drawn(outcome(baseline=True), 100)
    total = next(line for line in text.splitlines() if "total" in line)
    assert ("440 ms" in total, "660 ms" in total, "1.50×" in total) == (True, True, True)
    assert "a blue cube" in text
    assert "--baseline" not in text


def test_steps_are_drawn() -> None:
    """The panel contains the share read by the decode steps, reselections and recalled tokens."""
    text = drawn(outcome(), 100)
    assert "14.3% of all visual tokens over 2 steps; set reselected 2×, 12 tokens recalled" in text
    assert sparkline([12, 0, 6], 10) == "█▁▅"
    assert len(sparkline(list(range(500)), 40)) == 40
    one = drawn(outcome(answer=replace(ANSWER, steps=STEPS[:1])), 100)
    assert "no decode step" in one


def test_colour_only_on_a_terminal() -> None:
    """Plain text contains no escape codes."""
    assert "\x1b" not in drawn(outcome(baseline=True), 80)
    assert "\x1b[" in drawn(outcome(baseline=True), 80, color=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0004, "0.4 ms"), (0.0312, "31 ms"), (0.9996, "1.00 s"), (4.213, "4.21 s"), (123.4, "123 s")],
)
def test_seconds(value: float | None, text: str) -> None:
    """At most three significant digits; a dash for None."""
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0 B"), (999, "999 B"), (2048, "2.0 KiB"), (1000 * 2**20, "1.0 GiB")]
)
def test_size(value: int | None, text: str) -> None:
    """Bytes are formatted in binary units."""
    assert size(value) == text
