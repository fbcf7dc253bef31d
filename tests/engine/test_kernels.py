"""The Triton kernels equal PyTorch in Triton's interpreter, and compile for CUDA; neither needs a GPU."""

import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.engine import operators
from dycoke_cli.engine.attention import attention_row, grouped_attention
from dycoke_cli.models.flops import TextShape
from dycoke_cli.models.layer_weights import Norm

DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here")
@pytest.mark.parametrize("interpreted", [True, False], ids=["equal to PyTorch", "compiled for CUDA"])
def test_the_kernels(interpreted: bool) -> None:
    """A separate process, because Triton reads TRITON_INTERPRET when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": str(int(interpreted)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def close(ours: Tensor, wanted: Tensor) -> None:
    """Compare with a result in float32; bfloat16 may differ by the last bit, which the interpreter cuts off."""
    bound = {"atol": 1e-6, "rtol": 2**-7} if ours.dtype == torch.bfloat16 else {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(ours, wanted.to(ours.dtype), **bound)


def split(joined: bool, dtype: torch.dtype, *shape: int, widths: tuple[int, ...]) -> list[Tensor]:
    """Random tensors of `widths`, as slices of one tensor or each alone."""
    whole = torch.randn(*shape, sum(widths), dtype=dtype)
    return [part if joined else part.contiguous() for part in whole.split(widths, dim=-1)]


def check_norms() -> None:
    """The sum replaces `hidden`; the residual, which may have another stride, is as before."""
    from dycoke_cli.engine.kernels import layer

    for dtype, (batch, new, width) in product(DTYPES, ((1, 1, 896), (2, 3, 100), (1, 2, 1200))):
        (hidden,), weight = split(False, dtype, batch, new, widths=(width,)), torch.randn(width).to(dtype)
        residual = split(True, dtype, batch, new, widths=(width, 5))[0]
        close(layer.norm(hidden, weight, 0.1), F.rms_norm(hidden.float(), weight.shape, weight.float(), 0.1))
        before, (wanted, _) = residual.clone(), operators.add_norm(hidden, residual, weight, 0.1)
        total, normed = layer.add_norm(hidden, residual, weight, 0.1)
        assert total is hidden
        assert torch.equal(residual, before)
        close(total, wanted)
        close(normed, F.rms_norm(total.float(), weight.shape, weight.float(), 0.1))


def check_rotation() -> None:
    """Only the slots from `first` on are written; heads may be uneven, and inputs joined."""
    from dycoke_cli.engine.kernels import layer

    shapes = ((1, 1, 28, 4, 16), (2, 3, 14, 2, 12), (3, 1, 5, 5, 10), (2, 2, 12, 3, 8))
    for dtype, joined, normed, shape in product(DTYPES, (True, False), (True, False), shapes):
        batch, new, heads, kv_heads, width = shape
        angles = torch.randn(batch, new, width // 2).repeat(1, 1, 2)
        given = [angles.cos().to(dtype), angles.sin().to(dtype)]
        widths = heads * width, kv_heads * width, kv_heads * width
        given = split(joined, dtype, batch, new, widths=widths) + given
        norms = tuple(Norm(torch.randn(width).to(dtype), eps) for eps in (0.1, 0.5))
        precise = tuple(Norm(weight.float(), eps) for weight, eps in norms)
        whole = torch.randn(3, 2, batch + 1, 9, kv_heads, width).to(dtype)
        store, exact, before = whole[:, :, 1:], whole[:, :, 1:].float(), whole.clone()
        first = torch.tensor([5, 0, 2])[:batch] + torch.arange(batch) * 9
        ours = layer.rotate_and_store(*given, norms if normed else None, store, 1, first)
        wanted = operators.rotate_and_store(*map(Tensor.float, given), precise if normed else None, exact, 1, first)
        assert ours.is_contiguous()
        close(ours, wanted)
        close(store, exact)
        written = torch.zeros(3, 2, batch + 1, 9, dtype=torch.bool)
        written[1, :, 1:].view(2, -1)[:, (first[:, None] + torch.arange(new)).flatten()] = True
        assert torch.equal((whole != before).any(dim=-1).any(dim=-1), written)


def check_activation() -> None:
    """Widths of several blocks and of less than one, as parts of one product or alone."""
    from dycoke_cli.engine.kernels import layer

    for dtype, joined, (batch, new, width) in product(DTYPES, (True, False), ((1, 1, 2500), (2, 3, 100))):
        gate, up = split(joined, dtype, batch, new, widths=(width, width))
        ours = layer.silu_multiply(gate, up)
        assert ours.is_contiguous()
        close(ours, operators.silu_multiply(gate.float(), up.float()))


def check_attention() -> None:
    """It reads all slots up to a row's newest, or a table with padding, for grouped heads and rows of any length."""
    from dycoke_cli.engine.kernels import attention

    attention.PROGRAMS = 16  # the interpreter runs one after the other
    shapes = ((1, 14, 2, 64, 300), (3, 6, 6, 16, 130), (2, 8, 2, 32, 70))
    # In bfloat16 the interpreter multiplies the bits of the numbers instead of the numbers.
    for dtype, (batch, heads, kv_heads, width, slots) in product((torch.float32, torch.float16), shapes):
        store = torch.randn(2, batch, slots, kv_heads, width).to(dtype)
        query = torch.randn(batch, 1, heads, width).to(dtype)
        newest = torch.randint(slots, (batch,))
        newest[0] = 0 if batch > 1 else 280
        everything = torch.arange(slots) <= newest[:, None]
        table = torch.stack([torch.randperm(slots)[:51] for _ in range(batch)])
        table = torch.where((torch.rand(batch, 51) < 0.3) | (table == newest[:, None]), -1, table)
        table[:, 0] = newest
        chosen = torch.zeros(batch, slots).scatter_add_(1, table.clamp(min=0), (table >= 0).float()) > 0
        flat = torch.where(table < 0, -1, table + torch.arange(batch)[:, None] * slots)
        keys, values = store.float().transpose(2, 3)
        # The kernel rounds the weights before the product with the values.
        bound = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 2e-3, "rtol": 2e-3}
        for given, counts in ((None, everything), (flat, chosen)):
            ours = attention.attend_in_place(query, store, newest, given)
            wanted = grouped_attention(query.float(), keys, values, counts[:, None, None])
            torch.testing.assert_close(ours.float(), wanted, **bound)
        out, row = attention.attend_and_score(query, store, newest)
        assert torch.equal(out, attention.attend_in_place(query, store, newest, None))
        close(row, attention_row(query.float(), keys, everything[:, None, None]))
        assert row[~everything].eq(0).all()
        close(row.sum(dim=1), torch.ones(batch))


