"""Comparison tables fit the terminal with all figures, and are readable without colour; also CSV and JSON."""

from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from dycoke_cli.comparison.result import Comparison
from dycoke_cli.comparison.summary import summarise
from dycoke_cli.display.cells import flops, share, span
from dycoke_cli.display.comparison import comparison_tables
from dycoke_cli.display.comparison_records import comparison_csv, comparison_record
from dycoke_cli.display.panel import seconds, size
from dycoke_cli.session.answer import Times
from tests.comparison.test_summary import comparison, run, three
from tests.display.test_panel import ANSWER


def drawn(what: Comparison, width: int, color: bool = False) -> str:
    console = Console(width=width, force_terminal=color, color_system="truecolor" if color else None, highlight=False)
    with console.capture() as capture:
        for part in comparison_tables(what, summarise(what), width):
            console.print(part)
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_any_terminal(width: int) -> None:
    """No line is wider than the terminal, no figure is cut off or folded."""
    text = drawn(three(), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    figures = ["47.5%", "14.3%", "333 M", "1 G", "540 ms", "440–640 ms", "878.9 KiB", "5.7 MiB", "1.50×", "50%", "0.50"]
    for figure in [*figures, "25%", "yes", "1.41×"] if width >= 80 else figures:
        assert figure in text, figure


@pytest.mark.parametrize("width", [60, 80])
def test_a_long_label_is_folded_and_figures_are_not(width: int) -> None:
    """With a long label, every unit and the last column are present."""
    named = [
        replace(run, label="vidcom2+dynamic:p=0.95,l=2") if run.label[:6] == "dycoke" else run for run in three().runs
    ]
    long = [replace(run, answer=replace(run.answer, time_s=_slower(run.answer.time_s, run.repeat))) for run in named]
    text = drawn(comparison(*long), width)
    assert "…" not in text
    for figure in ("12.54 s", "11.44–13.64", "20 ms", "F1", "0.50", "  no \n" if width == 80 else "0.50 \n"):
        assert figure in text, figure


def _slower(time: Times, repeat: int) -> Times:
    """Times with the widest possible ranges."""
    later = 11 + repeat
    return replace(time, prefill=later, first_token=time.first_token + later, total=time.total + later)


def test_differences_can_be_read_without_colour() -> None:
    """Plain text has marks around words and no escape codes; a terminal has the same marks in colour."""
    plain = drawn(three(), 100)
    assert "a [-blue-] {+red+} cube" in plain
    assert "\x1b" not in plain
    assert "\x1b[32m{+red+}" in drawn(three(), 100, color=True)


def test_the_notes_explain_the_figures() -> None:
    """Notes cover shared decoding, the prefill of generate and computed FLOPs; without a reference, --baseline."""
    text = " ".join(drawn(three(), 100).split())
    assert "include 100 ms of video decoding, done once" in text
    assert "generate runs the vision tower inside its prefill" in text
    assert "FLOPs are computed" in text
    assert "--baseline" not in text
    alone = drawn(comparison(run("dycoke", 0, ANSWER), reference=None), 100)
    assert "add --baseline" in alone
    assert "F1" not in alone


def test_answers_are_text() -> None:
    """Brackets in an answer are not markup, and an empty answer shows as a deletion of all words."""
    odd = comparison(run("full", 0, replace(ANSWER, answer="[red] cube")), run("x", 0, replace(ANSWER, answer="")))
    text = drawn(odd, 100)
    assert "[red] cube" in text
    assert "[-[red] cube-]" in text


def test_csv_is_one_row_per_arm() -> None:
    """Each option is a column after all others; a value that an arm lacks is empty."""
    import csv

    text = comparison_csv(summarise(three()))
    full, stock, dycoke = list(csv.DictReader(text.splitlines()))
    assert [row["method"] for row in (full, stock, dycoke)] == ["full", "generate", "dycoke:k=0.5"]
    assert (full["options.k"], dycoke["options.k"]) == ("", "0.5")
    assert float(dycoke["time_s.total.median"]) == pytest.approx(0.54)
    assert float(dycoke["against_generate.peak_above_weights_ratio"]) == 0.5
    assert stock["time_s.prefill.median"] == ""
    assert [name.startswith("options.") for name in full] == sorted(name.startswith("options.") for name in full)


def test_the_record_is_json() -> None:
    """The record serialises to JSON with its documented keys; computed figures have their own object."""
    import json

    what = three()
    record = json.loads(json.dumps(comparison_record(what, summarise(what))))
    assert record["schema"] == 1
    assert len(record["runs"]) == 9
    assert record["runs"][0].keys() >= {"method", "repeat", "answer", "tokens", "steps", "time_s", "memory_bytes"}
    assert record["runs"][0]["computed"].keys() == {"flops_paper", "flops_true"}
    wanted = {"method", "speedup_total", "speedup_prefill", "speedup_decode", "peak_above_weights_ratio", "agreement"}
    assert record["summary"][2].keys() >= wanted
    assert record["summary"][2]["time_s"]["total"].keys() == {"median", "min", "max"}


def test_small_figures() -> None:
    """A range has the unit of its upper end; a share above 1000 % is a multiple; operations have SI prefixes."""
    assert span(0.026, 0.0312, seconds) == "26–31 ms"
    assert span(0.9, 6.754, seconds) == "0.90–6.75 s"
    assert span(512 * 1024, 3 * 2**20, lambda value: size(round(value))) == "0.5–3.0 MiB"
    assert [share(value) for value in (None, 0.5, 47.3)] == ["–", "50.0%", "47.3×"]
    assert [flops(value) for value in (999, 1234, 17.94e12, 999.6e9)] == ["999", "1.23 k", "17.9 T", "1 T"]
