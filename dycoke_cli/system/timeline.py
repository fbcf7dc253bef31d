"""What ran when: the parts of a run on one clock, some of them at the same time."""

import time
from dataclasses import dataclass, replace

from dycoke_cli.system.callbacks import Callbacks


@dataclass(frozen=True)
class Span:
    """One part of a run, in seconds since the run began."""

    name: str  # decode_video, load_model, vision, prefill, decode, baseline
    begin_s: float
    end_s: float
    busy_s: float  # without what it waited for frames


@dataclass(frozen=True)
class StartUp:
    """What it took until the first frames had passed the vision tower."""

    wall_s: float  # since the run began
    cpu_s: float  # processor time of this process, since it was started
    decoder_cpu_s: float  # and of the one that decodes


class Timeline:
    """Follows a run as a callbacks of it."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.startup: StartUp | None = None
        self._spans: list[Span] = []
        self._open: tuple[str, float] | None = None

    def recording(self, callbacks: Callbacks) -> Callbacks:
        """Gives a callbacks that passes on what it hears and notes when a part begins."""

        def progress(what: str, done: int, total: int) -> None:
            if done and self.startup is None and self._open is not None and self._open[0] == "vision":
                self.startup = StartUp(time.perf_counter() - self.began, time.process_time(), 0.0)
            callbacks.progress(what, done, total)

        return replace(callbacks, phase=self.phase, progress=progress)

    def phase(self, name: str) -> None:
        """Notes that a part begins, which ends the one before; an empty name begins none."""
        now = time.perf_counter()
        if self._open is not None:
            if self._open[0] == name:
                return
            self.add(self._open[0], self._open[1], now)
        self._open = (name, now) if name else None

    def forget(self) -> None:
        """Takes back the part that runs: what it was given has turned out wrong, and it will begin anew."""
        self._open = self.startup = None

    def add(self, name: str, begin: float, end: float) -> None:
        """Notes a part by its readings of `time.perf_counter`."""
        begin_s, end_s = begin - self.began, end - self.began
        self._spans.append(Span(name, begin_s, end_s, end_s - begin_s))

    def known(self, waited_s: float, decoder_cpu_s: float) -> tuple[Span, ...]:
        """Gives all parts in the order in which they begin; waited_s: how long the vision tower waited for frames."""
        if self.startup is not None:
            self.startup = replace(self.startup, decoder_cpu_s=decoder_cpu_s)
        spans = [
            replace(span, busy_s=max(0.0, span.busy_s - waited_s)) if span.name == "vision" else span
            for span in self._spans
        ]
        return tuple(sorted(spans, key=lambda span: span.begin_s))
