"""Answer a question file with several methods of one model, resuming from the answers of earlier runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import ContextError, UsageError, VideoError
from dycoke_cli.evaluation.question import Question
from dycoke_cli.evaluation.record import Record
from dycoke_cli.evaluation.task import Task, tasks_of
from dycoke_cli.methods.arm import Arm
from dycoke_cli.session.frame_request import sampling_of, shortfalls, start_decoding
from dycoke_cli.session.load import choose_checkpoint, load_model, notice_demo
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import choose_device, choose_dtype
from dycoke_cli.system.jsonl_output import JsonlOutput
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling

if TYPE_CHECKING:
    from dycoke_cli.models.families.family import Family


CHOOSING = ("frames", "fps", "max_frames", "start", "end", "sample")  # the settings that choose frames


class Evaluation:
    """Answers every question with every arm; each video is decoded and encoded once.

    Raises a DyCokeError for a model or a setting that cannot be used.
    """

    def __init__(self, questions: Sequence[Question], arms: Sequence[Arm], settings: Settings) -> None:
        self.settings = settings
        self.noticed: set[str] = set()  # notices printed so far
        self.checkpoint = choose_checkpoint(settings)
        self.device = choose_device(settings.device)
        self.dtype = str(choose_dtype(settings.dtype, self.device)).removeprefix("torch.")
        self.tasks = tasks_of(questions, arms, self.checkpoint, self.dtype, self._sampling, settings)

    @property
    def described(self) -> dict[str, Any]:
        """Model and frame settings as plain values for JSON, found without loading the model."""
        model = {"name": self.checkpoint.name, "dtype": self.dtype, "device": str(self.device)}
        frames = {name: getattr(self.settings, name) for name in CHOOSING}
        return {"model": model, "frames": {"default": self.checkpoint.default_frames, **frames}}

    def records(self, output: JsonlOutput[Record]) -> dict[tuple[int, str], Record]:
        """Return known records by item and arm label, in file order, scored against the file's present answers."""
        return {
            (task.item, task.arm.label): output.records[task.key].about(task.question, task.arm.label)
            for task in self.tasks
            if task.key in output.records
        }

    def remaining(self, output: JsonlOutput[Record]) -> dict[str, Task]:
        """Return the tasks without an answer by key, those whose video could not be read included."""
        remaining: dict[str, Task] = {}  # duplicate items are answered once
        for task in self.tasks:
            record = output.records.get(task.key)
            if record is None or record.answer is None:
                remaining.setdefault(task.key, task)
        return remaining

    def run(self, output: JsonlOutput[Record], callbacks: Callbacks) -> None:
        """Answer the remaining tasks. Interrupted at any point, the output contains all answers made so far."""
        tasks = self.remaining(output)
        if kept := sum(task.key not in tasks for task in self.tasks):
            callbacks.notice(f"{kept} of {len(self.tasks)} answers are kept from before")
        self._rescore(output)
        if not tasks:
            return
        for done, record in enumerate(self._answered(list(tasks.values()), callbacks), 1):
            output.add(record)
            callbacks.progress("Answering", done, len(tasks))

    def _rescore(self, output: JsonlOutput[Record]) -> None:
        """Update records whose accepted answers, type or arm label have changed since they were written."""
        for key, task in {task.key: task for task in reversed(self.tasks)}.items():
            record = output.records.get(key)
            if record is not None and (scored := record.about(task.question, task.arm.label)) != record:
                output.add(scored)

    def _answered(self, tasks: Sequence[Task], callbacks: Callbacks) -> Iterator[Record]:
        """Answer tasks grouped by video, while the next video is decoded."""
        groups: dict[Path, list[Task]] = {}
        for task in tasks:
            groups.setdefault(task.question.path, []).append(task)
        following = [*groups][1:]
        with VideoReader(self.settings.decoder, self.settings.video_timeout) as reader:
            coming = self._submit(reader, tasks[0].question.path)
            notice_demo(self.checkpoint, self.settings, callbacks)
            callbacks.progress("Loading the model", 0, 0)
            arms = dict.fromkeys(task.arm for task in tasks)
            model = load_model(self.checkpoint, self.settings, [arm.method for arm in arms])
            callbacks.progress("Answering", 0, len(tasks))
            for group in groups.values():
                now = coming
                if following:
                    coming = self._submit(reader, following.pop(0))
                yield from self._answer_video(model, now, group, callbacks)

    def _sampling(self, path: Path) -> Sampling:
        """Return how to sample the frames of a video; for a folder of pictures, `fps` is their frame rate."""
        return sampling_of(self.settings, self.checkpoint.default_frames, rated=path.is_dir())

    def _submit(self, reader: VideoReader, path: Path) -> PendingFrames | VideoError:
        try:
            return start_decoding(reader, str(path), self.settings, self.checkpoint.default_frames)
        except VideoError as error:
            return error

    def _answer_video(
        self, model: "Family", pending: PendingFrames | VideoError, tasks: Sequence[Task], callbacks: Callbacks
    ) -> Iterator[Record]:
        """Answer every task of one video; if it cannot be read, each gets an error record."""
        try:
            if isinstance(pending, VideoError):
                raise pending
            frames = pending.result()
        except (VideoError, UsageError) as error:  # UsageError: the decoder chosen by the user cannot open this video
            for task in tasks:
                yield Record.failed(task.key, task.arm.label, task.question, error.message)
            return
        for warning in frames.info.warnings:
            callbacks.notice(f"{tasks[0].question.video}: {warning}")
        video = Video.of(frames, self.settings.start, self.settings.end, pending.seconds)
        sampling = self._sampling(tasks[0].question.path)
        for line in shortfalls(video.clip, self.settings, sampling):
            if line not in self.noticed:  # once per run, not per video
                callbacks.notice(f"{tasks[0].question.video}: {line}")
                self.noticed.add(line)
        yield from self._ask(model, video, tasks)

    def _ask(self, model: "Family", video: Video, tasks: Sequence[Task]) -> Iterator[Record]:
        """Answer the tasks that fit the model's context; the others get error records, before anything is encoded."""
        from dycoke_cli.session.session import Session

        sessions = {}
        for arm in dict.fromkeys(task.arm for task in tasks):
            settings = self.settings.model_copy(update={"retain": None}) if arm.baseline else self.settings
            sessions[arm] = Session(model, video, arm.method, settings)
        fitting: dict[Arm, list[Task]] = {}
        for task in tasks:
            arm = task.arm
            try:
                sessions[arm].check_context([task.question.prompt], f"method {arm.label}", arm.context_remedy)
                fitting.setdefault(arm, []).append(task)
            except ContextError as error:
                why = f"{task.question.video}: {error.message}. {error.remedy}"
                yield Record.failed(task.key, arm.label, task.question, why)
        if not fitting:
            return
        silent = Callbacks()
        encoded = sessions[next(iter(fitting))].encode(silent, any(arm.method.needs_saliency for arm in fitting))
        for arm, mine in fitting.items():
            answers = sessions[arm].answers([task.question.prompt for task in mine], silent, encoded=encoded)
            for task, answer in zip(mine, answers, strict=True):
                yield Record.of(task.key, arm.label, task.question, answer)
