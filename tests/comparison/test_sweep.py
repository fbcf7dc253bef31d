"""Sweeps expand to every combination of their values."""

import pytest

from dycoke_cli.comparison.sweep import grid
from dycoke_cli.errors import UsageError


def test_several_make_a_grid() -> None:
    """The last option changes fastest; no sweep yields one empty combination."""
    assert list(grid([])) == [{}]
    assert list(grid(["k=0.3, 0.5"])) == [{"k": "0.3"}, {"k": "0.5"}]
    both = [tuple(values.items()) for values in grid(["k=0.3,0.5", "p=0,1"])]
    assert both == [(("k", k), ("p", p)) for k in ("0.3", "0.5") for p in ("0", "1")]


@pytest.mark.parametrize("sweeps", [["k"], ["k="], ["=1"], ["k=1,,2"], ["k=1,2,1"]])
def test_anything_else_is_refused(sweeps: list[str]) -> None:
    """The error contains the wrong text."""
    with pytest.raises(UsageError, match=sweeps[0]):
        list(grid(sweeps))


def test_an_option_is_swept_once() -> None:
    """A second sweep of the same option raises UsageError."""
    with pytest.raises(UsageError, match="'k' is swept twice"):
        list(grid(["k=1", "k=2"]))
