"""Callbacks through which a run reports notices, progress, answers and phases."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Callbacks:
    """The callbacks of one run; each defaults to doing nothing.

    notice: one line for the user. progress: name of the step, units done, units in all (0: unknown).
    question: the question whose answer begins. text: a piece of that answer. answered: the complete answer.
    phase: name of the phase that begins (vision, prefill, decode, ...); it ends the previous one. Empty: no phase.
    """

    notice: Callable[[str], None] = lambda line: None
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    question: Callable[[str], None] = lambda question: None
    text: Callable[[str], None] = lambda text: None
    answered: Callable[[str], None] = lambda answer: None
    phase: Callable[[str], None] = lambda name: None
