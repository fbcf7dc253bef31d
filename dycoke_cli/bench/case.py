"""The cases of a bench, and everything that is measured on them, in plain values."""

from dataclasses import dataclass, field
from typing import Any

from dycoke_cli.bench.limits import Limits

PHASES = ("video", "vision", "prefill", "first_token", "per_token", "decode", "total")


@dataclass(frozen=True)
class Case:
    """The size of one workload.

    vision: the run starts from pixels; otherwise from random visual tokens, and only the language model runs.
    """

    frames: int
    visual: int  # visual tokens of one prompt, before any compression
    batch: int
    new_tokens: int
    vision: bool


@dataclass(frozen=True)
class Counts:
    """Token counts of one prompt of a run."""

    entered: int  # visual tokens that entered the language model
    kept: int  # visual tokens that remain after a cut inside the prefill
    others: int  # text and newlines of the prompt
    read: tuple[int, ...]  # visual keys that the pruned layers read at each decode step, mean over the batch


@dataclass(frozen=True)
class MinimumWork:
    """The minimum work of a run: operations of the prefill, bytes read per decode step; computed, not measured."""

    prefill_flops: int
    weight_bytes: int  # read at each decode step
    kv_bytes: int  # read at each decode step, mean over the steps


@dataclass(frozen=True)
class Run:
    """One measured run of one arm."""

    case: Case
    label: str
    repeat: int  # from 0
    turn: int  # within the repeat, from 0
    time_s: dict[str, float | None]  # by PHASES; None: not part of the run, or not measured separately
    counts: Counts
    needs: MinimumWork
    peak_above_start: int | None  # bytes; on a CPU not comparable, because all arms share the process


@dataclass(frozen=True)
class TowerTrial:
    """Times of the vision tower alone, on pixels that are already on the device."""

    frames: int
    flops: int
    time_s: tuple[float, ...]


@dataclass(frozen=True)
class AssemblyTrial:
    """Times of compressing the features of a video and building its prompt, on features already on the device."""

    frames: int
    label: str  # of the arm whose method compresses
    time_s: tuple[float, ...]


@dataclass
class BenchResult:
    """All measurements of a bench so far."""

    shape: dict[str, Any]  # name, layers, parameters, weight_bytes, dtype, device
    machine: dict[str, Any]
    arms: list[dict[str, Any]]  # label, name, options
    cases: list[Case]
    repeats: int
    limits: Limits | None = None
    tower: TowerTrial | None = None
    assembly: AssemblyTrial | None = None  # None: no arm is dycoke, or no case has vision
    runs: list[Run] = field(default_factory=list)
    peaks: dict[tuple[str, Case], int | None] = field(default_factory=dict)  # bytes above weights, of that arm alone
    failures: list[dict[str, Any]] = field(default_factory=list)  # label, case, error, remedy where it is known
    compiled: bool = False  # this engine's decode steps ran through torch.compile
    # Of unmeasured runs, the first ones and those that compiled: label, case, decode_s, total_s.
    first_decodes: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False
    video: str | None = None  # the file that is decoded in each run; None: frames of noise
