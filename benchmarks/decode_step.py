"""One decode step of the 0.5B's text model, in turns in one process: transformers' own, `full` and `dycoke`.

    uv run python -m benchmarks.decode_step [--layers 24] [--visual 3136] [--repeats 12] [--compile] [--no-products]

Keys and values are random, so that no prefill is waited for; the first stage is taken to leave what K=0.7 leaves.
`--compile` runs `full` and `dycoke` as `--compile` of `dycoke` does, too, and says what compiling took.
`--no-products` leaves out the products with weights, whose results are then always the same: what is left is attention,
gathering, selecting, and Python. Processor time by default, which a busy machine disturbs less; as many threads as
OMP_NUM_THREADS says. Ratios are medians of ratios within one turn. The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from benchmarks.text_model import CLOCKS, SIDE, TEXT_AFTER, TEXT_BEFORE, text_model
from dycoke_cli.engine.attention import attached
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.compiled import Compiler
from dycoke_cli.engine.decode import Compiled, DecodeStep
from dycoke_cli.engine.decode_pass import DecodePass
from dycoke_cli.engine.kv_pruning import KVPruning
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.language_model import LanguageModel, cache_argument
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.tokens import VisualTokens

CPU = torch.device("cpu")
UNMEASURED = 2  # turns at the start


class SameResult(nn.Module):
    """Stands in for a linear layer, and gives the same result every time."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("result", torch.randn(1, 1, linear.out_features))

    def forward(self, hidden: Tensor) -> Tensor:
        """Give it."""
        return self.result.clone()


def without_products(model: nn.Module) -> None:
    """Put a `SameResult` in the place of every linear layer."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, SameResult(child))


def steps(model: Any, method: Method, visual: int, repeats: int, compiled: Compiled | None) -> Callable[[], object]:
    """Make what runs one more step of this engine, after a prompt of which `method` has left what it leaves."""
    frames = torch.randn(visual // SIDE**2, SIDE, SIDE, 4)
    left = len(method.compress(VisualTokens.whole(frames)))
    length, room = TEXT_BEFORE + left + TEXT_AFTER, repeats + UNMEASURED + 1
    language = LanguageModel(model.model, model.lm_head)
    buffer = KVBuffer.empty(language, 1, length + room)
    buffer.store.normal_()
    buffer.lengths = [length]
    plan = KVPruning([torch.arange(TEXT_BEFORE, TEXT_BEFORE + left)], [length], room, buffer.slots, 1)
    current = DecodePass(buffer, plan, method.selector(plan.counts, plan.width), 1)
    step, token = DecodeStep(language, [current], torch.tensor([length]), compiled), torch.tensor([5])

    def run() -> object:
        with attached(model.model):
            return step(token)

    return run


def stock_steps(model: Any, visual: int) -> Callable[[], object]:
    """Make what runs one more step as `generate` does, with a dynamic cache of the whole prompt."""
    length, config = TEXT_BEFORE + visual + TEXT_AFTER, model.config
    head_dim = config.hidden_size // config.num_attention_heads
    cache = transformers.DynamicCache()
    for layer in range(config.num_hidden_layers):
        cache.update(*torch.randn(2, 1, config.num_key_value_heads, length, head_dim), layer)
    token, stored = torch.tensor([[5]]), {cache_argument(model): cache}

    def run() -> object:
        seen = torch.ones(1, cache.get_seq_length() + 1, dtype=torch.int64)
        return model(input_ids=token, attention_mask=seen, use_cache=True, logits_to_keep=1, **stored)

    return run


@torch.inference_mode()
def compare(layers: int, visual: int, repeats: int, compiled: bool, products: bool, clock: str) -> dict[str, Any]:
    """Time one step of every arm in turns; medians, and ratios to transformers' own."""
    model, now = text_model(layers, CPU), CLOCKS[clock]
    if not products:
        without_products(model)
    methods = {"full": Full(), "dycoke": Dycoke()}
    arms = {"generate": stock_steps(model, visual)}
    arms |= {name: steps(model, method, visual, repeats, None) for name, method in methods.items()}
    compile_s: dict[str, dict[str, float]] = {}
    for name, method in methods.items() if compiled else ():
        arm = arms[f"{name} compiled"] = steps(model, method, visual, repeats, Compiler())
        began, began_cpu = time.perf_counter(), time.process_time()
        arm()  # the turns then begin one step further on than those of the others
        compile_s[name] = {"wall": time.perf_counter() - began, "process": time.process_time() - began_cpu}
        print(f"{name}: compiling took {compile_s[name]['wall']:.1f} s", flush=True)
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(repeats + UNMEASURED):
        for name, arm in arms.items():
            began = now()
            arm()
            if turn >= UNMEASURED:
                taken[name].append(now() - began)
    beside = {
        name: median(own / stock for own, stock in zip(seen, taken["generate"], strict=True))
        for name, seen in taken.items()
    }
    return {
        "layers": layers, "visual": visual, "repeats": repeats, "products": products, "clock": clock,
        "threads": torch.get_num_threads(), "machine": machine_facts(CPU), "compile_s": compile_s,
        "step_s": {name: median(seen) for name, seen in taken.items()},
        "fastest_s": {name: min(seen) for name, seen in taken.items()},
        "beside_generate": beside,
    }  # fmt: skip


def main() -> None:
    """Measure, print a line an arm and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 24), ("visual", 3136), ("repeats", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true", dest="compiled")
    parser.add_argument("--no-products", action="store_false", dest="products")
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    result = compare(**vars(parser.parse_args()))
    for name, seconds in result["step_s"].items():
        fastest, beside = result["fastest_s"][name], result["beside_generate"][name]
        print(f"{name:>16}  {1e3 * seconds:6.1f} ms  fastest {1e3 * fastest:6.1f}  {beside:.3f} of generate")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
