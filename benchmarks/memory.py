"""Peak memory of one answer, each way in a process of its own: stock `generate`, ours uncompressed, ours with DyCoke.

    uv run python -m benchmarks.memory [--frames 32] [--device cuda] [--out benchmarks/results/memory.json]

A mid-size LLaVA-OneVision with random weights: 152,064 words as in the 7B, 6 layers, a SigLIP-like tower at 384 px,
196 tokens a frame. Every arm has the same pixels and makes the same number of tokens. The figure is the peak above what
was there before the run: weights, and the pixels as that arm takes them. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import transformers

from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.encode import encode_compressed
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.system.measure import PeakMemory

ARMS: dict[str, Method | None] = {"generate": None, "full": Full(), "dycoke": Dycoke(k=0.7, l=3, p=0.7)}
NEW_TOKENS = 8
BEFORE, AFTER = [5] * 14, [6] * 12


class Depth(NamedTuple):
    """How many layers the two networks have."""

    vision: int
    text: int


MID = Depth(4, 6)


def mid_size_model(device: torch.device, depth: Depth) -> Llava:
    """Build the model with seeded random weights, float32 on a CPU and bfloat16 on CUDA."""
    torch.manual_seed(0)
    vision = transformers.SiglipVisionConfig(
        hidden_size=384, intermediate_size=1536, num_hidden_layers=depth.vision, num_attention_heads=6,
        image_size=384, patch_size=14, vision_use_head=False,
    )  # fmt: skip
    text = transformers.Qwen2Config(
        vocab_size=152064, hidden_size=512, intermediate_size=2048, num_hidden_layers=depth.text,
        num_attention_heads=8, num_key_value_heads=2, max_position_embeddings=32768,
    )  # fmt: skip
    config = transformers.LlavaOnevisionConfig(
        vision_config=vision, text_config=text, vision_feature_layer=-1, vision_feature_select_strategy="full"
    )
    with torch.device(device):
        model = transformers.LlavaOnevisionForConditionalGeneration(config).eval()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return Llava(model.to(device, dtype), None, VideoLayout())


def measure(arm: str, frames: int, device: torch.device, depth: Depth) -> dict[str, Any]:
    """Run one arm and give its peak above the start, in bytes; one frame first, so that code and kernels are loaded."""
    model = mid_size_model(device, depth)
    video = np.random.default_rng(0).integers(0, 256, (frames, 384, 384, 3), dtype=np.uint8)
    method = ARMS[arm]
    run = partial(stock, model) if method is None else partial(ours, model, method)
    inputs = model.pixels(video) if method is None else video
    run(inputs[:1])
    peak = PeakMemory(device)
    run(inputs)
    return {"arm": arm, "peak_above_start_bytes": peak.above_start, "peak_of": peak.of}


@torch.inference_mode()
def ours(model: Llava, method: Method, video: npt.NDArray[np.uint8]) -> None:
    """Answer with this project's engine."""
    tokens = encode_compressed(model, video, method)
    prompt = model.prompt(tokens, AFTER, method.positions, BEFORE)
    for _ in generate(model.language_model, [prompt], method, Stop(frozenset(), NEW_TOKENS), Sampling()):
        pass


@torch.inference_mode()
def stock(model: Llava, pixels: Any) -> None:
    """Answer with transformers alone, as its documentation shows: pixels in, tokens out."""
    grid = model.features(pixels[:1]).shape[1:3]
    visual = len(pixels) * grid[0] * grid[1] + 1
    ids = torch.tensor([BEFORE + [model.model.config.video_token_index] * visual + AFTER], device=pixels.device)
    model.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=pixels[None],
        min_new_tokens=NEW_TOKENS,
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
    )


def compare(frames: int, device: str, arms: Iterable[str] = ARMS, depth: Depth = MID) -> dict[str, Any]:
    """Measure each arm in a fresh process and relate them to the first, stock `generate`.

    The processes come from one that has imported all this and done nothing else.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([measure.__module__])
    one = partial(measure, frames=frames, device=torch.device(device), depth=depth)
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as processes:
        runs = list(processes.map(one, arms))
    stock_peak = runs[0]["peak_above_start_bytes"]
    for run in runs:
        peak = run["peak_above_start_bytes"]
        run["ratio_to_generate"] = round(peak / stock_peak, 3) if peak and stock_peak else None
    machine = machine_facts(torch.device(device))
    return {"frames": frames, "new_tokens": NEW_TOKENS, "machine": machine, "runs": runs}


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = compare(arguments.frames, arguments.device)
    for run in result["runs"]:
        print(f"{run['arm']:>10}  {run['peak_above_start_bytes'] / 2**20:8.0f} MiB  {run['ratio_to_generate']:.2f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
