"""Render a bench as tables: times, shares of the machine's limits, ratios to other arms, growth."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dycoke_cli.display.cells import figures_table, flops, note, share, spread_cell, times, title
from dycoke_cli.display.panel import NOT_MEASURED, seconds, size
from dycoke_cli.methods.parsing import STOCK_COMPILED, STOCKS

if TYPE_CHECKING:
    from dycoke_cli.bench.summary import Growth, Row, Summary

LABEL_WIDTHS = 8, 24
GROWN = ("vision", "prefill", "first_token", "per_token", "total", "peak_above_weights")


def bench_tables(summary: "Summary") -> Iterator[RenderableType]:
    """Yield the tables and notes that `bench` prints."""
    result = summary.result
    yield _heading(summary)
    if summary.rows:
        yield title(f"Time: median of {result.repeats} and range" if result.repeats > 1 else "Time: one run each")
        yield _times(summary)
        yield title("Relative to the limits of this machine")
        yield _limits(summary)
        if any(row.against_generate.speedup_total for row in summary.rows):
            yield title("Against transformers' own generate: speed-ups, and share of its peak memory")
            yield _against(summary)
    if summary.growth:
        yield title("Growth: cost is about visual tokens to the power of")
        yield _growth(summary.growth)
    yield from map(note, _notes(summary))


def _heading(summary: "Summary") -> Text:
    result = summary.result
    shape, machine, limits = result.shape, result.machine, result.limits
    threads = f", {limits.threads} thread{'s' * (limits.threads != 1)}" if limits and limits.threads else ""
    where = f"{shape['device']} ({machine['device_name']}{threads})"
    depth = f", cut to {shape['layers']} layers" if shape["layers"] else ""
    text = Text.assemble(
        (f"{shape['name']}{depth}: {flops(shape['parameters']).replace(' G', ' B')} random weights\n", "bold"),
        (
            f"{shape['dtype']} on {where} · torch {machine['torch']}, transformers {machine['transformers']}\n"
            f"Each arm ran each case once unmeasured; then they took turns.\n",
            "dim",
        ),
    )
    if limits:
        text.append(f"Copying {limits.copy_bytes_per_s / 1e9:.1f} GB/s · matrices {flops(limits.matrix_flops_per_s)}")
        text.append("FLOP/s" if flops(limits.matrix_flops_per_s)[-1].isalpha() else " FLOP/s")
    if result.tower:
        rate = share(summary.tower_of_limit, 0)
        text.append(f" · vision tower at {rate} of that")
    if summary.assembly_s is not None:
        text.append(f" · merging and prompt {seconds(summary.assembly_s)}")
    return text.append("\n")


def _by_case(summary: "Summary", figures: Sequence[str], cells: "Callable[[Row], Sequence[str | Text]]") -> Table:
    """Return a table of all rows; the label of a case is in its first row only."""
    table = figures_table(("tokens", "arm"), figures, *LABEL_WIDTHS)
    for case, rows in groupby(summary.rows, key=lambda row: row.case):
        label = f"{case.visual:,} × {case.batch}" if case.batch > 1 else f"{case.visual:,}"
        for number, row in enumerate(rows):
            name = Text("") if number else Text(label, style="cyan")
            table.add_row(name, Text(row.label), *cells(row))
    return table


def _times(summary: "Summary") -> Table:
    phases = [
        phase
        for phase in ("video", "vision", "prefill", "first_token", "per_token", "total")
        if any(row.time_s[phase] for row in summary.rows)
    ]
    return _by_case(
        summary,
        [phase.replace("_", " ") for phase in phases],
        # The unit once, because five ranges must fit next to each other.
        lambda row: [spread_cell(row.time_s[phase], row.repeats, seconds, repeat_unit=False) for phase in phases],
    )


def _limits(summary: "Summary") -> Table:
    return _by_case(
        summary,
        ("kept", "FLOPs", "of rate", "bytes a step", "of time"),
        lambda row: (
            share(row.retention),
            flops(row.needs.prefill_flops),
            share(row.prefill_of_limit, 0),
            size(row.needs.weight_bytes + row.needs.kv_bytes),
            times(row.per_token_of_limit),
        ),
    )


def _against(summary: "Summary") -> Table:
    peaks = any(row.peak_above_weights is not None for row in summary.rows)

    def cells(row: "Row") -> list[str]:
        ratios = row.against_generate
        speedups = [times(ratios.speedup_first_token), times(ratios.speedup_per_token), times(ratios.speedup_total)]
        return speedups + ([size(row.peak_above_weights), share(ratios.peak_share, 0)] if peaks else [])

    return _by_case(summary, ["first token", "per token", "total", *(["peak", "share"] if peaks else [])], cells)


def _growth(growths: "Sequence[Growth]") -> Table:
    known = [name for name in GROWN if any(growth.exponents.get(name) is not None for growth in growths)]
    batched = any(growth.batch > 1 for growth in growths)
    labels = ("arm", "batch") if batched else ("arm",)
    figures = [name.removesuffix("_above_weights").replace("_", " ") for name in known]
    table = figures_table(labels, figures, *LABEL_WIDTHS)
    for growth in growths:
        cells = [_exponent(growth.exponents.get(name)) for name in known]
        table.add_row(Text(growth.label), *([str(growth.batch)] if batched else []), *cells)
    return table


def _exponent(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}".replace("-", "−")


def _notes(summary: "Summary") -> Iterator[str]:
    """Yield explanations of figures that could be misread."""
    result = summary.result
    if summary.rows:
        yield (
            "Tokens: visual tokens of one prompt, before compression. FLOPs of the prefill and bytes of a decode step "
            "(all weights, and the keys and values that are read) are computed; of rate: share of the measured matrix "
            "rate that the prefill reaches; of time: time of a decode step / time to copy its bytes."
        )
    if any(row.case.vision and row.label in STOCKS for row in summary.rows):
        yield "generate runs the vision tower inside its prefill: compare its first token."
    if any(not row.case.vision for row in summary.rows):
        yield "Without vision: the visual tokens are random, and generate gets embeddings."
    if summary.growth and min(len(set(growth.tokens)) for growth in summary.growth) < 3:
        yield "Any two sizes fit a power law exactly: measure three or more to test it."
    if summary.rows and result.peaks:
        how = "in a separate process for each arm" if result.shape["device"] == "cpu" else "by the device's allocator"
        yield f"Peaks do not include weights and inputs; measured {how}."
    yield from _compiling(summary)
    for failure in result.failures:
        remedy = f" {failure['remedy']}." if "remedy" in failure else ""
        yield f"{failure['label']} is missing or incomplete: {failure['error']}.{remedy}"
    if result.interrupted:
        yield "Interrupted: these are the measurements so far."


def _compiling(summary: "Summary") -> Iterator[str]:
    """Yield which steps were compiled, and how long this took."""
    rows = [row for row in summary.rows if row.compile_s is not None]
    if not rows:
        return
    stock = any(row.label == STOCK_COMPILED for row in rows)
    who = ["this engine"] * summary.result.compiled + [STOCK_COMPILED] * stock
    yield (
        f"torch.compile ran the decode steps of {' and '.join(who)}. Time for compiling, by difference: the first run, "
        "which is not measured, less the median of the measured ones; short if torch's cache on disk has the code:"
    )
    for row in rows:
        batch = f" × {row.case.batch}" if row.case.batch > 1 else ""
        yield f"  {row.label} at {row.case.visual:,}{batch} tokens: {row.compile_s:.1f} s"
    yield "  No other figure includes it."
