"""Encoding and compression by windows of frames, while frames are decoded, in every family."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dycoke_cli.methods.options import make_method
from dycoke_cli.models.families.family import CHUNK, Family
from dycoke_cli.session.video import encode_compressed
from dycoke_cli.video.frame_buffer import FrameBuffer
from tests.conftest import clip_frames


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the tokens held at once to one window: four frames of the grid."""
    monkeypatch.setattr("dycoke_cli.session.video.TOGETHER", 4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["dycoke", "full"])
@pytest.mark.parametrize("count", [7, 8, 13])
def test_windows_are_the_whole_video(family: Family, name: str, count: int) -> None:
    """Windows give the tokens of the whole video, also for Qwen-VL, whose frame size depends on their number."""
    method, frames, seen = make_method(name, {}), clip_frames()[:count].numpy(), list[tuple[int, int]]()
    wanted = method.compress(family.encode(frames))
    ours = encode_compressed(family, frames, method, lambda done, total: seen.append((done, total)))
    assert ours.grid == wanted.grid
    assert torch.equal(ours.index, wanted.index)
    assert torch.equal(ours.survivor, wanted.survivor)
    torch.testing.assert_close(ours.features, wanted.features, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.deepstack, wanted.deepstack, atol=1e-5, rtol=0)
    assert seen == sorted(seen)
    assert seen[-1] == (count, count)


@pytest.mark.parametrize("together", [4, 16])
@pytest.mark.parametrize("name", ["dycoke", "full", "random"])
def test_frames_are_waited_for_when_the_tower_takes_them(
    family: Family, name: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most the next chunk of frames is awaited; the tokens are those of completely decoded frames."""
    monkeypatch.setattr("dycoke_cli.session.video.TOGETHER", together)
    method, frames = make_method(name, {}), clip_frames()[:14].numpy()
    done, ahead = [0], []

    def load(count: int) -> npt.NDArray[np.uint8]:
        ahead.append((count, count - done[-1]))
        return frames

    buffer = FrameBuffer(frames.shape, load)
    ours = encode_compressed(family, buffer, method, lambda now, total: done.append(now))
    assert torch.equal(ours.index, encode_compressed(family, frames, method).index)
    assert max(count for count, _ in ahead) == 14
    assert max(more for _, more in ahead) <= CHUNK["cpu"] * family.frames_per_patch
    assert len(ahead) > 1


def test_patches_of_a_frame_are_counted(loaded: dict[str, Family]) -> None:
    """`patches_of` equals the patches that the vision tower processes per frame, or per two frames for Qwen-VL."""
    frames = clip_frames()[:5].numpy()
    for name, family in loaded.items():
        if name == "llava_onevision":
            continue
        model: Any = family
        patches = model.patches_of(5, frames.shape[1:3])
        if name.startswith("qwen"):
            assert 3 * patches == len(model.patches(frames, 5)[0])
        else:
            assert patches == 8 * 8
