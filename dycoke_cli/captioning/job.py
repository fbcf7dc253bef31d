"""What every process that makes captions of one run is told."""

from dataclasses import dataclass

from dycoke_cli.captioning.key import Recipe
from dycoke_cli.config.settings import Settings


@dataclass(frozen=True)
class Job:
    """How captions are made. Plain values, so that it can be sent to another process."""

    settings: Settings  # with the name of the model in place of `auto`
    questions: tuple[str, ...]
    captioned: bool  # the one question is the prompt of a caption
    recipe: Recipe
    default_frames: int
    batch: int | None  # videos that run together at most; None: as many as fit
    decoders: int  # processes that decode ahead
