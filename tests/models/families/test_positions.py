"""`prompt_positions` equals the positions of the prompt, for every family, method and numbering."""

import pytest

from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family
from tests.models.families.test_conformance import QUESTION, clip

METHODS = {
    "full": make_method("full", {}),
    "dycoke": make_method("dycoke", {}),
    "dycoke, numbered as before": make_method("dycoke", {"positions": "original"}),
    "evs": make_method("evs", {}),
    "random+fastv+dynamic": make_method("random+fastv+dynamic", {"fastv.l": "1", "dynamic.l": "3"}),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("count", [1, 7])
def test_positions_are_those_of_the_prompt(family: Family, method: Method, count: int) -> None:
    """The count equals the position of the answer's first token in the prompt."""
    frames, seconds, duration = clip(count)
    tokens = method.compress(family.encode(frames))
    prompt = family.prompt_for(tokens, QUESTION, seconds, duration, method.positions)
    counted = family.prompt_positions(tokens, QUESTION, seconds, duration, method.positions)
    assert counted == prompt.next_position
