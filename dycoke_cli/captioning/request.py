"""Options of a captioning run, checked before any work."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.captioning.folder import Found, find_videos, parse_endings
from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job, Recipe, cores
from dycoke_cli.captioning.on_ray import records_on_ray
from dycoke_cli.captioning.pipeline import records_here
from dycoke_cli.captioning.record import Record
from dycoke_cli.captioning.shard import Shard
from dycoke_cli.captioning.sidecar import Sidecars
from dycoke_cli.captioning.worker_pool import WorkerPool
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import InputError, UsageError
from dycoke_cli.models import checkpoints
from dycoke_cli.session.question import check_question
from dycoke_cli.system.files import read_text

NAME = "captions.jsonl"
MOST_DECODERS = 16


@dataclass(frozen=True)
class Request:
    """The options of one run, as the user gave them."""

    places: tuple[Path, ...]
    settings: Settings
    questions: tuple[str, ...]
    captioned: bool  # True: the only question is the prompt of a caption
    output: Path | None = None
    sidecars: Sidecars | None = None
    recursive: bool = False
    ext: str | None = None
    limit: int | None = None
    retry_errors: bool = False
    overwrite: bool = False
    fail_fast: bool = False
    batch_size: str = "auto"
    decoders: int | None = None
    shard: str | None = None
    workers: int = 1
    engine: str = "local"
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise UsageError(f"--engine is {self.engine!r}", "Choose local or ray")
        if self.ray_address is not None and self.engine != "ray":
            raise UsageError(f"--ray-address {self.ray_address!r} is for Ray", "Add --engine ray")

    def find(self) -> Found:
        """Find the videos. Raises InputError, UsageError."""
        return find_videos(self.places, parse_endings(self.ext), self.recursive)

    def share(self, environment: Mapping[str, str]) -> Shard | None:
        """Return the shard of this run, from --shard or SLURM; None: all videos. Raises UsageError."""
        return Shard.parse(self.shard) if self.shard is not None else Shard.from_slurm(environment)

    @property
    def file(self) -> Path:
        """Path of the output; by default captions.jsonl in the only folder given, else in the working folder."""
        if self.output is not None:
            return self.output
        folder = self.places[0] if len(self.places) == 1 and self.places[0].is_dir() else Path()
        return folder / NAME

    def job(self) -> Job:
        """Build the settings that each process receives. Raises ModelError, UsageError."""
        settings = self.settings
        name = checkpoints.choose_auto() if settings.model == "auto" else settings.model
        checkpoint = checkpoints.locate(name)
        recipe = Recipe.of(checkpoint, settings, self.questions)
        settings = settings.model_copy(update={"model": name})
        decoders = self.decoders or max(1, min(MOST_DECODERS, cores() // self.workers))
        frames = checkpoint.default_frames
        return Job(settings, self.questions, self.captioned, recipe, frames, self._batch(), decoders)

    def records(self, job: Job, items: Sequence[Item], stopped: Callable[[], bool]) -> Generator[Record]:
        """Make records with the chosen engine: in this process, in several, or on a Ray cluster."""
        if self.engine == "ray":
            folder = self.file.absolute().with_name(f".{self.file.name}.attempts")
            return records_on_ray(job, items, self.workers, folder, self.ray_address, stopped)
        if self.workers > 1:
            return WorkerPool(job, items, self.workers).records(stopped)
        return records_here(job, items, stopped)

    def _batch(self) -> int | None:
        if self.batch_size == "auto":
            return None
        if not self.batch_size.isdecimal() or not int(self.batch_size):
            raise UsageError(f"--batch-size is {self.batch_size!r}", "Give a whole number above 0, or auto")
        return int(self.batch_size)


def asked_questions(prompt: str | None, file: Path | None, usual: str) -> tuple[str, ...]:
    """Return the prompt (`usual` for None), or the questions of a file, one per line.

    Raises UsageError, InputError.
    """
    if file is None:
        if prompt is not None and not prompt.strip():
            raise UsageError("the prompt is empty", 'Ask for something: --prompt "describe the video."')
        check_question(prompt or usual)
        return (prompt or usual,)
    if prompt is not None:
        raise UsageError("--prompt and --questions exclude each other", "Give one of the two")
    try:
        lines = read_text(file, "utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read: {error.strerror}", "Name a file of questions") from None
    except UnicodeDecodeError:
        raise UsageError(f"{str(file)!r} is not text in UTF-8", "Name a file of questions, one a line") from None
    questions = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not questions:
        raise UsageError(f"{str(file)!r} holds no questions", "Write one a line")
    return questions
