"""Check a question before it reaches a tokenizer."""

from dycoke_cli.errors import UsageError


def check_question(text: str) -> None:
    """Raise UsageError for a question that is not valid UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is not text in UTF-8", "Write the question in UTF-8") from None