def check_choice() -> None:
    """Kernels that agree with PyTorch are used; one that does not, or raises, is left to PyTorch, with a warning."""
    from dycoke_cli.engine.kernels import attention, checked, layer

    attention.PROGRAMS = 16
    shape, cpu = TextShape(1, 24, 40, 6, 2, 16, 9), torch.device("cpu")
    chosen = checked.checked_operators(cpu, torch.float32, shape, True)
    assert chosen.attend is attention.attend_in_place
    assert chosen.attend_and_score is attention.attend_and_score
    assert all(getattr(chosen, name) is getattr(layer, name) for name in checked.NAMES[:4])
    assert checked.checked_operators(cpu, torch.float32, shape._replace(head_dim=12), False).attend is None

    def refuse(*given: Any) -> None:
        raise RuntimeError("no such instruction")

    layer.norm, layer.silu_multiply = refuse, lambda gate, up: gate * up
    attention.attend_in_place = lambda query, store, newest, table: query
    written: list[logging.LogRecord] = []
    logging.getLogger(checked.__name__).addFilter(lambda record: bool(written.append(record)))
    chosen = checked.checked_operators(cpu, torch.float32, shape._replace(layers=2), False)
    assert [record.getMessage() for record in written] == [
        "kernels not used: norm, silu_multiply, attend (no such instruction)"
    ]
    assert (chosen.norm, chosen.silu_multiply) == (operators.norm, operators.silu_multiply)
    assert chosen.attend is None
    assert chosen.add_norm is layer.add_norm


