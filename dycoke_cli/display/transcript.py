"""A conversation as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dycoke_cli.session.chat import Said

ENDINGS = {"length": "*(cut at the longest answer)*", "interrupted": "*(stopped)*"}


def transcript(said: "Sequence[Said]", video: str, model: str) -> str:
    """Write questions as quotes and answers as text; a change of method or frames stands where it happened."""
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
