"""The model's context: what a prompt takes of its positions, and what would fit where it takes too many."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from dycoke_cli.capacity.footprint import left_of
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
class Intent:
    """A prompt that nobody has made yet: what one method is to be asked about one clip.

    size: of the frames. question: where there are several, the longest. subject: what runs, in words. instead: a way
    out besides those that are worked out.
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
        """Raise ContextError where the prompt and the answer's first token take more positions than there are.

        seconds: when each frame is shown. How many tokens a method leaves follows from the shape of the video; those
        that let its content decide keep that number to within a token a frame.
        """
        context, grid = self.model.language_model.context, self._grid(len(seconds))
        # Whatever fits uncompressed fits, and nothing need be tried.
        if self._needed(_whole(grid), seconds) <= context:
            return
        if (needed := self._needed(left_of(self.method, grid), seconds)) <= context:
            return
        frames = "one frame" if len(seconds) == 1 else f"{len(seconds)} frames"
        raise ContextError(
            f"{self.subject} needs {needed:,} positions for {frames} and the question, "
            f"and the model's context has {context:,}",
            self._remedy(len(seconds)),
        )

    def fits(self, frames: int, retain: float | None = None) -> bool:
        """Say whether so many frames would fit, whenever they are shown, with a budget where one is given."""
        grid = self._grid(frames)
        method = self._with_budget(self.settings.retain if retain is None else retain, grid)
        # No time has more digits than the duration.
        return self._needed(left_of(method, grid), [self.duration_s] * frames) <= self.model.language_model.context

    def _with_budget(self, retain: float | None, grid: Grid) -> Method:
        """Let the method keep the share of a video's tokens that is nearest to a budget."""
        if retain is None:
            return self.method
        low, high = self._range(grid)
        return with_retain(self.method, min(max(retain, low), high), self.model.facts, grid)

    def _can_keep(self, retain: float | None, grid: Grid) -> bool:
        """Say whether the method can meet a budget on a video of this shape."""
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
        """Name what would fit: fewer frames, a smaller share of their tokens, another method."""
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
        """Give the largest budget in hundredths with which all frames would fit; None where there is none."""
        low, high = self._range(self._grid(frames))
        least, most = max(1, math.ceil(100 * low)), math.floor(100 * high)
        percent = _most(lambda share: self.fits(frames, share / 100), least, most)
        return percent / 100 if percent else None

    def _range(self, grid: Grid) -> tuple[float, float]:
        try:
            return self.method.retain_range(self.model.facts, grid)
        except UsageError:  # a chain that does not say whose the budget is
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
    """Raise ContextError where a question about a clip does not fit the model's context; nothing is encoded for it.

    subject: what runs, in words, if not the method by its name; instead: see `Intent`.
    """
    _, height, width, _ = clip.frames.pixels.shape
    longest = max(questions, key=lambda question: len(model.tokenizer(question)["input_ids"]))
    name = subject or f"method {method.name}"
    Intent(model, method, settings, (height, width), clip.duration_s, longest, name, instead).check(clip.seconds)


def uncompressed_positions(model: Family, clip: Clip, question: str) -> int:
    """Say how many positions a question takes beside the whole of a clip, newlines and template included."""
    frames, height, width, _ = clip.frames.pixels.shape
    tokens = _whole(model.grid(frames, (height, width)))
    return model.prompt_positions(tokens, question, clip.seconds, clip.duration_s, "packed")


def answer_room(
    context: int, positions: int, max_new_tokens: int, callbacks: Callbacks, subject: str, remedy: str
) -> int:
    """Say how many tokens an answer may have: it ends at the end of the model's context at the latest.

    context: how many positions the model has; positions: how many of them the prompt takes. `callbacks` is told where
    that is less than `max_new_tokens`. Raises ContextError where there is no room for an answer.
    """
    left = context - positions
    if left < 1:
        raise ContextError(f"{subject} takes {positions:,} positions; the model's context has {context:,}", remedy)
    if left < max_new_tokens:
        callbacks.notice(f"{left} tokens of the model's context are left for this answer. {remedy}")
    return min(left, max_new_tokens)


def _whole(grid: Grid) -> VisualTokens:
    return VisualTokens.whole(torch.empty(*grid, 0))


def _most(fits: Callable[[int], bool], low: int, high: int) -> int | None:
    """Give a number from `low` to `high` that fits where the next one does not; None where `low` does not."""
    if low > high or not fits(low):
        return None
    beyond = high + 1
    while beyond - low > 1:
        middle = (low + beyond) // 2
        low, beyond = (middle, beyond) if fits(middle) else (low, middle)
    return low
