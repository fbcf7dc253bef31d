"""DyCoke's token selection exactly as in the authors' released code (KD-TAO/DyCoke, commit dd74634).

It reproduces published numbers. Differences from the paper:

- token counts are truncated, not rounded, in binary floating point: 25 tokens at k=0.8 keep 4;
- the kept tokens of a compressed frame are ordered by increasing similarity, not in raster order;
- the third frame of the last full window is kept whole; the last of an odd number of frames is dropped; 4 frames or
  fewer crash;
- the last visual token is never pruned;
- attention is compared with the previous step; if the cosine similarity is 0.9 or more, all tokens are read.
"""

from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.protocol import ModelFacts, Selection

GATE = 0.9


def check(layer: int, facts: ModelFacts) -> None:
    """Raise UsageError where the released code crashes."""
    if layer < 1:
        raise UsageError("variant=official crashes with l=0", "Use -o l=1 or higher, or -o variant=paper")
    if facts.newline != "one_token":
        raise UsageError(
            f"variant=official does not support models with {facts.newline!r} newlines: the released code crashes",
            "Use -o variant=paper",
        )


def merge_windows(features: Tensor, k: float) -> Tensor:
    """Return the indices of the kept tokens, (kept,) int64 into the flattened frames, in the released code's order.

    features: (frames, per_frame, hidden). Raise UsageError for 4 frames or fewer, on which the released code crashes.
    """
    frames, per_frame = features.shape[:2]
    if frames <= 4:
        raise UsageError(f"variant=official crashes on {frames} frames", "Use 5 or more, or -o variant=paper")
    keep = int((1 - k) * per_frame)
    whole = torch.arange(per_frame, device=features.device)
    kept = []
    for frame in range(frames - frames % 2):
        if frame % 2:
            back = 1
        elif frame % 4 == 2 and frame + 2 < frames:
            back = 2
        else:
            kept.append(frame * per_frame + whole)
            continue
        similarity = F.cosine_similarity(features[frame].float(), features[frame - back].float(), dim=-1)
        kept.append(frame * per_frame + similarity.sort().indices[:keep])
    return torch.cat(kept)


class OfficialSelector:
    """The released code's second stage: read the last token and the top share of the others, or all tokens."""

    def __init__(self, counts: Tensor, p: float, layer: int, width: int | None = None) -> None:
        self.score_layer = layer - 1
        self.prune_from = layer
        device = counts.device
        candidates = (counts - 1).clamp(min=0)
        self.keep = torch.tensor([int(n * (1 - p)) for n in candidates.tolist()], device=device)[:, None]
        self.rank = torch.arange(int(counts.max()) if width is None else width, device=device)
        self.exists = self.rank < counts[:, None]
        self.candidate = self.rank < candidates[:, None]
        self.previous = torch.zeros(self.exists.shape, device=device)

    def select(self, scores: Tensor) -> Selection:
        """Rank by score; read all tokens if scores are similar to the last step's. See `Selector.select`."""
        current = scores * self.candidate
        similarity = F.cosine_similarity(current, self.previous, dim=-1)
        self.previous.copy_(current)
        changed = similarity < GATE
        # Order: candidates by score, then the exempt last token, then padding.
        order = scores.masked_fill(~self.candidate, -1.0).masked_fill(~self.exists, -2.0)
        index = order.sort(dim=-1, descending=True).indices
        exempt = ~self.candidate.gather(1, index)
        valid = (self.rank < self.keep) | exempt | ~changed[:, None]
        return Selection(index, valid & self.exists.gather(1, index), changed)

    def only(self, rows: Tensor) -> "OfficialSelector":
        """See `Selector.only`."""
        subset = copy(self)
        subset.keep, subset.exists = self.keep[rows], self.exists[rows]
        subset.candidate, subset.previous = self.candidate[rows], self.previous[rows]
        return subset
