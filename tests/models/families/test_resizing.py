"""Resizing in float, for devices without a uint8 kernel, equals the CPU's uint8 resizing."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dycoke_cli.models.families import preprocessing
from dycoke_cli.models.families.preprocessing import resized_as_bytes, resized_in_slices
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


@pytest.mark.parametrize("frames_at_once", [1, 3, 16])
@pytest.mark.parametrize("order", ["plain", "read-only", "reversed", "every other", "channels first"])
def test_slices_of_any_array_give_what_single_frames_give(
    frames_at_once: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames resized several at a time are bit-equal to frames resized singly; no array causes a warning."""
    plain = clip_frames()[:7].numpy().copy()
    plain.setflags(write=order != "read-only")
    frames = {
        "reversed": plain[::-1, :, ::-1],
        "every other": plain[::2],
        "channels first": np.ascontiguousarray(plain.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
    }.get(order, plain)
    monkeypatch.setattr(preprocessing, "FLOAT_BYTES", frames_at_once * 90 * 120 * 3 * 4 + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = resized_in_slices(frames, (76, 62), torch.device("cpu"))
    images = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2)
    assert torch.equal(ours, torch.cat([resized_as_bytes(image, (76, 62)) for image in images.split(1)]))


def test_slices_bound_the_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many frames as FLOAT_BYTES holds in float32 are converted at once, at least one."""
    counts: list[int] = []
    whole = resized_as_bytes

    def counted(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        counts.append(len(images))
        return whole(images, size)

    monkeypatch.setattr(preprocessing, "resized_as_bytes", counted)
    frames = clip_frames()[:7].numpy()
    for limit in (1, 3 * 90 * 120 * 3 * 4, preprocessing.FLOAT_BYTES):
        monkeypatch.setattr(preprocessing, "FLOAT_BYTES", limit)
        resized_in_slices(frames, (20, 20), torch.device("cpu"))
    assert counts == [*[1] * 7, 3, 3, 1, 7]
