"""Peak memory of one answer: stock `generate`, this engine uncompressed, and with DyCoke, each in its own process.

    uv run python -m benchmarks.memory [--frames 32] [--device cuda] [--out benchmarks/results/memory.json]

A mid-size LLaVA-OneVision with random weights: 152,064 words as in the 7B, 6 layers, a SigLIP-like tower at 384 px,
196 tokens a frame. Every arm gets the same pixels and generates the same number of tokens. The value is the peak above
the memory in use before the run: weights, and the pixels in the form that the arm takes. The last line is one JSON
object.
"""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import transformers

from benchmarks.command_line import option_parser, write_result
from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.video import encode_compressed
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.system.measure import PeakMemory

ARMS: dict[str, Method | None] = {"generate": None, "full": Full(), "dycoke": Dycoke(k=0.7, l=3, p=0.7)}
NEW_TOKENS = 8
BEFORE, AFTER = [5] * 14, [6] * 12


class Depth(NamedTuple):
    """Numbers of layers of the vision tower and the text model."""

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
    """Run one arm and return its peak above the start, in bytes, after a warm-up with one frame."""
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
    """Answer with `generate` of transformers, called as its documentation describes."""
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
    """Measure each arm in a fresh process and divide by the first, stock `generate`.

    The processes are forked from a server that has imported this module and run nothing.
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
    parser = option_parser(__doc__)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    result = compare(arguments.frames, arguments.device)
    for run in result["runs"]:
        print(f"{run['arm']:>10}  {run['peak_above_start_bytes'] / 2**20:8.0f} MiB  {run['ratio_to_generate']:.2f}")
    write_result(result, arguments.out)


if __name__ == "__main__":
    main()
