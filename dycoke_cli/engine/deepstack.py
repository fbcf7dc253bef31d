"""DeepStack: add features of several vision tower layers to the visual tokens inside the language model.

Source: Meng et al., "DeepStack: Deeply Stacking Visual Tokens is Surprisingly Simple and Effective for LMMs",
arXiv 2406.04334; here as in Qwen3-VL: level i is added after decoder layer i.
"""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from dycoke_cli.tokens import Prompt


@dataclass(frozen=True)
class DeepStack:
    """The features of a chunk of padded prompts; called after each layer, see `Decoder.run`."""

    rows: tuple[tuple[Tensor, Tensor], ...]  # of each prompt: places in the chunk (tokens,), (tokens, levels, hidden)

    @classmethod
    def of(cls, prompts: list[Prompt], slots: range) -> Self | None:
        """Take the features of the visual tokens in `slots` of the prompts; None for prompts without features."""
        rows = []
        for prompt in prompts:
            if prompt.deepstack is None:  # all prompts are of one model
                return None
            inside = (prompt.visual >= slots.start) & (prompt.visual < slots.stop)
            rows.append((prompt.visual[inside] - slots.start, prompt.deepstack[inside]))
        return cls(tuple(rows))

    def __call__(self, layer: int, hidden: Tensor) -> None:
        """Add the features of level `layer`, if there is one, to `hidden` (batch, new, hidden) in place."""
        for own, (places, features) in zip(hidden, self.rows, strict=True):
            if layer < features.shape[1]:
                places, added = (each.to(hidden.device) for each in (places, features[:, layer]))
                own[places] += added
