"""Resizing in float, for devices without a uint8 kernel, equals the CPU's uint8 resizing."""

import pytest
import torch
import torch.nn.functional as F

from dycoke_cli.models.families.preprocessing import resized_as_bytes
from tests.conftest import clip_frames


@pytest.mark.parametrize("side", [42, 96, 384])
@pytest.mark.parametrize("content", ["clip", "noise"])
def test_floats_in_two_steps_are_what_the_kernel_for_bytes_gives(side: int, content: str) -> None:
    """The difference is at most 2 of 255 levels, and below 0.02 on average, at sharp edges too."""
    noise = torch.randint(0, 256, (2, 3, 135, 240), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = clip_frames()[:4].permute(0, 3, 1, 2) if content == "clip" else noise
    wanted = F.interpolate(images, (side, side), mode="bicubic", antialias=True).float()
    difference = (resized_as_bytes(images, (side, side)) - wanted).abs()
    assert difference.max() <= 2
    assert difference.mean() < 0.02


def test_a_frame_of_the_right_size_stays_as_it_is() -> None:
    """A frame that already has the target size is not changed."""
    images = clip_frames()[:2, :64, :64].permute(0, 3, 1, 2)
    assert torch.equal(resized_as_bytes(images, (64, 64)), images.float())
