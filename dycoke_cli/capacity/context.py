"""Check that a prompt fits the positions of the model's context, and compute what would fit."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from dycoke_cli.capacity.footprint import remaining_tokens
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import ContextError, UsageError
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family, Size
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.tokens import Grid, VisualTokens
from dycoke_cli.video.clip import Clip

FEWER = "Fewer frames, or a smaller --retain, make room"


@dataclass(frozen=True)
class ContextCheck:
    """The check of one prompt, from sizes: a method's, a clip's and a question's.

    size: of the frames. question: the longest if there are several. subject: what runs, for the message. instead: a
    remedy that replaces the computed ones but for fewer frames.
    """

    model: Family
    method: Method
    settings: Settings
    size: Size
    duration_s: float
    question: str
    subject: str
    instead: str = ""

    def check(self, seconds: Sequence[float]) -> None:
        """Raise ContextError if the prompt and the answer's first token need more positions than the model has.

        seconds: timestamps of the frames. How many tokens a method retains follows from the shape of the video, for
        methods that look at its content to within a token a frame.
        """
        context, grid = self.model.language_model.context, self._grid(len(seconds))
        # A prompt that fits uncompressed fits with any method: the method need not run.
        if self._needed(_whole(grid), seconds) <= context:
            return
        if (needed := self._needed(remaining_tokens(self.method, grid), seconds)) <= context:
            return
        frames = "one frame" if len(seconds) == 1 else f"{len(seconds)} frames"
        raise ContextError(
            f"{self.subject} needs {needed:,} positions for {frames} and the question, "
            f"and the model's context has {context:,}",
            self._remedy(len(seconds)),
        )

    def fits(self, frames: int, retain: float | None = None) -> bool:
        """Return whether so many frames would fit, at any timestamps, with a budget if one is given."""
        grid = self._grid(frames)
        method = self._with_budget(self.settings.retain if retain is None else retain, grid)
        # No timestamp has more digits than the duration.
        return (
            self._needed(remaining_tokens(method, grid), [self.duration_s] * frames)
            <= self.model.language_model.context
        )

    def _with_budget(self, retain: float | None, grid: Grid) -> Method:
        """Return the method with the budget, limited to the range that it can meet."""
        if retain is None:
            return self.method
        low, high = self._range(grid)
        return with_retain(self.method, min(max(retain, low), high), self.model.facts, grid)

    def _can_keep(self, retain: float | None, grid: Grid) -> bool:
        """Return whether the method can meet a budget on a video of this shape."""
        try:
            with_retain(self.method, retain, self.model.facts, grid)
        except UsageError:
            return False
        return True

    def _needed(self, tokens: VisualTokens, seconds: Sequence[float]) -> int:
        positions = self.method.positions
        return 1 + self.model.prompt_positions(tokens, self.question, seconds, self.duration_s, positions)

    def _grid(self, frames: int) -> Grid:
        return self.model.grid(frames, self.size)

    def _remedy(self, frames: int) -> str:
        ways = list(self._ways(frames))
        return f"Would fit: {', or '.join(ways)}" if ways else "Ask a shorter question"

    def _ways(self, frames: int) -> Iterator[str]:
        """Yield options that would fit: fewer frames, a smaller budget, another method."""
        fewer = _most(lambda count: self.fits(count), 1, frames - 1)
        if fewer and self._can_keep(self.settings.retain, self._grid(fewer)):
            yield f"{'--max-frames' if self.settings.fps else '--frames'} {fewer}"
        if self.instead:
            yield self.instead
            return
        compresses = self._range(self._grid(frames)) != (1.0, 1.0)
        other = self if compresses else replace(self, method=Dycoke())
        if retain := other.retain_that_fits(frames):
            yield f"{'' if compresses else f'--method {other.method.name} '}--retain {retain:g}"

    def retain_that_fits(self, frames: int) -> float | None:
        """Return the largest budget, in hundredths, with which all frames would fit; None if there is none."""
        low, high = self._range(self._grid(frames))
        least, most = max(1, math.ceil(100 * low)), math.floor(100 * high)
        percent = _most(lambda share: self.fits(frames, share / 100), least, most)
        return percent / 100 if percent else None

    def _range(self, grid: Grid) -> tuple[float, float]:
        try:
            return self.method.retain_range(self.model.facts, grid)
        except UsageError:  # a chain in which the budget is ambiguous
            return 1.0, 1.0


def check_context(
    model: Family,
    method: Method,
    settings: Settings,
    clip: Clip,
    questions: Sequence[str],
    subject: str | None = None,
    instead: str = "",
) -> None:
    """Raise ContextError if a question about a clip does not fit the model's context, before anything is encoded.

    subject: what runs, for the message, if not the method's name; instead: see `ContextCheck`.
    """
    longest = max(questions, key=lambda question: len(model.tokenizer(question)["input_ids"]))
    name = subject or f"method {method.name}"
    ContextCheck(model, method, settings, clip.size, clip.duration_s, longest, name, instead).check(clip.seconds)


def uncompressed_positions(model: Family, clip: Clip, question: str) -> int:
    """Return the positions of an uncompressed prompt: a clip, a question, newlines and template."""
    tokens = _whole(model.grid(len(clip.frames), clip.size))
    return model.prompt_positions(tokens, question, clip.seconds, clip.duration_s, "packed")


def answer_budget(
    context: int, positions: int, max_new_tokens: int, callbacks: Callbacks, subject: str, remedy: str
) -> int:
    """Return how many tokens an answer may have: `max_new_tokens`, or what is left of the model's context.

    context: positions of the model; positions: of the prompt. Notifies the user where the context decides. Raises
    ContextError, whose message begins with `subject`, if no position is left.
    """
    left = context - positions
    if left < 1:
        raise ContextError(f"{subject} takes {positions:,} positions; the model's context has {context:,}", remedy)
    if left < max_new_tokens:
        callbacks.notice(f"{left} tokens of the model's context are left for this answer. {remedy}")
    return min(left, max_new_tokens)


def _whole(grid: Grid) -> VisualTokens:
    return VisualTokens.uncompressed(torch.empty(*grid, 0))


def _most(fits: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return a number from `low` to `high` that fits while the next one does not; None if `low` does not fit."""
    if low > high or not fits(low):
        return None
    beyond = high + 1
    while beyond - low > 1:
        middle = (low + beyond) // 2
        low, beyond = (middle, beyond) if fits(middle) else (low, middle)
    return low
