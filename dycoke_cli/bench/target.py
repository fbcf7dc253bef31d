"""The targets of this project for speed and memory, and verdicts on whether a bench meets them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from dycoke_cli.bench.case import Case
from dycoke_cli.bench.summary import Row, Summary
from dycoke_cli.methods.parsing import STOCK

COMMAND = "python -m benchmarks.speed"
TOKENS_PER_FRAME = 196  # in all shapes but demo


class Setup(NamedTuple):
    """The device, network and case on which a target is measured."""

    text: str
    device: str
    shape: str
    dtype: str
    case: Case
    threads: int | None  # of the CPU
    command: str


def _case(visual: int, batch: int, new_tokens: int, vision: bool) -> Case:
    return Case(visual // TOKENS_PER_FRAME, visual, batch, new_tokens, vision)


_VIDEO = 64 * TOKENS_PER_FRAME
GPU = Setup(
    "A CUDA data-centre GPU, 7B shape, 64 frames, 128 new tokens",
    "cuda", "7b", "bfloat16", _case(_VIDEO, 1, 128, True), None, f"{COMMAND} --device cuda",
)  # fmt: skip
# Two new tokens: it is there for the prefill, which has a time of its own for `generate` only without vision.
GPU_PREFILL = GPU._replace(
    text="A CUDA data-centre GPU, 7B shape, 12,544 synthetic visual tokens", case=_case(_VIDEO, 1, 2, False)
)
GPU_BATCH = GPU._replace(text=f"{GPU.text}, batch 16", case=_case(_VIDEO, 16, 128, False))
CPU = Setup(
    "Two CPU cores, 0.5B text shape, 3,136 synthetic visual tokens, 32 new tokens",
    "cpu", "0.5b", "float32", _case(3136, 1, 32, False), 2, f"{COMMAND} --device cpu",
)  # fmt: skip
CLIP = Setup(
    "A CPU, demo, the whole path on 10 s of 1080p H.264",
    "cpu", "demo", "float32", Case(16, 576, 1, 32, True), None, f"{COMMAND} --device cpu, with ffmpeg",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A target: a figure that must be at least, or at most, a bound.

    figure: computes it from the rows of stock `generate`, `full` and `dycoke`; None if one of them is missing.
    """

    key: str
    text: str
    setup: Setup
    at_least: bool
    bound: float
    unit: str  # "×", "%" or "ms"
    figure: Callable[["Arms"], float | None]


class Arms(NamedTuple):
    """The rows of the arms that a target compares, on the case of the target, and the parts that are timed alone.

    assembly_s: of the default dycoke, on as many frames as the case has.
    """

    generate: Row | None
    full: Row | None
    dycoke: Row | None
    tower_of_limit: float | None
    assembly_s: float | None


@dataclass(frozen=True)
class Verdict:
    """The verdict on a target; `value` and `met` are None if it was not measured, with the cause in `reason`."""

    target: Target
    value: float | None
    met: bool | None
    reason: str


def _per_token_beside(ours: Row | None, theirs: Row | None) -> float | None:
    """Return the time per token of one arm divided by that of another."""
    a, b = (row.time_s["per_token"] if row else None for row in (ours, theirs))
    return a.median / b.median if a and b else None


