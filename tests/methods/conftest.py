"""Fixtures with the visual tokens of synthetic videos."""

from collections.abc import Callable

import pytest
import torch

from dycoke_cli.tokens import VisualTokens

Make = Callable[..., VisualTokens]


@pytest.fixture(scope="session")
def make_tokens() -> Make:
    """Return a function that makes uncompressed tokens of a slowly changing or still video, with saliency, by seed."""

    def make(frames: int, rows: int, cols: int, hidden: int = 24, seed: int = 0, still: bool = False) -> VisualTokens:
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(1, rows, cols, hidden, generator=generator)
        steps = 0.4 * torch.randn(frames, rows, cols, hidden, generator=generator) * (not still)
        saliency = torch.rand(frames, rows, cols, generator=generator) ** 4
        return VisualTokens.uncompressed(first + steps.cumsum(0), saliency)

    return make
