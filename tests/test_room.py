"""What cannot fit is refused before it is loaded, and what would fit is named."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dycoke_cli import checkpoints, room
from dycoke_cli.errors import OutOfMemoryError
from dycoke_cli.flops import TextShape
from dycoke_cli.methods import Dycoke, Full
from dycoke_cli.opening import load_model
from dycoke_cli.room import Plan, free_memory, plan, refuse_what_cannot_fit
from dycoke_cli.settings import Settings
from dycoke_cli.sizes import KNOWN, SHAPES

GIB = 2**30
CUDA = torch.device("cuda")
VISION = SimpleNamespace(image_size=384, patch_size=14, hidden_size=1152, intermediate_size=4304)
QWEN_7B = TextShape(28, 3584, 18944, 28, 4, 128, 152064)
SEVEN = Plan("llava-video-7b", KNOWN["llava-video-7b"], QWEN_7B, VISION, 64, 1.0, 256, 2)


def test_a_need_is_the_sum_of_known_sizes() -> None:
    """7B in bfloat16: 15 GiB of weights, 56 KiB of keys and values a token."""
    need = SEVEN.need(16)
    assert need.weights == KNOWN["llava-video-7b"].parameters * 2
    assert need.kv == 56 * 1024 * (64 * 14 * 15 + room.TEXT + 256)
    assert SEVEN.need(16, frames=32).kv < need.kv
    assert SEVEN.need(16, quantize="int4").weights < SEVEN.need(16, quantize="int8").weights < need.weights
    assert replace(SEVEN, share=0.475).need(16).total < need.total


def refusal(wanted: Plan, free: int) -> tuple[str, list[str]]:
    """Give the message, and what it says would fit."""
    with pytest.raises(OutOfMemoryError) as caught:
        refuse_what_cannot_fit(wanted, CUDA, free)
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
        refuse_what_cannot_fit(other, CUDA, gib * GIB)


def test_what_fits_is_not_refused() -> None:
    """Nor is what nobody knows."""
    refuse_what_cannot_fit(SEVEN, CUDA, 24 * GIB)
    refuse_what_cannot_fit(SEVEN, CUDA, None)


def test_nothing_fits() -> None:
    """Then the remedy says so."""
    with pytest.raises(OutOfMemoryError) as caught:
        refuse_what_cannot_fit(SEVEN, CUDA, 2**20)
    assert caught.value.remedy.startswith("Nothing that dycoke offers but demo would fit")


def test_a_method_counts_with_what_it_keeps() -> None:
    """DyCoke with K=0.7 keeps 47.5 % of a video; beside a baseline everything counts."""
    config = checkpoints.model_config(checkpoints.locate("demo"))

    def share(*methods: Any, **settings: Any) -> float:
        wanted = plan("demo", config, KNOWN["llava-ov-0.5b"], methods, 32, Settings(**settings), 4)
        return wanted.share

    assert share(Dycoke(k=0.7)) == pytest.approx(0.475, abs=0.01)
    assert share(Dycoke(k=0.7), Full()) == share(Full()) == share() == 1
    assert share(Dycoke(), retain=0.6) == pytest.approx(0.6, abs=0.02)


def test_a_model_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And `memory=ignore` loads it all the same."""
    monkeypatch.setattr(room, "free_memory", lambda device, every: 2**20)
    demo = checkpoints.locate("demo")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "load", lambda *args, **kwargs: pytest.fail("it was loaded"))
        with pytest.raises(OutOfMemoryError, match="'demo' in float32 with 16 frames"):
            load_model(demo, Settings())
    assert load_model(demo, Settings(memory="ignore")).language_model.layers > 0


def test_free_memory_is_what_the_control_group_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container the machine's memory is not one's own."""
    cpu = torch.device("cpu")
    monkeypatch.setattr(room, "_CGROUP", tmp_path)
    monkeypatch.setattr(room, "_MEMORY", tmp_path / "meminfo")
    assert free_memory(cpu) is None
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    assert free_memory(cpu) == 50 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1024\n")
    assert free_memory(cpu) == 50 * 1024
    (tmp_path / "memory.max").write_text("11264\n")
    assert free_memory(cpu) == 10 * 1024