def check_generation() -> None:
    """A batch with all kernels, in the shapes of captured steps, has the answers, sets and scores of one without."""
    from dycoke_cli.engine.graph_store import GraphStore
    from dycoke_cli.engine.kernels import attention, checked
    from dycoke_cli.methods.dycoke import Dycoke
    from tests.conftest import golden_model
    from tests.engine.test_generate import QUESTIONS, frames, prompt_for, run
    from tests.engine.test_graph import Replays, assert_same, static

    attention.PROGRAMS = 8
    model, method = golden_model("tiny-ov"), Dycoke(gate=0.97)
    language = model.language_model
    kernels = checked.checked_operators(language.device, language.dtype, language.shape, False)
    assert all(getattr(kernels, name) is not getattr(operators, name, None) for name in checked.NAMES)
    prompts = [prompt_for(model, frames(count), text, method) for count, text in zip((4, 6), QUESTIONS, strict=False)]
    store = GraphStore(language.device, Replays(), bucket=32, operators=kernels)
    assert_same(static(model, prompts, method, store, 4), run(model, prompts, method, new=4), 2)


def check_compilation() -> None:
    """Compile what each call launches, with its constants and types, at the sizes of a model of 7B parameters."""
    from triton.runtime.jit import JITFunction

    from dycoke_cli.engine.kernels import attention, layer

    launched = []
    JITFunction.run = lambda kernel, *args, **options: launched.append((kernel, args, options))
    for dtype in DTYPES:
        joined, store = torch.empty(1, 2, 4608, dtype=dtype, device="meta"), (1, 2, 1, 300, 4, 128)
        query, key, value = joined.split((3584, 512, 512), dim=-1)
        weight, cos = query[0, 0], key[..., :128].contiguous()
        kept, first = joined.new_empty(store), torch.empty(1, dtype=torch.int64, device="meta")
        layer.norm(value, weight, 1e-6)
        layer.add_norm(query, query, weight, 1e-6)
        for norms in (None, (Norm(weight[:128], 1e-6),) * 2):
            layer.rotate_and_store(query, key, value, cos, cos, norms, kept, 0, first)
        layer.silu_multiply(query, query)
        newest = joined.new_empty(1, 1, 28, 128)
        attention.attend_in_place(newest, kept[0], first, first[:, None])
        attention.attend_and_score(newest, kept[0], first)
    for kernel, args, options in launched:
        compile_for_cuda(kernel, args, options)


def compile_for_cuda(kernel: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Compile one launch as Triton does: a multiple of 16 is known as such."""
    import triton
    from triton.backends.compiler import GPUTarget

    types = {"float32": "*fp32", "bfloat16": "*bf16", "int64": "*i64"}
    signature, attributes = dict.fromkeys(kernel.arg_names, "constexpr"), {}
    for place, (name, given) in enumerate(zip(kernel.arg_names, args, strict=False)):
        if isinstance(given, Tensor):
            signature[name] = types[str(given.dtype).removeprefix("torch.")]
        else:
            signature[name] = "fp32" if isinstance(given, float) else "i32"
        if isinstance(given, Tensor) or (isinstance(given, int) and given % 16 == 0):
            attributes[place,] = [["tt.divisibility", 16]]
    constants = {name: options.pop(name) for name in kernel.arg_names if name in options}
    options = {name: options[name] for name in ("num_warps", "num_stages") if name in options}
    source = triton.compiler.ASTSource(kernel, signature, constants, attributes)
    done = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert done.asm["cubin"]


if __name__ == "__main__":
    torch.manual_seed(0)
    if os.environ["TRITON_INTERPRET"] == "1":
        for check in (check_norms, check_rotation, check_activation, check_attention, check_generation, check_choice):
            check()
    elif find_spec("triton.backends.nvidia") is not None:
        check_compilation()
