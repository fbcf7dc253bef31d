"""Compression saves memory for real: peaks of fresh processes, side by side."""

from benchmarks.memory import compare


def test_dycoke_needs_at_most_six_tenths_of_stock_generate() -> None:
    """32 frames on a mid-size model with random weights."""
    result = compare(frames=32, device="cpu", arms=("generate", "dycoke"))
    ratios = {run["arm"]: run["ratio_to_generate"] for run in result["runs"]}
    assert ratios["generate"] == 1
    assert ratios["dycoke"] <= 0.6
