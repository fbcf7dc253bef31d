"""Logits with NaN or infinity raise a ModelError that names the cause."""

import copy

import pytest
import torch

from dycoke_cli.engine.nonfinite import refuse_nonfinite
from dycoke_cli.errors import ModelError
from dycoke_cli.models.families.llava import Llava

GOOD, BAD = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, float("nan")]])


def test_numbers_pass(tiny: Llava) -> None:
    """Finite logits are accepted."""
    refuse_nonfinite(GOOD, tiny.model, torch.float16)


def test_a_broken_weight_is_named(tiny: Llava) -> None:
    """The error names the first weight with NaN or infinity."""
    model = copy.deepcopy(tiny.model)
    with torch.no_grad():
        model.model.language_model.layers[3].mlp.up_proj.weight[0, 0] = float("inf")
    with pytest.raises(ModelError, match=r"weight model\.language_model\.layers\.3\.mlp\.up_proj\.weight"):
        refuse_nonfinite(BAD, model, torch.float16)


@pytest.mark.parametrize(
    ("dtype", "cause", "remedy"),
    [(torch.float16, "too large for float16", "--dtype bfloat16"), (torch.bfloat16, "bfloat16", "--dtype float32")],
)
def test_the_number_format_is_named(tiny: Llava, dtype: torch.dtype, cause: str, remedy: str) -> None:
    """With finite weights, the error names the dtype in which an activation overflows."""
    with pytest.raises(ModelError, match=cause) as caught:
        refuse_nonfinite(BAD, tiny.model, dtype)
    assert remedy in caught.value.remedy
