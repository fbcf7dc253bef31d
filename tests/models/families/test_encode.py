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
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the tokens held at once to one window: four frames of the grid."""
    monkeypatch.setattr("dycoke_cli.session.video.TOGETHER", 4)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("name", ["dycoke", "full"])
@pytest.mark.parametrize("count", [7, 8, 13])
def test_windowed_encoding_equals_whole_video(family: Family, name: str, count: int) -> None:
    """Windows return the tokens of the whole video, also for Qwen-VL, whose frame size depends on their number."""
    method, frames, progress = make_method(name, {}), clip_frames()[:count].numpy(), list[tuple[int, int]]()
    expected = method.compress(family.encode(frames))
    ours = encode_compressed(family, frames, method, lambda done, total: progress.append((done, total)))
    assert ours.grid == expected.grid
    assert torch.equal(ours.index, expected.index)
    assert torch.equal(ours.survivor, expected.survivor)
    torch.testing.assert_close(ours.features, expected.features, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.deepstack, expected.deepstack, atol=1e-5, rtol=0)
    assert progress == sorted(progress)
    assert progress[-1] == (count, count)


@pytest.mark.parametrize("together", [4, 16])
@pytest.mark.parametrize("name", ["dycoke", "full", "random"])
def test_encoding_waits_for_the_next_chunk_only(
    family: Family, name: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most the next chunk of frames is awaited; the tokens are those of completely decoded frames."""
    monkeypatch.setattr("dycoke_cli.session.video.TOGETHER", together)
    method, frames = make_method(name, {}), clip_frames()[:14].numpy()
    done, requests = [0], []

    def load(count: int) -> npt.NDArray[np.uint8]:
        requests.append((count, count - done[-1]))
        return frames

    buffer = FrameBuffer(frames.shape, load)
    ours = encode_compressed(family, buffer, method, lambda now, total: done.append(now))
    assert torch.equal(ours.index, encode_compressed(family, frames, method).index)
    assert max(count for count, _ in requests) == 14
    assert max(more for _, more in requests) <= CHUNK["cpu"] * family.frames_per_patch
    assert len(requests) > 1


def test_patches_of(loaded: dict[str, Family]) -> None:
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
