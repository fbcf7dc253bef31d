"""Peak memory with compression, measured in fresh processes, against stock `generate` and the computed need."""

import torch

from benchmarks.memory import NEW_TOKENS, Depth, compare, mid_size_model
from dycoke_cli.capacity.fit import RESERVE, RunSizes
from dycoke_cli.models.families.family import HD
from dycoke_cli.models.flops import TextShape
from dycoke_cli.models.sizes import Sizes

DEPTH = Depth(
    vision=2, text=4
)  # the peak depends on the work within a layer, not on their number; few layers are quick


def test_dycoke_needs_at_most_six_tenths_of_stock_generate() -> None:
    """32 frames on a mid-size model; the need computed before a run is an upper bound, at most twice the peak."""
    result = compare(frames=32, device="cpu", arms=("generate", "dycoke"), depth=DEPTH)
    ratios = {run["arm"]: run["ratio_to_generate"] for run in result["runs"]}
    assert ratios["generate"] == 1
    assert ratios["dycoke"] <= 0.6
    peak = next(run["peak_above_start_bytes"] for run in result["runs"] if run["arm"] == "dycoke")
    with torch.device("meta"):
        outline = mid_size_model(torch.device("meta"), DEPTH)
    text, cpu = TextShape.of(outline.model.config.get_text_config()), torch.device("cpu")
    need = RunSizes("mid-size", Sizes(0, 0, 0), text, outline, 32, HD, 0.475, False, NEW_TOKENS, 4, cpu).need()
    assert 0.95 * peak <= need.total + RESERVE["cpu"] <= 2 * peak
