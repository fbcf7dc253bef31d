"""Memory checks: a model that does not fit is refused before it is loaded, with remedies that fit."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dycoke_cli.capacity import fit
from dycoke_cli.capacity.fit import RunSizes, check_fit, run_sizes
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import OutOfMemoryError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.fastv import Fastv
from dycoke_cli.methods.full import Full
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.family import HD
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.flops import TextShape
from dycoke_cli.models.sizes import KNOWN, SHAPES
from dycoke_cli.session.load import load_model

GIB = 2**30
CUDA = torch.device("cuda")
VISION = SimpleNamespace(image_size=384, patch_size=14, hidden_size=1152, intermediate_size=4304)
CONFIG = SimpleNamespace(vision_config=VISION, text_config=SimpleNamespace(hidden_size=3584))
OUTLINE = Llava(SimpleNamespace(config=CONFIG), None, VideoLayout("grid"))
QWEN_7B = TextShape(28, 3584, 18944, 28, 4, 128, 152064)
SIZES_7B = RunSizes("llava-video-7b", KNOWN["llava-video-7b"], QWEN_7B, OUTLINE, 64, HD, 1.0, False, 256, 2, CUDA)


def test_need_of_known_sizes() -> None:
    """The 7B model in bfloat16 needs 15 GiB of weights, and 56 KiB of keys and values per token."""
    need = SIZES_7B.need()
    assert need.weights == KNOWN["llava-video-7b"].parameters * 2
    assert need.kv == 56 * 1024 * (64 * 14 * 15 + fit.TEXT + 256)
    assert SIZES_7B.need(frames=32).kv < need.kv
    assert SIZES_7B.need(quantize="int4").weights < SIZES_7B.need(quantize="int8").weights < need.weights
    assert replace(SIZES_7B, share=0.475).need().total < need.total


def test_unchunked_prefill_needs_more_work_memory() -> None:
    """A chunked prefill of 27,904 positions holds the activations of 16,384 and the embeddings of the rest."""
    positions = 128 * 14 * 15 + fit.TEXT
    more = replace(SIZES_7B, unchunked=True).need(128).work - SIZES_7B.need(128).work
    assert more == 2 * 6 * 3584 * (positions - 16384)


def refusal(sizes: RunSizes, free: int) -> tuple[str, list[str]]:
    """Return the error message and the list of remedies."""
    with pytest.raises(OutOfMemoryError) as caught:
        check_fit(sizes, free)
    assert caught.value.exit_code == 5
    listed = re.fullmatch(r"Would fit: (.*)\. --memory ignore tries all the same", caught.value.remedy)
    return caught.value.message, listed[1].split(", ") if listed else []


@pytest.mark.parametrize("gib", [2, 4, 6, 8, 10, 12, 16])
def test_remedies_fit(gib: int) -> None:
    """Every remedy passes check_fit with the same free memory."""
    message, remedies = refusal(SIZES_7B, gib * GIB)
    assert "'llava-video-7b' in 16 bits with 64 frames needs" in message
    assert f"{gib}.0 GiB free" in message
    assert remedies or gib <= 2
    for remedy in remedies:
        words = dict(re.findall(r"--(\w+) (\S+)", remedy))
        frames, quantize = int(words.get("frames", 64)), words.get("quantize")
        other = replace(SIZES_7B, frames=frames, quantize=quantize)
        if "model" in words:
            other = replace(other, sizes=KNOWN[words["model"]], text=SHAPES[words["model"]])
        check_fit(other, gib * GIB)


def test_enough_or_unknown_memory_passes() -> None:
    """Enough free memory passes, and so does an unknown amount."""
    check_fit(SIZES_7B, 24 * GIB)
    check_fit(SIZES_7B, None)


def test_nothing_fits() -> None:
    """If only demo fits, the remedy states it."""
    with pytest.raises(OutOfMemoryError) as caught:
        check_fit(SIZES_7B, 2**20)
    assert caught.value.remedy.startswith("Nothing that dycoke offers but demo would fit")


def test_share_of_kept_tokens() -> None:
    """The share is that of the method that keeps most: 47.5 % for DyCoke with K=0.7, all with a baseline."""
    outline, cpu = checkpoints.outline(checkpoints.locate("demo")), torch.device("cpu")

    def share(*methods: Any, **settings: Any) -> float:
        sizes = run_sizes("demo", outline, KNOWN["llava-ov-0.5b"], methods, 32, HD, Settings(**settings), cpu, 4)
        assert sizes.unchunked == any(method.prefill_pruner() for method in methods)
        return sizes.share

    assert share(Dycoke(k=0.7)) == pytest.approx(0.475, abs=0.01)
    assert share(Dycoke(k=0.7), Full()) == share(Full()) == share(Fastv()) == share() == 1
    assert share(Dycoke(), retain=0.6) == pytest.approx(0.6, abs=0.02)


def test_memory_is_checked_before_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little free memory raises OutOfMemoryError before loading; `memory=ignore` loads the model."""
    monkeypatch.setattr("dycoke_cli.system.free_memory.known_free_bytes", lambda device, every: 2**20)
    demo = checkpoints.locate("demo")
    with monkeypatch.context() as patched:
        patched.setattr(loading, "load", lambda *args, **kwargs: pytest.fail("the model was loaded"))
        with pytest.raises(OutOfMemoryError, match="'demo' in float32 with 16 frames"):
            load_model(demo, Settings())
    assert load_model(demo, Settings(memory="ignore")).language_model.layers > 0
