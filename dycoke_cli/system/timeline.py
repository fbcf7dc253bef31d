"""Record when each part of a run begins and ends; parts may overlap."""

import time
from dataclasses import dataclass, replace

from dycoke_cli.system.callbacks import Callbacks


@dataclass(frozen=True)
class Span:
    """One part of a run, in seconds since the run began."""

    name: str  # decode_video, load_model, vision, prefill, decode, baseline
    begin_s: float
    end_s: float
    busy_s: float  # without the time it waited for frames


@dataclass(frozen=True)
class StartUp:
    """Time from the start of a run until the vision tower has encoded the first frames."""

    wall_s: float  # since the run began
    cpu_s: float  # processor time of this process since it was started
    decoder_cpu_s: float  # processor time of the decoder process


class Timeline:
    """Collects the spans of one run through its callbacks."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.startup: StartUp | None = None
        self._spans: list[Span] = []
        self._open: tuple[str, float] | None = None

    def recording(self, callbacks: Callbacks) -> Callbacks:
        """Return callbacks that record phases and the start-up time, then call `callbacks`."""

        def progress(what: str, done: int, total: int) -> None:
            if done and self.startup is None and self._open is not None and self._open[0] == "vision":
                self.startup = StartUp(time.perf_counter() - self.began, time.process_time(), 0.0)
            callbacks.progress(what, done, total)

        return replace(callbacks, phase=self.phase, progress=progress)

    def phase(self, name: str) -> None:
        """Begin a part, which ends the previous one; an empty name begins none."""
        now = time.perf_counter()
        if self._open is not None:
            if self._open[0] == name:
                return
            self.add(self._open[0], self._open[1], now)
        self._open = (name, now) if name else None

    def add(self, name: str, begin: float, end: float) -> None:
        """Add a part by its begin and end, readings of `time.perf_counter`."""
        begin_s, end_s = begin - self.began, end - self.began
        self._spans.append(Span(name, begin_s, end_s, end_s - begin_s))

    def spans(self, waited_s: float, decoder_cpu_s: float) -> tuple[Span, ...]:
        """Return all parts, ordered by begin; waited_s: seconds that the vision tower waited for frames."""
        if self.startup is not None:
            self.startup = replace(self.startup, decoder_cpu_s=decoder_cpu_s)
        spans = [
            replace(span, busy_s=max(0.0, span.busy_s - waited_s)) if span.name == "vision" else span
            for span in self._spans
        ]
        return tuple(sorted(spans, key=lambda span: span.begin_s))
