"""Time to the first and to later tokens of the 0.5B text model, against `generate` of transformers, in one process.

    uv run python -m benchmarks.text_model [--layers 24] [--visual 3136] [--new 32] [--repeats 3] [--clock cpu]

A Qwen2 of the size of 0.5B with random weights and random visual tokens, without a vision tower: the timed parts are
the method's first stage, the prefill and the decode steps. `--clock cpu` counts processor time, which other load on the
machine affects less than wall-clock time. The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.system.measure import PeakMemory
from dycoke_cli.tokens import Prompt, VisualTokens

SIDE, TEXT_BEFORE, TEXT_AFTER = 14, 14, 26
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Run = Callable[[], list[float]]  # clock readings at the start of the run and at each new token


class Arrivals(BaseStreamer):
    """A streamer that records a clock reading at each new token."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.at = clock, list[float]()

    def put(self, value: Tensor) -> None:
        """Record the arrival of a token."""
        self.at.append(self.clock())

    def end(self) -> None:
        """Do nothing; the streamer interface requires it."""


def text_model(layers: int, device: torch.device) -> Any:
    """Build the model with seeded random weights, float32 on a CPU and bfloat16 on CUDA."""
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=layers,
        num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device(device):
        model = transformers.Qwen2ForCausalLM(config).eval()
    return model.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)


def arms(layers: int, visual: int, new: int, clock: Callable[[], float], device: torch.device) -> dict[str, Run]:
    """Return the runs to compare, by name."""
    model = text_model(layers, device)
    language = LanguageModel(model.model, model.lm_head)
    # Similar frames, so that the first stage merges tokens.
    scene, noise = torch.randn(1, SIDE, SIDE, 896), torch.randn(visual // SIDE**2, SIDE, SIDE, 896)
    video = ((scene + 0.3 * noise) * 0.02).to(device, language.dtype)
    text = (torch.randn(TEXT_BEFORE + TEXT_AFTER, 896) * 0.02).to(device, language.dtype)
    graphs = GraphStore(device)

    def prompt(method: Method) -> Prompt:
        tokens = method.compress(VisualTokens.uncompressed(video))
        embeds = torch.cat([text[:TEXT_BEFORE], tokens.features, text[TEXT_BEFORE:]])
        places = torch.arange(len(embeds), device=device)
        return Prompt(embeds, places, places[TEXT_BEFORE : TEXT_BEFORE + len(tokens)], len(embeds))

    @torch.inference_mode()
    def ours(method: Method) -> list[float]:
        began = clock()
        stop = Stop(frozenset(), new)
        steps = generate(language, [prompt(method)], method, stop, Sampling(), graphs=graphs)
        return [began, *(clock() for _ in steps)]

    @torch.inference_mode()
    def stock() -> list[float]:
        arrivals, began = Arrivals(clock), clock()
        embeds = prompt(Full()).embeds[None]
        model.generate(
            inputs_embeds=embeds,
            attention_mask=torch.ones(embeds.shape[:2], dtype=torch.int64, device=device),
            min_new_tokens=new,
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            streamer=arrivals,
        )
        return [began, *arrivals.at[-new:]]  # without the prompt, which arrives first

    return {"generate": stock, "full": lambda: ours(Full()), "dycoke": lambda: ours(Dycoke())}


def compare(layers: int, visual: int, new: int, repeats: int, clock: str, device: str) -> dict[str, Any]:
    """Run every arm once unmeasured, then in turns; return medians of times and the peak memory of each arm."""
    runs = arms(layers, visual, new, CLOCKS[clock], torch.device(device))
    peak, measured = PeakMemory(torch.device(device)), {name: list[tuple[float, float, int | None]]() for name in runs}
    for repeat in range(-1, repeats):
        for name, run in runs.items():
            peak.restart()
            began, *at = run()
            if repeat >= 0:
                per_token = median(after - before for before, after in pairwise(at))
                measured[name].append((at[0] - began, per_token, peak.above_start))
    figures = {
        name: {
            "first_token_s": median(first for first, _, _ in taken),
            "per_token_s": median(token for _, token, _ in taken),
            "peak_above_weights_bytes": max((above for _, _, above in taken if above is not None), default=None),
        }
        for name, taken in measured.items()
    }
    shape = {"layers": layers, "visual": visual, "new_tokens": new, "repeats": repeats, "clock": clock}
    return {
        **shape,
        "threads": torch.get_num_threads(),
        "machine": machine_facts(torch.device(device)),
        "arms": figures,
    }


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 24), ("visual", 3136), ("new", 32), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    result = compare(**vars(parser.parse_args()))
    stock = result["arms"]["generate"]
    for name, own in result["arms"].items():
        shares = {key: own[key] / stock[key] for key in own if own[key] is not None and stock[key]}
        print(f"{name:>10}", *(f"{key} {share:.2f} of generate" for key, share in shares.items()), sep="  ")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
