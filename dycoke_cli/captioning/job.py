"""Settings that every process of a captioning run receives, and the processor cores that they share."""

import os
from dataclasses import dataclass

from dycoke_cli.captioning.key import Recipe
from dycoke_cli.config.settings import Settings


@dataclass(frozen=True)
class Job:
    """How captions are made. Plain values only, so that it can be sent to another process."""

    settings: Settings  # `model` is a name, never `auto`
    questions: tuple[str, ...]
    captioned: bool  # True: the only question is the prompt of a caption
    recipe: Recipe
    default_frames: int
    batch: int | None  # videos per batch at most; None: as many as fit
    decoders: int  # processes that decode ahead


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
