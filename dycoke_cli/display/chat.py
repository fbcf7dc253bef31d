"""Render a chat: the status line below an answer, and the transcript as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from dycoke_cli.display.panel import seconds

if TYPE_CHECKING:
    from dycoke_cli.session.answer import Answer
    from dycoke_cli.session.chat import ChatTurn

ENDINGS = {"length": "*(cut at the longest answer)*", "interrupted": "*(stopped)*"}


def turn_line(answer: "Answer", reused: int, context: int) -> Text:
    """Render the times of the first and of later tokens, and how many prompt tokens were new.

    reused: prompt tokens whose keys and values came from earlier turns. context: limit of the model, in tokens.
    """
    tokens, time = answer.tokens, answer.time_s
    prompt = tokens.visual_prefill + tokens.newline + tokens.text
    parts = [f"first token {seconds(time.first_token)}"]
    if time.per_token is not None:
        parts.append(f"{seconds(time.per_token)} a token")
    parts.append(f"{prompt - reused:,} of {prompt:,} prompt tokens new")
    parts.append(f"{prompt + tokens.generated:,} of {context:,} used")
    return Text(" · ".join(parts), style="dim")


def transcript(said: "Sequence[ChatTurn]", video: str, model: str) -> str:
    """Render questions as Markdown quotes and answers as text, with a line where method or frames change."""
    parts = [f"# {Path(video).name}"]
    before: tuple[str, int] | None = None
    for turn in said:
        now = (turn.method, turn.frames)
        if now != before:
            parts.append(f"*{model}, {turn.method}, {turn.frames} frames*")
            before = now
        parts.append("\n".join(f"> {line}" for line in turn.question.splitlines()))
        parts.append(turn.answer or "*(nothing)*")
        if turn.finish in ENDINGS:
            parts.append(ENDINGS[turn.finish])
    return "\n\n".join(parts) + "\n"
