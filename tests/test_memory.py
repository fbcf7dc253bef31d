"""Compression saves memory for real: peaks of fresh processes, side by side."""

from types import SimpleNamespace

from benchmarks.memory import NEW_TOKENS, compare
from dycoke_cli.flops import TextShape
from dycoke_cli.room import CHUNK, RESERVE, Plan
from dycoke_cli.sizes import Sizes


def test_dycoke_needs_at_most_six_tenths_of_stock_generate() -> None:
    """32 frames on a mid-size model with random weights; the need that is computed before a run holds it, closely."""
    result = compare(frames=32, device="cpu", arms=("generate", "dycoke"))
    ratios = {run["arm"]: run["ratio_to_generate"] for run in result["runs"]}
    assert ratios["generate"] == 1
    assert ratios["dycoke"] <= 0.6
    peak = next(run["peak_above_start_bytes"] for run in result["runs"] if run["arm"] == "dycoke")
    vision = SimpleNamespace(image_size=384, patch_size=14, hidden_size=384, intermediate_size=1536)
    text = TextShape(6, 512, 2048, 8, 2, 64, 152064)
    need = Plan("mid-size", Sizes(0, 0, 0), text, vision, 32, 0.475, NEW_TOKENS, 4).need(CHUNK["cpu"])
    assert 0.95 * peak <= need.total + RESERVE["cpu"] <= 2 * peak
