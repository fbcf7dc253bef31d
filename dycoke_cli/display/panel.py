"""Render the panel below an answer: tokens, times and memory, next to those of an uncompressed run."""

from itertools import pairwise
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dycoke_cli.session.answer import Answer, TokenCounts
    from dycoke_cli.session.ask import Outcome

BARS = "▁▂▃▄▅▆▇█"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
SHOWN = ("k", "l", "p", "retain", "keep")  # options in the title
NOT_MEASURED, SHARED = "–", "shared"
WIDEST, ROOMY = 100, 60  # columns: a wider panel is hard to read; a narrower one omits the ratios


def answer_panel(outcome: "Outcome", number: int, width: int) -> Panel:
    """Render the figures of answer `number` next to an uncompressed run, for a terminal of `width` columns.

    The counts and computed bytes of that run are always present; its times and peaks only if it was measured.
    """
    answer = outcome.answers[number]
    plain = outcome.baseline[number] if outcome.baseline else None
    width = min(width, WIDEST)
    roomy = width >= ROOMY
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), expand=roomy)
    table.add_column("", style="dim", overflow="fold")
    table.add_column(str(outcome.method["name"]), justify="right", no_wrap=True, style="bold")
    table.add_column("uncompressed" if roomy else "full", justify="right", no_wrap=True)
    if plain is not None and roomy:
        table.add_column("ratio", justify="right", no_wrap=True, style="green", min_width=6)
    for row in _rows(answer, plain):
        table.add_row(*row[: len(table.columns)])
    parts: list[RenderableType] = [table, *_steps(answer, width - 4)]
    if outcome.features == "cache":
        parts.append(Text("The frames' features came from the cache; decoding is the time to read them.", style="dim"))
    if plain is not None and plain.answer != answer.answer:
        parts.append(Text.assemble(("Uncompressed answer: ", "dim"), plain.answer))
    if plain is None and outcome.method["name"] != "full":
        parts.append(Text("Times and peaks of an uncompressed run: add --baseline to measure them.", style="dim"))
    question = Text(answer.question, style="dim") if len(outcome.answers) > 1 else None
    return Panel(
        Group(*parts),
        title=_title(outcome),
        title_align="left",
        subtitle=question,
        subtitle_align="left",
        border_style="dim",
        width=width,
    )


def _title(outcome: "Outcome") -> Text:
    # The options that set how many tokens are kept or read; in a chain they are prefixed with the method.
    shown = {key: value for key, value in outcome.method["options"].items() if key.split(".")[-1] in SHOWN}
    options = " ".join(f"{key}={value:.4g}" for key, value in shown.items())
    model = outcome.model
    title = Text.assemble((f"{outcome.method['name']} {options}".strip(), "bold"), f" · {model['name']} ")
    return title.append(f"{model['dtype']} on {model['device']}", style="dim")


def _rows(answer: "Answer", plain: "Answer | None") -> list[tuple[str, str, str, str]]:
    """Return (label, this run, uncompressed run, ratio) for every figure."""
    tokens, memory, time = answer.tokens, answer.memory_bytes, answer.time_s
    rows = [
        _count("visual tokens", tokens.visual_prefill, tokens.visual),
        *_mean_over_layers(tokens),
        _count("prompt tokens", tokens.visual_prefill + tokens.newline + tokens.text, tokens.prompt_uncompressed),
        ("new tokens", str(tokens.generated), str(plain.tokens.generated) if plain else NOT_MEASURED, ""),
    ]
    for key in ("decode_video", "vision", "prefill", "first_token", "per_token", "total"):
        label = "video decoding" if key == "decode_video" else key.replace("_", " ")
        theirs = getattr(plain.time_s, key) if plain else None
        # Both runs use the same decoded frames, so there is no ratio.
        gain = "" if key == "decode_video" else ratio(theirs, getattr(time, key))
        # A later question on the same video reuses these.
        ours = SHARED if key in ("decode_video", "vision") and not time.vision else seconds(getattr(time, key))
        rows.append((label, ours, SHARED if ours == SHARED and plain else seconds(theirs), gain))
    kind = "VRAM" if memory.peak_of == "cuda" else "process"
    weights = size(memory.weights)
    rows.append(("weights", weights, weights, ""))
    rows.append(("KV cache", size(memory.kv), size(memory.kv_uncompressed), ratio(memory.kv_uncompressed, memory.kv)))
    for label, key in ((f"{kind} peak", "peak"), ("peak above weights", "peak_above_weights")):
        theirs = getattr(plain.memory_bytes, key) if plain else None
        rows.append((label, size(getattr(memory, key)), size(theirs), ratio(theirs, getattr(memory, key))))
    return rows


