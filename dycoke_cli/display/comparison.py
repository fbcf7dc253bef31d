"""Render a comparison as tables: tokens, FLOPs, times, memory, ratios and answers of each method."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dycoke_cli.display.cells import figures_table, flops, note, share, spread_cell, times, title
from dycoke_cli.display.panel import seconds, size

if TYPE_CHECKING:
    from dycoke_cli.comparison.result import Comparison
    from dycoke_cli.comparison.summary import Summary

ROOMY = 78  # columns of a terminal; a narrower one gets fewer columns
# Columns of a label: the most, and the least on a wide and on a narrow terminal.
WIDEST_LABEL, FIRM_LABEL, NARROW_LABEL = 24, 12, 8
# Marks around words that differ from the uncompressed answer, and their colour.
MARKS = {"same": ("", "", ""), "left out": ("[-", "-]", "red"), "put in": ("{+", "+}", "green")}


def comparison_tables(comparison: "Comparison", summaries: "Sequence[Summary]", width: int) -> Iterator[RenderableType]:
    """Yield the tables and notes that `compare` prints, for a terminal of `width` columns."""
    roomy, repeats = width >= ROOMY, summaries[0].repeats
    yield _heading(comparison, repeats)
    yield title("Visual tokens in prefill and decode steps; arithmetic, computed")
    yield _tokens(summaries, roomy)
    yield title(f"Time: median of {repeats} and range" if repeats > 1 else "Time: one run each")
    yield _times(summaries, roomy)
    yield title("Memory")
    yield _memory(summaries, roomy)
    for other, name in (("against_full", comparison.reference), ("against_generate", "transformers' own generate")):
        if getattr(summaries[0], other).speedup_total is not None:
            yield title(f"Against {name}: speed-ups, and shares of its memory and FLOPs")
            yield _ratios(summaries, other, roomy)
    yield from _answers(summaries, comparison.reference)
    yield from map(note, _notes(comparison, summaries))


def _heading(comparison: "Comparison", repeats: int) -> Text:
    model, machine = comparison.model, comparison.machine
    where = machine["cpu"] if model["device"] == "cpu" else machine["device_name"]
    name = Path(comparison.frames.info.path).name
    times = "once" if repeats == 1 else f"{repeats} times in turns"
    return Text.assemble(
        (f"» {comparison.question}\n", "bold"),
        (
            f"{len(comparison.frames)} frames of {name} · {model['name']} {model['dtype']} on "
            f"{model['device']} ({where}) · torch {machine['torch']}, transformers {machine['transformers']}\n"
            f"Each arm warmed up with a whole run, then measured {times}.\n",
            "dim",
        ),
    )


def _by_method(
    summaries: "Sequence[Summary]",
    roomy: bool,
    figures: Sequence[str],
    cells: "Callable[[Summary], Sequence[str | Text]]",
) -> Table:
    """Return a table of one row per arm."""
    longest = max(len(summary.method) for summary in summaries)
    table = figures_table(("method",), figures, min(longest, FIRM_LABEL if roomy else NARROW_LABEL), WIDEST_LABEL)
    for summary in summaries:
        table.add_row(Text(summary.method), *cells(summary))
    return table


def _tokens(summaries: "Sequence[Summary]", roomy: bool) -> Table:
    figures = ["prefill", "decode", *(["new tokens"] if roomy else []), "FLOPs, paper", "FLOPs, true"]

    def cells(summary: "Summary") -> list[str]:
        retained = [share(summary.prefill_retention), share(summary.decode_retention)]
        computed = [flops(summary.computed.flops_paper), flops(summary.computed.flops_true)]
        return [*retained, *([str(summary.generated)] if roomy else []), *computed]

    return _by_method(summaries, roomy, figures, cells)


def _times(summaries: "Sequence[Summary]", roomy: bool) -> Table:
    names = [*(["vision"] if roomy else []), "prefill", "first_token", "per_token", "total"]
    return _by_method(
        summaries,
        roomy,
        [name.replace("_", " ") for name in names],
        lambda summary: [spread_cell(summary.time_s[name], summary.repeats, seconds) for name in names],
    )


def _memory(summaries: "Sequence[Summary]", roomy: bool) -> Table:
    figures = {"KV cache": "kv", "peak above weights": "peak_above_weights"}
    if roomy:
        figures = {"weights": "weights", "KV cache": "kv", "peak": "peak", "peak above weights": "peak_above_weights"}

    def cells(summary: "Summary") -> list[Text]:
        spreads = [summary.memory_bytes[name] for name in figures.values()]
        return [spread_cell(spread, summary.repeats, lambda value: size(round(value))) for spread in spreads]

    return _by_method(summaries, roomy, list(figures), cells)


def _ratios(summaries: "Sequence[Summary]", other: str, roomy: bool) -> Table:
    """Return the ratios to one arm; agreement of answers only to the uncompressed arm of this engine.

    other: `against_full` or `against_generate`.
    """
    full = other == "against_full"
    speeds = {"prefill": "prefill"} if full else {}
    speeds |= {"per token": "decode", "model": "model"} | ({"total": "total"} if roomy else {})
    shares = {"peak": "peak_above_weights_ratio"}
    shares |= {"KV": "kv_ratio", "FLOPs": "flops_true_ratio"} if roomy else {}
    agreement = ["F1", "exact"] if full and roomy else ["F1"] if full else []

    def cells(summary: "Summary") -> list[str]:
        ratios = getattr(summary, other)
        figures = [times(getattr(ratios, f"speedup_{name}")) for name in speeds.values()]
        figures += [share(getattr(ratios, name), 0) for name in shares.values()]
        if full and summary.agreement is not None:
            figures += [f"{summary.agreement:.2f}", "yes" if summary.agreement_exact else "no"][: len(agreement)]
        return figures

    return _by_method(summaries, roomy, [*speeds, *shares, *agreement], cells)


def _answers(summaries: "Sequence[Summary]", reference: str | None) -> Iterator[RenderableType]:
    """Yield every answer, with the differences from the uncompressed one marked."""
    expected = next((summary.answer for summary in summaries if summary.method == reference), None)
    marked = any(summary.answer != expected for summary in summaries) and expected is not None
    yield title(
        f"Answers; words of {reference} that are [-missing-], and words that are {{+new+}}" if marked else "Answers"
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", max_width=WIDEST_LABEL, style="dim")
    table.add_column()
    for summary in summaries:
        text = Text(summary.answer or "(nothing)")
        if expected is not None and summary.method != reference:
            text = Text(" ").join(_marked(change, words) for change, words in summary.changes)
        if not summary.same_every_time:
            text.append(" (another answer in another repeat)", style="yellow")
        table.add_row(Text(summary.method), text)
    yield table
    yield Text("")


def _marked(change: str, words: str) -> Text:
    before, after, style = MARKS[change]
    return Text(f"{before}{words}{after}", style=style)


def _notes(comparison: "Comparison", summaries: "Sequence[Summary]") -> Iterator[str]:
    """Yield explanations of figures that could be misread."""
    decoding = comparison.runs[0].answer.time_s.decode_video
    yield f"First token and total include {seconds(decoding)} of video decoding, done once."
    if comparison.reference is not None:
        yield f"F1 compares the words of an answer with those of {comparison.reference}; exact: the same text."
        yield "In the ratios, model excludes video decoding, and peak is the peak above weights."
    if len({summary.generated for summary in summaries}) > 1:
        yield "Answers differ in length, so totals are not comparable; prefill and per token are."
    if compiled := [summary for summary in summaries if summary.compile_s is not None]:
        took = ", ".join(f"{summary.method} {summary.compile_s:.1f} s" for summary in compiled)
        yield (
            "torch.compile ran the decode steps of these arms. Time for compiling, by difference: the first run, which "
            f"is not measured, less the median of the measured ones: {took}. No other figure includes it."
        )
    if any(summary.time_s["vision"] is None for summary in summaries):
        yield "generate runs the vision tower inside its prefill: compare its first token."
    yield (
        "FLOPs are computed. Paper: its formula, visual tokens alone, a multiply-add as one. True: GQA, SwiGLU, output "
        "layer, text, real lengths at each layer and step, a multiply-add as two."
    )
    if comparison.reference is None:
        yield "Speed-ups and agreement are against an uncompressed run: add --baseline."
