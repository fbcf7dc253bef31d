"""The options that several commands share."""

import pytest

from dycoke_cli.cli.app import run


@pytest.mark.parametrize(
    ("arguments", "has_output"),
    [
        (["caption", "clips"], True),
        (["eval", "questions.yaml"], True),
        (["bench"], True),
        (["ask", "v.mp4", "what happens?"], False),
        (["compare", "v.mp4", "what happens?"], False),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_o_is_not_the_output_file(arguments: list[str], has_output: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """In commands with --output, the remedy for a wrong -o names that flag."""
    assert run([*arguments, "-o", "out.jsonl"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    hint = "; --output FILE names the output file" if has_output else ""
    assert message.endswith(f"dycoke: option 'out.jsonl' is not key=value Write it like -o k=0.7{hint}")
