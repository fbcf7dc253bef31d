"""Time of one decode step of the 0.5B text model: `generate` of transformers, `full` and `dycoke`, in one process.

    uv run python -m benchmarks.decode_step [--layers 24] [--visual 3136] [--repeats 12] [--compile] [--no-products]

Keys and values are random, so no prefill is run; the first stage keeps as many tokens as with K=0.7. `--compile` also
runs `full` and `dycoke` compiled, as `dycoke --compile` does, and reports the compile time. `--no-products` replaces
every linear layer by a constant, which leaves attention, gather, selection and Python. The clock is processor time by
default, which other load affects less; OMP_NUM_THREADS sets the number of threads. Ratios are medians of ratios within
one turn. The last line is one JSON object.
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
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.compiled import Compiler
from dycoke_cli.engine.decode import Compiled, DecodeStep
from dycoke_cli.engine.decode_attention import DecodeAttention
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.kv_pruning import KVPruning
from dycoke_cli.engine.operators import Operators
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.models.layer_weights import join
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.tokens import VisualTokens
from training.packing import cache_argument

CPU = torch.device("cpu")
UNMEASURED = 2  # turns at the start


class ConstantResult(nn.Module):
    """A replacement for a linear layer that returns a constant."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.weight = linear.out_features, linear.weight
        self.register_buffer("result", torch.randn(1, 1, linear.out_features))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the constant, (1, 1, out_features)."""
        return self.result.clone()


def without_products(model: nn.Module) -> None:
    """Replace every linear layer by a `ConstantResult`, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, ConstantResult(child))


def steps(model: Any, method: Method, visual: int, repeats: int, compiled: Compiled | None) -> Callable[[], object]:
    """Return a function that runs one more decode step of this engine, after a prompt compressed by `method`."""
    frames = torch.randn(visual // SIDE**2, SIDE, SIDE, 4)
    kept = len(method.compress(VisualTokens.uncompressed(frames)))
    length, room = TEXT_BEFORE + kept + TEXT_AFTER, repeats + UNMEASURED + 1
    language = LanguageModel(model.model, model.lm_head)
    buffer = KVBuffer.empty(language, 1, length + room)
    buffer.store.normal_()
    buffer.lengths = [length]
    plan = KVPruning([torch.arange(TEXT_BEFORE, TEXT_BEFORE + kept)], [length], room, buffer.slots, 1)
    decoder = Decoder(language, Operators())
    attention = DecodeAttention(buffer, plan, method.selector(plan.counts, plan.width), 1, decoder.operators)
    step, token = DecodeStep(decoder, [attention], torch.tensor([length]), compiled), torch.tensor([5])
    return lambda: step(token)


def stock_steps(model: Any, visual: int) -> Callable[[], object]:
    """Return a function that runs one more step as `generate` does, with a dynamic cache of the whole prompt."""
    length, config = TEXT_BEFORE + visual + TEXT_AFTER, model.config
    head_dim = config.hidden_size // config.num_attention_heads
    cache = transformers.DynamicCache()
    for layer in range(config.num_hidden_layers):
        cache.update(*torch.randn(2, 1, config.num_key_value_heads, length, head_dim), layer)
    token, stored = torch.tensor([[5]]), {cache_argument(model): cache}

    def run() -> object:
        mask = torch.ones(1, cache.get_seq_length() + 1, dtype=torch.int64)
        return model(input_ids=token, attention_mask=mask, use_cache=True, logits_to_keep=1, **stored)

    return run


@torch.inference_mode()
def compare(layers: int, visual: int, repeats: int, compiled: bool, products: bool, clock: str) -> dict[str, Any]:
    """Time one step of every arm in turns; return medians, and ratios to `generate`."""
    model, now = text_model(layers, CPU), CLOCKS[clock]
    if products:
        join(model.model)
    else:
        without_products(model)
    methods = {"full": Full(), "dycoke": Dycoke()}
    arms = {"generate": stock_steps(model, visual)}
    arms |= {name: steps(model, method, visual, repeats, None) for name, method in methods.items()}
    compile_s: dict[str, dict[str, float]] = {}
    for name, method in methods.items() if compiled else ():
        arm = arms[f"{name} compiled"] = steps(model, method, visual, repeats, Compiler())
        began, began_cpu = time.perf_counter(), time.process_time()
        arm()  # so the turns of a compiled arm begin one step later than the others'
        compile_s[name] = {"wall": time.perf_counter() - began, "process": time.process_time() - began_cpu}
        print(f"{name}: compiling took {compile_s[name]['wall']:.1f} s", flush=True)
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(repeats + UNMEASURED):
        for name, arm in arms.items():
            began = now()
            arm()
            if turn >= UNMEASURED:
                taken[name].append(now() - began)
    ratios = {
        name: median(own / stock for own, stock in zip(times, taken["generate"], strict=True))
        for name, times in taken.items()
    }
    return {
        "layers": layers, "visual": visual, "repeats": repeats, "products": products, "clock": clock,
        "threads": torch.get_num_threads(), "machine": machine_facts(CPU), "compile_s": compile_s,
        "step_s": {name: median(times) for name, times in taken.items()},
        "fastest_s": {name: min(times) for name, times in taken.items()},
        "beside_generate": ratios,
    }  # fmt: skip


def main() -> None:
    """Measure, print one line for each arm and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 24), ("visual", 3136), ("repeats", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true", dest="compiled")
    parser.add_argument("--no-products", action="store_false", dest="products")
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    result = compare(**vars(parser.parse_args()))
    for name, seconds in result["step_s"].items():
        fastest, ratio = result["fastest_s"][name], result["beside_generate"][name]
        print(f"{name:>16}  {1e3 * seconds:6.1f} ms  fastest {1e3 * fastest:6.1f}  {ratio:.3f} of generate")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
