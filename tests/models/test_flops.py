"""FLOPs by the paper's formula equal its figures; exact FLOPs equal a count by hand and by torch."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.flops import TextShape, paper_flops, true_flops
from tests.conftest import clip_frames

SMALL = TextShape(layers=2, hidden=4, intermediate=6, heads=2, kv_heads=1, head_dim=2, vocabulary=10)
QWEN_7B = TextShape(28, 3584, 18944, 28, 4, 128, 152064)


@pytest.mark.parametrize(("k", "tera"), [(0.0, 41.42), (0.3, 30.77), (0.5, 24.18), (0.7, 17.94)])
def test_the_papers_figures_come_out(k: float, tera: float) -> None:
    """32 frames of 196 tokens, 100 new tokens, the 7B model; the uncompressed run reads all tokens at every step."""
    visual = 32 * 196 * (1 + 3 * (1 - k)) / 4
    decode = visual * 0.3 if k else visual
    assert paper_flops(QWEN_7B, [visual] * 28, decode, 100) / 1e12 == pytest.approx(tera, abs=0.005)


def test_layers_of_different_length_are_summed() -> None:
    """Count by hand: 3 tokens in one layer, 1 in the other; two new tokens, each reading one visual token in both."""
    first = 4 * 3 * 16 + 2 * 9 * 4 + 2 * 3 * 4 * 6
    second = 4 * 16 + 2 * 4 + 2 * 4 * 6
    steps = 2 * 2 * (4 * 16 + 2 * 4 * 6 + 2 * (4 + 4 * 3 / 2))
    assert (first, second, steps) == (408, 120, 528)
    assert paper_flops(SMALL, [3, 1], 1, 2) == first + second + steps


def test_the_true_count_by_hand() -> None:
    """Projections 32 + 16 + 16 + 32 and SwiGLU 3 x 48: 240 per position and layer; query-key pair 16; new token 80."""
    prefill = 2 * (3 * 240 + (1 + 2 + 3) * 16)
    step = 2 * 240 + (4 + 2) * 16
    assert true_flops(SMALL, [3, 3], []) == prefill + 80
    assert true_flops(SMALL, [3, 3], [[4, 2]]) == prefill + step + 2 * 80


@pytest.mark.parametrize("method", [Full(), Dycoke()], ids=repr)
def test_the_matrices_are_those_that_torch_sees(tiny: Llava, method: Method) -> None:
    """Without attention, torch's counter returns exactly the same FLOPs for a run."""
    tokens = method.compress(tiny.encode(clip_frames()[:4].numpy()))
    prompt = tiny.prompt(tokens, tiny.question_ids("What?", [], 0.0), "packed")
    with FlopCounterMode(display=False) as counter:
        steps = list(generate(tiny.language_model, [prompt], method, Stop(frozenset(), 3), Sampling()))
    by_op = counter.get_flop_counts()["Global"]
    linear = sum(by_op.get(op, 0) for op in (torch.ops.aten.mm, torch.ops.aten.addmm))
    shape = TextShape.of(tiny.language_model.body.config)
    layers, length = shape.layers, len(prompt)
    assert len(steps) == 3
    without_attention = true_flops(shape, [length] * layers, [[0] * layers] * 2)
    without_attention -= layers * length * (length + 1) // 2 * 4 * shape.heads * shape.head_dim
    assert linear == without_attention
