"""What all sessions share: the loaded model with its settings, and running one answer with measurements."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from dycoke_cli.capacity.context import FEWER, answer_budget
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family
from dycoke_cli.session.trace import Recorder
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import out_of_memory_explained, suitable_threads
from dycoke_cli.system.measure import PeakMemory, Stopwatch, timed
from dycoke_cli.tokens import Prompt


class BaseSession:
    """A model, a method and the settings of generation, with a stopwatch and a peak-memory meter."""

    def __init__(self, model: Family, method: Method, settings: Settings) -> None:
        method.check(model.facts)
        self.model, self.settings = model, settings
        self.stop = Stop(model.stop_ids, settings.max_new_tokens)
        self.sampling = Sampling(settings.temperature, settings.top_p, settings.seed, settings.repetition_penalty)
        device = model.language_model.device
        self.graphs = GraphStore.of(model.language_model, settings.compile)
        self.watch, self.peak = Stopwatch(device), PeakMemory(device)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the model inside the block: with a suitable number of threads, and errors that explain lack of memory."""
        with out_of_memory_explained(), suitable_threads(self.model.language_model.device, self.model.weight_bytes):
            yield

    def stop_for(self, prompt: Prompt, callbacks: Callbacks, subject: str, remedy: str = FEWER) -> Stop:
        """Return when the answer to a prompt ends: at the end of the model's context at the latest.

        subject, remedy: of the ContextError that is raised if no position is left; see `answer_budget`.
        """
        context, wanted = self.model.language_model.context, self.stop.max_new_tokens
        left = answer_budget(context, prompt.next_position, wanted, callbacks, subject, remedy)
        return replace(self.stop, max_new_tokens=left)

    def follow(
        self,
        prompt: Prompt,
        method: Method,
        buffer: KVBuffer | None,
        recorder: Recorder,
        callbacks: Callbacks,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Run one answer, recording its steps and reporting its text; return whether `stopped` ended it."""
        interrupted = False
        model = self.model.language_model
        steps = generate(model, [prompt], method, recorder.stop, self.sampling, buffer, self.graphs)
        for step, seconds in timed(steps, self.watch):
            callbacks.phase("decode")
            if piece := recorder.take(step.row(0), seconds):
                callbacks.text(piece)
            if stopped():
                interrupted = recorder.ids[-1] not in recorder.stop.ids
                break
        callbacks.phase("")
        if rest := recorder.finish():
            callbacks.text(rest)
        callbacks.answered(recorder.stream.text.strip())
        return interrupted
