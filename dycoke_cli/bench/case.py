"""What is measured: sizes in, plain figures out."""

from dataclasses import dataclass, field
from typing import Any

from dycoke_cli.bench.limits import Limits

PHASES = ("video", "vision", "prefill", "first_token", "per_token", "decode", "total")


@dataclass(frozen=True)
class Case:
    """One size of the work.

    vision: the run starts from pixels; else from random visual tokens, and only the language model works.
    """

    frames: int
    visual: int  # visual tokens of one row, before any compression
    batch: int
    new_tokens: int
    vision: bool


@dataclass(frozen=True)
class Counts:
    """What one row of a run worked on."""

    entered: int  # visual tokens that entered the language model
    kept: int  # visual tokens left after a cut inside the prefill
    others: int  # text and newlines of the prompt
    read: tuple[int, ...]  # visual keys that the pruned layers read at each decode step, mean over the rows


@dataclass(frozen=True)
class Needs:
    """What arithmetic says that a phase has to do at least; computed, never measured."""

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
    time_s: dict[str, float | None]  # by PHASES; None: not part of it, or not known apart
    counts: Counts
    needs: Needs
    peak_above_start: int | None  # bytes; on a CPU of a process that other arms share, so not for comparing


@dataclass(frozen=True)
class TowerTrial:
    """The vision tower alone, on pixels that lie ready on the device."""

    frames: int
    flops: int
    time_s: tuple[float, ...]


@dataclass
class Findings:
    """All that a bench has found so far."""

    shape: dict[str, Any]  # name, layers, parameters, weight_bytes, dtype, device
    machine: dict[str, Any]
    arms: list[dict[str, Any]]  # label, name, options
    cases: list[Case]
    repeats: int
    limits: Limits | None = None
    tower: TowerTrial | None = None
    runs: list[Run] = field(default_factory=list)
    peaks: dict[tuple[str, Case], int | None] = field(default_factory=dict)  # bytes above weights, of that arm alone
    failures: list[dict[str, Any]] = field(default_factory=list)  # label, case, error
    compiled: bool = False  # this engine's steps went through torch.compile
    first_decodes: list[dict[str, Any]] = field(default_factory=list)  # label, case, decode_s of unmeasured first runs
    interrupted: bool = False
    video: str | None = None  # the file of the whole path; None: noise
