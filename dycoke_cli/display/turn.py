"""One line below an answer of a chat."""

from typing import TYPE_CHECKING

from rich.text import Text

from dycoke_cli.display.panel import seconds

if TYPE_CHECKING:
    from dycoke_cli.session.answer import Answer


def turn_line(answer: "Answer", reused: int, context: int) -> Text:
    """Say how long the first and each later token took, and how much of the prompt was there already."""
    tokens, time = answer.tokens, answer.time_s
    prompt = tokens.visual_prefill + tokens.newline + tokens.text
    parts = [f"first token {seconds(time.first_token)}"]
    if time.per_token is not None:
        parts.append(f"{seconds(time.per_token)} a token")
    parts.append(f"{prompt - reused:,} of {prompt:,} prompt tokens new")
    parts.append(f"{prompt + tokens.generated:,} of {context:,} used")
    return Text(" · ".join(parts), style="dim")
