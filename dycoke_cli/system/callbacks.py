"""Who wants to hear how a run goes on."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Callbacks:
    """Callbacks of a run; all of them are optional.

    notice: one line for the user. progress: what is being done, how much is done, of how much (0: unknown).
    question: the next one's turn. text: a piece of its answer. answered: the whole of it, at its end.
    phase: what begins now (vision, prefill, decode, ...), which ends what came before; nothing does if it is empty.
    """

    notice: Callable[[str], None] = lambda line: None
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    question: Callable[[str], None] = lambda question: None
    text: Callable[[str], None] = lambda text: None
    answered: Callable[[str], None] = lambda answer: None
    phase: Callable[[str], None] = lambda name: None
