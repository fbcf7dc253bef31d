"""Arms: methods with options as users write them, and the check for duplicates."""

import pytest

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.arm import Arm, refuse_duplicates
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.parsing import split_arm


def test_methods_with_their_own_options() -> None:
    """NAME:key=value,... is parsed into a method, and its label is the text as written."""
    arm = Arm.of(*split_arm("dycoke:k=0.5,p=0.9"))
    assert arm == Arm("dycoke:k=0.5,p=0.9", Dycoke(k=0.5, p=0.9))
    assert Arm.of(*split_arm("full")) == Arm("full", Full())
    assert arm.described["options"].items() >= {"k": 0.5, "l": 3, "p": 0.9}.items()


@pytest.mark.parametrize("text", ["", ":k=1", "dycoke:", "dycoke:k", "dycoke:k=0.5,", "dycoke:q=1", "docoke"])
def test_bad_methods(text: str) -> None:
    """Malformed text and unknown methods or options are refused."""
    with pytest.raises(UsageError):
        Arm.of(*split_arm(text))


def test_the_same_method_twice() -> None:
    """Arms with equal methods and options are refused, with both labels."""
    arms = [Arm.of("dycoke", {}), Arm.of("full", {}), Arm.of("dycoke", {"k": "0.7"})]
    refuse_duplicates(arms[:2])
    with pytest.raises(UsageError, match=r"'dycoke' and 'dycoke:k=0\.7' are the same"):
        refuse_duplicates(arms)
