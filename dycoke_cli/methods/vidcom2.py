"""VidCom²: keep the most distinctive tokens of each frame, and more tokens of distinctive frames.

Source: Liu et al., "Video Compression Commander: Plug-and-Play Inference Acceleration for Video Large Language
Models", EMNLP 2025, arXiv 2505.14454; constants as in the released code.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.methods.budget import apportion, rounded
from dycoke_cli.methods.first_stage import FirstStage
from dycoke_cli.methods.ranges import Positive
from dycoke_cli.tokens import VisualTokens

WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)  # bandwidths of the Gaussian kernels
CHANNELS = 0.5  # share of the channels that are compared: those with the lowest variance over the video


@dataclass(frozen=True)
class Vidcom2(FirstStage):
    """Keep the tokens least similar to their video and their frame, more of them in frames unlike the video.

    Similarity is a sum of Gaussian kernels of the distance between a token and the mean token, computed on unit
    features in the half of the channels with the lowest variance. A frame's share of the budget is proportional to
    1 + u - mean(u), where u is the softmax over frames of the negative mean similarity of its tokens to the video.

    The released code rounds each frame's share and limits it to a whole frame; here the excess goes to the other
    frames, so that the budget is met.

    temperature: of that softmax, above 0; low favours the most unusual frame, high treats all frames alike.
    """

    name = "vidcom2"
    source = "Liu et al., EMNLP 2025, arXiv 2505.14454"

    temperature: Positive = 0.01

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Score tokens, divide the budget among frames, keep the least similar tokens of each."""
        to_video, to_frame = similarities(tokens.by_frame().float())
        unusual = (-to_video.mean(dim=1) / self.temperature).softmax(dim=0)
        weights = 1 + unusual - unusual.mean()
        frames, per_frame = to_video.shape
        budget = rounded(self.retain, len(tokens))
        counts = apportion(budget, weights.tolist(), [per_frame] * frames)
        ranked = (to_video + to_frame).sort(dim=1, stable=True).indices
        kept = [frame * per_frame + ranked[frame, :count].sort().values for frame, count in enumerate(counts)]
        return tokens.keep(torch.cat(kept))


def similarities(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return each token's similarity to the mean token of the video, and to that of its frame.

    features: (frames, per_frame, hidden) float32. Returns two (frames, per_frame), higher is more similar.
    """
    variance = features.flatten(0, 1).var(dim=0, correction=0)
    stable = variance.sort(stable=True).indices[: max(1, int(features.shape[-1] * CHANNELS))]
    unit = F.normalize(features[..., stable], dim=-1)
    return _kernel_sum(unit, unit.mean(dim=(0, 1))), _kernel_sum(unit, unit.mean(dim=1, keepdim=True))


def _kernel_sum(unit: Tensor, centre: Tensor) -> Tensor:
    squared = (unit - centre).square().sum(dim=-1)
    return torch.stack([(-squared / (2 * width)).exp() for width in WIDTHS]).sum(dim=0)
