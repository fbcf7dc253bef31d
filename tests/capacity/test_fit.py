"""What cannot fit is refused before it is loaded, and what would fit is named."""

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
SEVEN = RunSizes("llava-video-7b", KNOWN["llava-video-7b"], QWEN_7B, OUTLINE, 64, HD, 1.0, False, 256, 2, CUDA)


def test_a_need_is_the_sum_of_known_sizes() -> None:
    """7B in bfloat16: 15 GiB of weights, 56 KiB of keys and values a token."""
    need = SEVEN.need()
    assert need.weights == KNOWN["llava-video-7b"].parameters * 2
    assert need.kv == 56 * 1024 * (64 * 14 * 15 + fit.TEXT + 256)
    assert SEVEN.need(frames=32).kv < need.kv
    assert SEVEN.need(quantize="int4").weights < SEVEN.need(quantize="int8").weights < need.weights
    assert replace(SEVEN, share=0.475).need().total < need.total


def test_a_long_prompt_passes_in_chunks_unless_a_method_acts_inside() -> None:
    """What a layer holds of 14,720 positions is what it holds of 8,192, and the embeddings of the rest."""
    positions = 64 * 14 * 15 + fit.TEXT
    more = replace(SEVEN, unchunked=True).need().work - SEVEN.need().work
    assert more == 2 * QWEN_7B.activations_per_position * (positions - 8192)


def refusal(wanted: RunSizes, free: int) -> tuple[str, list[str]]:
    """Give the message, and what it says would fit."""
    with pytest.raises(OutOfMemoryError) as caught:
        check_fit(wanted, free)
    assert caught.value.exit_code == 5
    ways = re.fullmatch(r"Would fit: (.*)\. --memory ignore tries all the same", caught.value.remedy)
    return caught.value.message, ways[1].split(", ") if ways else []


@pytest.mark.parametrize("gib", [2, 4, 6, 8, 10, 12, 16])
def test_what_is_said_to_fit_does(gib: int) -> None:
    """Every way that a refusal names is let through where it is taken."""
    message, ways = refusal(SEVEN, gib * GIB)
    assert "'llava-video-7b' in 16 bits with 64 frames needs" in message
    assert f"{gib}.0 GiB free" in message
    assert ways or gib <= 2
    for way in ways:
        words = dict(re.findall(r"--(\w+) (\S+)", way))
        frames, quantize = int(words.get("frames", 64)), words.get("quantize")
        other = replace(SEVEN, frames=frames, quantize=quantize)
        if "model" in words:
            other = replace(other, sizes=KNOWN[words["model"]], text=SHAPES[words["model"]])
        check_fit(other, gib * GIB)


def test_what_fits_is_not_refused() -> None:
    """Nor is what nobody knows."""
    check_fit(SEVEN, 24 * GIB)
    check_fit(SEVEN, None)


def test_nothing_fits() -> None:
    """Then the remedy says so."""
    with pytest.raises(OutOfMemoryError) as caught:
        check_fit(SEVEN, 2**20)
    assert caught.value.remedy.startswith("Nothing that dycoke offers but demo would fit")


def test_a_method_counts_with_what_it_keeps() -> None:
    """DyCoke with K=0.7 keeps 47.5 % of a video; beside a baseline everything counts."""
    outline, cpu = checkpoints.outline(checkpoints.locate("demo")), torch.device("cpu")

    def share(*methods: Any, **settings: Any) -> float:
        wanted = run_sizes("demo", outline, KNOWN["llava-ov-0.5b"], methods, 32, HD, Settings(**settings), cpu, 4)
        assert wanted.unchunked == any(method.prefill_pruner() for method in methods)
        return wanted.share

    assert share(Dycoke(k=0.7)) == pytest.approx(0.475, abs=0.01)
    assert share(Dycoke(k=0.7), Full()) == share(Full()) == share(Fastv()) == share() == 1
    assert share(Dycoke(), retain=0.6) == pytest.approx(0.6, abs=0.02)


def test_a_model_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And `memory=ignore` loads it all the same."""
    monkeypatch.setattr("dycoke_cli.system.free_memory.known_free_bytes", lambda device, every: 2**20)
    demo = checkpoints.locate("demo")
    with monkeypatch.context() as patched:
        patched.setattr(loading, "load", lambda *args, **kwargs: pytest.fail("it was loaded"))
        with pytest.raises(OutOfMemoryError, match="'demo' in float32 with 16 frames"):
            load_model(demo, Settings())
    assert load_model(demo, Settings(memory="ignore")).language_model.layers > 0