TARGETS = (
    Target("gpu_total", "total faster than generate", GPU, True, 4.5, "×",
           lambda arms: arms.dycoke.against_generate.speedup_total if arms.dycoke else None),
    Target("gpu_first_token", "first token faster than generate", GPU, True, 2.2, "×",
           lambda arms: arms.dycoke.against_generate.speedup_first_token if arms.dycoke else None),
    Target("gpu_per_token_of_limit", "per token beside what its bytes need", GPU, False, 1.3, "×",
           lambda arms: arms.dycoke.per_token_of_limit if arms.dycoke else None),
    Target("gpu_prefill_of_limit", "prefill, of the matrix rate", GPU, True, 0.55, "%",
           lambda arms: arms.dycoke.prefill_of_limit if arms.dycoke else None),
    Target("gpu_vision_of_limit", "vision tower with pooling, of the matrix rate", GPU, True, 0.55, "%",
           lambda arms: arms.tower_of_limit),
    Target("gpu_assembly", "token merging and assembly of the prompt", GPU, False, 3.0, "ms",
           lambda arms: None if arms.assembly_s is None else 1000 * arms.assembly_s),
    Target("gpu_per_token_of_full", "per token beside full", GPU, False, 1.02, "×",
           lambda arms: _per_token_beside(arms.dycoke, arms.full)),
    Target("gpu_peak", "peak above weights, of generate's", GPU, False, 0.5, "%",
           lambda arms: arms.dycoke.against_generate.peak_share if arms.dycoke else None),
    Target("gpu_full_prefill", "prefill of full faster than generate's", GPU_PREFILL, True, 1.0, "×",
           lambda arms: arms.full.against_generate.speedup_prefill if arms.full else None),
    Target("gpu_batch_full_prefill", "prefill of full faster than generate's", GPU_BATCH, True, 1.0, "×",
           lambda arms: arms.full.against_generate.speedup_prefill if arms.full else None),
    Target("gpu_batch_per_token_of_full", "per token beside full", GPU_BATCH, False, 1.02, "×",
           lambda arms: _per_token_beside(arms.dycoke, arms.full)),
    Target("gpu_batch_decode", "decode faster than full", GPU_BATCH, True, 1.35, "×",
           lambda arms: arms.dycoke.against_full.speedup_per_token if arms.dycoke else None),
    Target("cpu_first_token", "first token faster than generate", CPU, True, 1.9, "×",
           lambda arms: arms.dycoke.against_generate.speedup_first_token if arms.dycoke else None),
    Target("cpu_per_token", "per token beside generate", CPU, False, 0.8, "×",
           lambda arms: _per_token_beside(arms.dycoke, arms.generate)),
    Target("cpu_peak", "peak above weights, of generate's", CPU, False, 0.6, "%",
           lambda arms: arms.dycoke.against_generate.peak_share if arms.dycoke else None),
)  # fmt: skip
# It is measured by a benchmark of the repository instead of `bench`, because it needs ffmpeg for comparison.
DECODING = Target("clip_decoding", "decoding and preprocessing beside ffmpeg", CLIP, False, 1.3, "×", lambda arms: None)


def target_cases(device: str) -> tuple[Case, ...]:
    """Return the cases on which `bench` measures the targets of a device, in the order of the targets."""
    return tuple(dict.fromkeys(target.setup.case for target in TARGETS if target.setup.device == device))


def verdicts(summary: Summary | None, decoding: float | None = None) -> list[Verdict]:
    """Return one verdict per target, from measurements only.

    summary: of a bench; None: nothing was run. decoding: time of decoding and preprocessing / time of ffmpeg; None: not
    measured.
    """
    if summary is None:
        found = [Verdict(target, None, None, "nothing ran") for target in TARGETS]
    else:
        found = [_verdict(target, summary) for target in TARGETS]
    return [*found, _verdict_on_value(DECODING, decoding, "no decoding beside ffmpeg ran")]


def _verdict(target: Target, summary: Summary) -> Verdict:
    if reason := _reason_not_measured(target.setup, summary):
        return Verdict(target, None, None, reason)
    case = target.setup.case
    arms = Arms(
        summary.row(case, lambda arm: arm["name"] == STOCK),
        summary.row(case, lambda arm: arm["name"] == "full"),
        summary.row(case, _is_default_dycoke),
        summary.tower_of_limit,
        _assembly_s(summary, case),
    )
    return _verdict_on_value(target, target.figure(arms), "an arm or a figure is missing")


def _assembly_s(summary: Summary, case: Case) -> float | None:
    """Return the time of merging and assembly if it is of the default dycoke on the frames of a case."""
    trial = summary.result.assembly
    if trial is None or trial.frames != case.frames:
        return None
    arms = [arm for arm in summary.result.arms if arm["label"] == trial.label]
    return summary.assembly_s if any(map(_is_default_dycoke, arms)) else None


def _verdict_on_value(target: Target, value: float | None, missing: str) -> Verdict:
    if value is None:
        return Verdict(target, None, None, missing)
    return Verdict(target, value, value >= target.bound if target.at_least else value <= target.bound, "")


def _is_default_dycoke(arm: dict[str, Any]) -> bool:
    """Return whether the arm is dycoke with K=0.7 and P=0.7, which the targets are for."""
    options = arm["options"]
    return arm["name"] == "dycoke" and (options.get("k"), options.get("p")) == (0.7, 0.7)


def _reason_not_measured(setup: Setup, summary: Summary) -> str:
    """Return why a bench cannot measure a target with this setup; empty if it can."""
    result, shape = summary.result, summary.result.shape
    if not shape["device"].startswith(setup.device):
        return "needs a CUDA device" if setup.device == "cuda" else "needs a run on the CPU"
    if (shape["name"], shape["layers"]) != (setup.shape, None):
        return f"needs the shape {setup.shape} at its real depth"
    if shape["dtype"] != setup.dtype:
        return f"needs {setup.dtype}"
    threads = result.limits.threads if result.limits else None
    if setup.threads is not None and threads != setup.threads:
        return f"needs {setup.threads} CPU threads, there were {threads}"
    if setup.case not in result.cases:
        return "its case was not run"
    if result.video is not None:
        return "needs a run without --video, because its time excludes decoding"
    return ""