def _mean_over_layers(tokens: "TokenCounts") -> list[tuple[str, str, str, str]]:
    """Return a row if later layers process fewer visual tokens than entered, else none."""
    mean = tokens.prefill_retention * tokens.visual
    if round(mean) == tokens.visual_prefill:
        return []
    return [_count("mean over layers", round(mean), tokens.visual)]


def _count(label: str, ours: int, theirs: int) -> tuple[str, str, str, str]:
    return label, f"{ours:,}  {ours / theirs:.1%}", f"{theirs:,}", ratio(theirs, ours)


def _steps(answer: "Answer", width: int) -> list[Text]:
    """Render the share of tokens read by each decode step, and the number recalled."""
    decode = answer.steps[1:]
    if not decode:
        return [Text("One token: it comes out of the prefill, so there was no decode step to prune.", style="dim")]
    shares = [step.retained for step in decode]
    recalled, chosen = sum(step.recalled for step in decode), sum(step.reselected for step in decode)
    room = max(8, width - len("read per step  "))
    low, high = f"{min(shares):.1%}", f"{max(shares):.1%}"
    span = low if low == high else f"{low} to {high}"
    lines = [
        # The prefill, which reads all kept tokens, comes first and sets the scale.
        Text.assemble(("read per step  ", "dim"), (sparkline([step.retained for step in answer.steps], room), "cyan")),
        Text(
            f"{span} of all visual tokens over {_times(len(decode), 'step')}; "
            f"set reselected {chosen}×, {_times(recalled, 'token')} recalled",
            style="dim",
        ),
    ]
    if recalled:
        lines.insert(
            1, Text.assemble(("recalled       ", "dim"), (sparkline([s.recalled for s in decode], room), "magenta"))
        )
    return lines


def _times(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sparkline(values: "list[float] | list[int]", width: int) -> str:
    """Render non-negative values as at most `width` bars; each bar is the maximum of its group."""
    top = max(values)
    groups = min(width, len(values))
    bounds = [len(values) * i // groups for i in range(groups + 1)]
    peaks = [max(values[a:b]) for a, b in pairwise(bounds)]
    return "".join(BARS[min(len(BARS) - 1, int(peak / top * len(BARS)))] if top else BARS[0] for peak in peaks)


def seconds(value: float | None) -> str:
    """Format seconds: 4.21 s, 38 ms; a dash for None."""
    if value is None:
        return NOT_MEASURED
    if value >= 0.9995:
        return f"{value:.2f} s" if value < 99.5 else f"{value:.0f} s"
    return f"{value * 1e3:.0f} ms" if value >= 0.0095 else f"{value * 1e3:.1f} ms"


def size(value: int | None) -> str:
    """Format bytes: 61.3 MiB; a dash for None."""
    if value is None:
        return NOT_MEASURED
    number, unit = float(value), 0
    while number >= 1000 and unit < len(UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {UNITS[unit]}" if unit else f"{value} B"


def ratio(theirs: float | None, ours: float | None) -> str:
    """Format theirs / ours; empty if either is unknown or zero."""
    return f"{theirs / ours:.2f}×" if theirs and ours else ""
