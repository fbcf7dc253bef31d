"""Scores that are no numbers end a run, and the cause is named."""

import copy

import pytest
import torch

from dycoke_cli.engine.nonfinite import refuse_nonfinite
from dycoke_cli.errors import ModelError
from dycoke_cli.models.families.llava import Llava

GOOD, BAD = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, float("nan")]])


def test_numbers_pass(tiny: Llava) -> None:
    """Nothing is looked at but the scores."""
    refuse_nonfinite(GOOD, tiny.model, torch.float16)


def test_a_broken_weight_is_named(tiny: Llava) -> None:
    """The first one that holds what is no number."""
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
    """Sound weights overflow in a format that is too small."""
    with pytest.raises(ModelError, match=cause) as caught:
        refuse_nonfinite(BAD, tiny.model, dtype)
    assert remedy in caught.value.remedy
