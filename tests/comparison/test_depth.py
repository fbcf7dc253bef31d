"""Visual tokens and keys of each layer, and FLOPs, computed from an answer's counts."""

from dataclasses import replace

from dycoke_cli.comparison.depth import Depth, computed
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.models.flops import TextShape, paper_flops, true_flops
from tests.display.test_panel import ANSWER

SHAPE = TextShape(8, 4, 6, 2, 1, 2, 10)


def test_depth_of_methods() -> None:
    """No pruning, in the decode steps, in the prefill, and a chain of both; dycoke with p=0 has no decode stage."""
    assert Depth.of(Full(), 8) == (8, 8)
    assert Depth.of(make_method("dycoke", {"l": "3"}), 8) == (8, 3)
    assert Depth.of(make_method("dycoke", {"p": "0"}), 8) == (8, 8)
    assert Depth.of(make_method("fastv", {"l": "2"}), 8) == (2, 8)
    assert Depth.of(make_method("fastv+dynamic", {"fastv.l": "2", "dynamic.l": "4"}), 8) == (2, 4)


def test_pruned_layers_read_less() -> None:
    """243 visual and 32 other positions enter; from layer 3 on, both steps read 73 of them and all new tokens."""
    found = computed(ANSWER, SHAPE, Depth(8, 3))
    reads = [[243 + 32 + step] * 3 + [73 + 32 + step] * 5 for step in (1, 2)]
    assert found.flops_true == true_flops(SHAPE, [275] * 8, reads)
    assert found.flops_paper == paper_flops(SHAPE, [243] * 8, 73, 3)


def test_layers_after_a_cut_hold_less() -> None:
    """From layer 2 on, 60 of 243 remain; from layer 4 on, the steps read 20 of these."""
    first, second, third = ANSWER.steps
    steps = (replace(first, read=60), replace(second, read=20), replace(third, read=20))
    found = computed(replace(ANSWER, steps=steps), SHAPE, Depth(2, 4))
    reads = [[243 + 32 + step] * 2 + [60 + 32 + step] * 2 + [20 + 32 + step] * 4 for step in (1, 2)]
    assert found.flops_true == true_flops(SHAPE, [275] * 2 + [92] * 6, reads)
    assert found.flops_paper == paper_flops(SHAPE, [243] * 2 + [60] * 6, 20, 3)


def test_one_token_has_no_steps() -> None:
    """The prefill produces the first token, so no decode step adds FLOPs."""
    found = computed(replace(ANSWER, steps=ANSWER.steps[:1]), SHAPE, Depth(8, 3))
    assert found.flops_true == true_flops(SHAPE, [275] * 8, [])
