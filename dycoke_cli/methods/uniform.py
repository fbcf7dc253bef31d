"""Fewer frames: what a choice of tokens has to beat."""

import math
from dataclasses import dataclass

import torch

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.first_stage import FirstStage
from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Uniform(FirstStage):
    """Keep every n-th frame, the other frames are dropped.

    A budget is seldom a whole number of frames. The kept frames are whole but for the last one, which gives every n-th
    of its tokens to fill the budget; so a budget below one frame still shows something, and none is missed.
    """

    name = "uniform"

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Spread the kept frames evenly from the first one on."""
        frames, per_frame = tokens.by_frame().shape[:2]
        budget = rounded(self.retain, len(tokens))
        count = math.ceil(budget / per_frame)
        chosen = torch.arange(count) * frames // count
        last = budget - (count - 1) * per_frame
        places = torch.arange(per_frame)
        whole = chosen[:-1, None] * per_frame + places
        part = chosen[-1] * per_frame + torch.arange(last) * per_frame // last
        return tokens.keep(torch.cat([whole.flatten(), part]).to(tokens.index.device))
