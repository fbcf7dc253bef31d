"""What a user asks: text that a model can be given."""

from dycoke_cli.errors import UsageError


def check_question(text: str) -> None:
    """Raise UsageError for a question of bytes that are no UTF-8: no tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is not text in UTF-8", "Write the question in UTF-8") from None
