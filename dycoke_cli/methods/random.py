"""Random tokens, a baseline for methods that select tokens."""

from dataclasses import dataclass

import torch

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.first_stage import FirstStage
from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Random(FirstStage):
    """Keep random tokens of the whole video and drop the others.

    With dynamic pruning (`random+dynamic`) this is the ablation "random tokens instead of temporal token merging" of
    the DyCoke paper.

    seed: the same seed keeps the same tokens on every device.
    """

    name = "random"
    source = "ablation in Tao et al., CVPR 2025"

    seed: int = 0

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Sample uniformly without replacement."""
        order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(self.seed))
        kept = order[: rounded(self.retain, len(tokens))].sort().values
        return tokens.keep(kept.to(tokens.index.device))
