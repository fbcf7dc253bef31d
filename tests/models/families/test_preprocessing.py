"""Preprocessing equals that of the families' transformers processors: sizes, values, order of patches."""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from PIL import Image

from dycoke_cli.errors import ModelError, VideoError
from dycoke_cli.models.families.family import Family
from dycoke_cli.models.families.preprocessing import CLIP_MEAN, CLIP_STD, FramePreprocessing
from dycoke_cli.models.families.qwen_vl import fitted
from tests.conftest import clip_frames

# Importing the module needs no torchvision; importing the class from `transformers` does.
QWEN3 = import_module("transformers.models.qwen3_vl.video_processing_qwen3_vl")
QWEN2 = import_module("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
# Largest allowed difference of the two resizing methods: 3 of 255 levels, at the smallest standard deviation.
CLOSE = 3.01 / 255 / 0.22


def moving(count: int, height: int = 90, width: int = 120) -> npt.NDArray[np.uint8]:
    pictures = [Image.fromarray(frame).resize((width, height)) for frame in clip_frames()[:count].numpy()]
    return np.stack([np.asarray(picture) for picture in pictures])


def pil(name: str, **options: Any) -> Any:
    """Build a transformers processor that needs no torchvision."""
    return getattr(transformers, f"{name}Pil")(**options)


def test_stills_of_qwen_are_its_image_processors(loaded: dict[str, Family]) -> None:
    """A frame repeated twice gives the size, values and order of patches that transformers gives for an image."""
    clip = {"image_mean": list(CLIP_MEAN), "image_std": list(CLIP_STD)}
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    # Qwen3-VL's limits are for all frames together: each of two frames may have half.
    for name, scale, least, most in (("qwen2_5_vl", clip, 256, 1280), ("qwen3_vl", half, 128, 3840)):
        family: Any = loaded[name]
        frame = moving(1)
        size = {"shortest_edge": least, "longest_edge": most}
        processor = pil("Qwen2VLImageProcessor", patch_size=4, size=size, **scale)
        wanted = processor(Image.fromarray(frame[0]), return_tensors="pt")
        patches, counts = family.patches(np.repeat(frame, 2, axis=0), 2)
        assert counts.tolist() == wanted["image_grid_thw"].tolist()
        torch.testing.assert_close(patches, wanted["pixel_values"], atol=CLOSE, rtol=0)
        assert (patches - wanted["pixel_values"]).abs().mean() < 0.01


@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_patches_in_time(loaded: dict[str, Family], name: str, count: int) -> None:
    """A patch has two frames, an odd last frame is repeated, and pixels are in the documented order."""
    family: Any = loaded[name]
    frames = moving(count)
    patches, counts = family.patches(frames, count)
    time, high, wide = counts[0].tolist()
    images = family.preprocessing.prepare(frames, (high * 4, wide * 4), torch.device("cpu"))
    images = torch.cat([images, images[-1:]])[: 2 * time]
    wanted = []
    for t in range(time):
        for row in range(0, high, 2):
            for col in range(0, wide, 2):
                for y, x in ((row, col), (row, col + 1), (row + 1, col), (row + 1, col + 1)):
                    cut = images[2 * t : 2 * t + 2, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                    wanted.append(cut.transpose(0, 1).flatten())
    assert torch.equal(patches, torch.stack(wanted))
    assert torch.equal(patches, QWEN3.Qwen3VLVideoProcessor.patchify(None, images[None], 4, 2, 2)[0][0])
    assert family.grid(count, frames.shape[1:3]) == family.encode(frames).grid == (time, high // 2, wide // 2)


SIZES = [(90, 120), (720, 1280), (1080, 1920), (1280, 720), (33, 500), (20, 30), (13, 2000), (2160, 3840), (240, 240)]


@pytest.mark.parametrize(("least", "most"), [(4 * 64, 120 * 64), (4096, 25165824)])
@pytest.mark.parametrize("count", [1, 2, 5, 16, 33, 200])
def test_sizes_of_qwen3(loaded: dict[str, Family], count: int, least: int, most: int) -> None:
    """Sizes equal transformers' rule with the limit per frame of qwen-vl-utils."""
    family: Any = loaded["qwen3_vl"]
    ours = type(family)(family.model, None, FramePreprocessing((0.5,) * 3, (0.5,) * 3, least, most))
    frames = max(count, 2)
    each = max(min(768 * 64, most // frames), int(least * 1.05))
    for size in SIZES:
        wanted = QWEN3.smart_resize(frames, *size, 2, 8, min_pixels=least, max_pixels=each * frames)
        assert ours.resized(count, size) == wanted, size


@pytest.mark.parametrize(("least", "most"), [(56 * 56, 28 * 28 * 1280), (128 * 784, 768 * 784), (784, 4 * 784)])
def test_sizes_of_qwen2(least: int, most: int) -> None:
    """Sizes equal transformers' rule for images."""
    for size in SIZES:
        assert fitted(size, 28, least, most) == QWEN2.smart_resize(*size, 28, least, most), size


def test_many_frames_of_qwen2_share_the_context(loaded: dict[str, Family]) -> None:
    """The frames of a long video are smaller, so that all together have at most 90% of 128,000 tokens."""
    family: Any = loaded["qwen2_5_vl"]
    real = type(family)(family.model, None, FramePreprocessing(CLIP_MEAN, CLIP_STD))
    assert real.grid(32, (720, 1280)).per_frame in range(700, 769)
    assert real.grid(700, (720, 1280)).total in range(90_000, 115_201)


def test_frames_too_long_are_refused() -> None:
    """More than 200 times as long as wide: no size in whole tokens comes near."""
    with pytest.raises(VideoError, match="4 x 1000"):
        fitted((1000, 4), 28, 784, 7840)


def test_internvl_and_llava_next_video(loaded: dict[str, Family]) -> None:
    """InternVL resizes frames to a square, LLaVA-NeXT-Video crops a square from the centre."""
    processors = {
        "internvl": pil(
            "GotOcr2ImageProcessor", size={"height": 32, "width": 32}, crop_to_patches=False,
            image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
        ),
        "llava_next_video": pil(
            "CLIPImageProcessor", size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    }  # fmt: skip
    for name, processor in processors.items():
        for frames in (moving(3), moving(2, 120, 90), moving(2, 64, 47)):
            wanted = processor([Image.fromarray(frame) for frame in frames], return_tensors="pt")["pixel_values"]
            ours = loaded[name].pixels(frames)  # type: ignore[attr-defined]
            torch.testing.assert_close(ours, wanted, atol=CLOSE, rtol=0)
            assert (ours - wanted).abs().mean() < 0.02


def test_settings_come_from_the_file_about_videos(tmp_path: Any) -> None:
    """Settings are read from any file for videos; from one for images only mean and std; damaged files are refused."""
    default = FramePreprocessing(CLIP_MEAN, CLIP_STD)
    assert FramePreprocessing.read(tmp_path, CLIP_MEAN, CLIP_STD) == default
    image = '{"image_mean": [0, 0, 0], "min_pixels": 3, "size": {"shortest_edge": 3, "longest_edge": 4}}'
    (tmp_path / "preprocessor_config.json").write_text(image)
    assert FramePreprocessing.read(tmp_path, CLIP_MEAN, CLIP_STD) == FramePreprocessing((0, 0, 0), CLIP_STD)
    (tmp_path / "video_preprocessor_config.json").write_text('{"size": {"shortest_edge": 5, "longest_edge": 6}}')
    assert FramePreprocessing.read(tmp_path, CLIP_MEAN, CLIP_STD) == FramePreprocessing(CLIP_MEAN, CLIP_STD, 5, 6)
    (tmp_path / "processor_config.json").write_text('{"video_processor": {"image_std": [1, 1, 1]}}')
    assert FramePreprocessing.read(tmp_path, CLIP_MEAN, CLIP_STD) == FramePreprocessing(CLIP_MEAN, (1, 1, 1))
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(ModelError, match="processor_config"):
        FramePreprocessing.read(tmp_path, CLIP_MEAN, CLIP_STD)


def test_parts_of_a_video_are_the_video(family: Family) -> None:
    """A video encoded in parts has the features of the whole video, with frames of the same size."""
    frames = moving(13)
    whole = family.encode(frames)
    parts = [family.encode(frames[start : start + 8], of=13) for start in (0, 8)]
    torch.testing.assert_close(torch.cat([part.features for part in parts]), whole.features, atol=1e-5, rtol=0)
    if whole.deepstack is not None:
        levels = torch.cat([part.deepstack for part in parts if part.deepstack is not None])
        torch.testing.assert_close(levels, whole.deepstack, atol=1e-5, rtol=0)
