"""Uniform frame subsampling, a baseline for methods that select tokens."""

import math
from dataclasses import dataclass

import torch

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.first_stage import FirstStage
from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Uniform(FirstStage):
    """Keep every n-th frame and drop the others.

    If the budget is not a whole number of frames, every n-th token of the last kept frame fills the rest of it, so that
    budgets below one frame are met too.
    """

    name = "uniform"

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Keep evenly spaced frames, starting with the first."""
        frames, per_frame = tokens.by_frame().shape[:2]
        budget = rounded(self.retain, len(tokens))
        count = math.ceil(budget / per_frame)
        chosen = torch.arange(count) * frames // count
        last = budget - (count - 1) * per_frame
        places = torch.arange(per_frame)
        whole = chosen[:-1, None] * per_frame + places
        part = chosen[-1] * per_frame + torch.arange(last) * per_frame // last
        return tokens.keep(torch.cat([whole.flatten(), part]).to(tokens.index.device))
