"""VidCom²: more tokens for frames that stand out, and in each frame the tokens that stand out.

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

WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)  # of the Gaussian kernels
CHANNELS = 0.5  # share of the channels that is looked at: those that vary least over the video


@dataclass(frozen=True)
class Vidcom2(FirstStage):
    """Keep the tokens least like their video and their frame, more of them in frames unlike the video.

    Likeness is a sum of Gaussian kernels of the distance between a token and the mean token, of unit features in the
    half of the channels that varies least. A frame's share of the budget is in proportion to 1 + u - mean(u), where u
    is the softmax over frames of how little its tokens resemble the video.

    The released code rounds each frame's share and cuts it at a whole frame; here what is cut goes to the other
    frames, so that the budget is met.

    temperature: of that softmax, above 0; low gives much to the one most unusual frame, high treats frames alike.
    """

    name = "vidcom2"
    source = "Liu et al., EMNLP 2025, arXiv 2505.14454"

    temperature: Positive = 0.01

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Score, share the budget among the frames, keep the least likely tokens of each."""
        to_video, to_frame = likeness(tokens.by_frame().float())
        unlikely = (-to_video.mean(dim=1) / self.temperature).softmax(dim=0)
        weights = 1 + unlikely - unlikely.mean()
        frames, per_frame = to_video.shape
        budget = rounded(self.retain, len(tokens))
        counts = apportion(budget, weights.tolist(), [per_frame] * frames)
        ranked = (to_video + to_frame).sort(dim=1, stable=True).indices
        kept = [frame * per_frame + ranked[frame, :count].sort().values for frame, count in enumerate(counts)]
        return tokens.keep(torch.cat(kept))


def likeness(features: Tensor) -> tuple[Tensor, Tensor]:
    """Say how much each token resembles the mean token of the video and that of its frame.

    features: (frames, per_frame, hidden) float32. Returns two of (frames, per_frame), higher is more alike.
    """
    spread = features.flatten(0, 1).var(dim=0, correction=0)
    steady = spread.sort(stable=True).indices[: max(1, int(features.shape[-1] * CHANNELS))]
    unit = F.normalize(features[..., steady], dim=-1)
    return _kernels(unit, unit.mean(dim=(0, 1))), _kernels(unit, unit.mean(dim=1, keepdim=True))


def _kernels(unit: Tensor, centre: Tensor) -> Tensor:
    squared = (unit - centre).square().sum(dim=-1)
    return torch.stack([(-squared / (2 * width)).exp() for width in WIDTHS]).sum(dim=0)
