"""Models, clips and reference data shared by the tests."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
from safetensors import safe_open

from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava

GOLDEN = Path(__file__).parent / "golden"

# Models this small run slower with several threads.
torch.set_num_threads(1)


@cache
def golden_model(name: str, **layout: str) -> Llava:
    """Load a golden checkpoint in float32; all tests share the model and must not change it."""
    checkpoint = checkpoints.locate(str(GOLDEN / "checkpoints" / name))
    return loading.load(checkpoint, torch.device("cpu"), torch.float32, **layout)


@cache
def golden_cases(stem: str) -> dict[str, dict[str, Any]]:
    """Read the descriptions of the cases in one file."""
    cases: dict[str, dict[str, Any]] = json.loads((GOLDEN / "cases" / f"{stem}.json").read_text())["cases"]
    return cases


def golden_tensor(stem: str, name: str) -> torch.Tensor:
    """Read one tensor of a file of cases."""
    with safe_open(GOLDEN / "cases" / f"{stem}.safetensors", "pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
    return tensor


@cache
def clip_frames() -> torch.Tensor:
    """The golden clip: (16, 90, 120, 3) uint8."""
    with safe_open(GOLDEN / "clips" / "clip_a.safetensors", "pt") as file:
        frames: torch.Tensor = file.get_tensor("frames_u8")
    return frames


@pytest.fixture
def without_tf32() -> Iterator[None]:
    """Compute float32 on CUDA as on a CPU: TF32, the default of convolutions, has 10 bits of mantissa, not 23."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = False
    yield
    products.allow_tf32, convolutions.allow_tf32 = before


@pytest.fixture(autouse=True)
def no_encoded_videos(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give every run an empty cache of encoded videos, never the user's; tests of the cache replace it."""
    base = tmp_path_factory.getbasetemp() / "assets"

    def empty() -> Path:
        folder = base / uuid4().hex
        folder.mkdir(parents=True)
        return folder

    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", empty)
    monkeypatch.setenv("HF_ASSETS_CACHE", str(base / uuid4().hex))  # for commands that tests start


@pytest.fixture(scope="session")
def tiny() -> Llava:
    """A tiny LLaVA-OneVision with random weights: 8 layers, 9 tokens a frame."""
    return golden_model("tiny-ov")


@pytest.fixture(scope="session")
def load_golden() -> Callable[..., Llava]:
    """Load any golden checkpoint by name."""
    return golden_model
