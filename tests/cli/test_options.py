"""The options that commands share."""

import pytest

from dycoke_cli.cli.app import run


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["caption", "clips"], True),
        (["eval", "questions.yaml"], True),
        (["bench"], True),
        (["ask", "v.mp4", "what happens?"], False),
        (["compare", "v.mp4", "what happens?"], False),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_o_is_no_output_file(arguments: list[str], written: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a command has an output file, whoever took -o for it reads what it is called; elsewhere there is none."""
    assert run([*arguments, "-o", "out.jsonl"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    hint = "; --output FILE names the output file" if written else ""
    assert message.endswith(f"dycoke: option 'out.jsonl' is not key=value Write it like -o k=0.7{hint}")
