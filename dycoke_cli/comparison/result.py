"""The result of a comparison: every measured run, in plain values."""

from dataclasses import dataclass, field
from typing import Any

from dycoke_cli.comparison.depth import Computed
from dycoke_cli.session.answer import Answer
from dycoke_cli.video.frames import Frames


@dataclass(frozen=True)
class Run:
    """One measured run of one arm."""

    label: str
    method: dict[str, Any]  # label, name, options
    repeat: int  # from 0
    turn: int  # within the repeat, from 0
    answer: Answer
    computed: Computed


@dataclass(frozen=True)
class Comparison:
    """All runs of all arms about one question, in the order in which they ran."""

    frames: Frames
    question: str
    model: dict[str, str]  # name, family, dtype, device
    machine: dict[str, Any]
    load_model_s: float
    reference: str | None  # the label of the uncompressed arm on the same engine; None: not requested
    runs: tuple[Run, ...]
    # Of each arm that was compiled: total times of its unmeasured runs that compiled.
    compiling_s: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The labels of the arms, in the order of the command."""
        return [run.label for run in self.runs if run.repeat == 0]

    def of(self, label: str) -> list[Run]:
        """Return the runs of one arm, in the order in which they ran."""
        return [run for run in self.runs if run.label == label]
