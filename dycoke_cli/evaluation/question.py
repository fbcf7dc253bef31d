"""A question about a video, with its accepted answers and their scoring."""

from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.evaluation.matching import LETTERS, Match, chosen_option, matches

# The instruction of Video-MME and most later benchmarks; models of the LLaVA line were trained on it.
INSTRUCTION = "Answer with the option's letter from the given choices directly."


@dataclass(frozen=True)
class Question:
    """A question, open or with options to choose from."""

    video: str  # as written in the question file
    path: Path  # of the video file
    text: str
    accepted: tuple[str, ...]  # any of these is correct; with options, the single correct one
    options: tuple[str, ...] = ()
    type: str | None = None
    match: Match = "exact"

    @property
    def prompt(self) -> str:
        """The text that the model receives: the question, and its options with letters and an instruction."""
        if not self.options:
            return self.text
        lettered = [f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False)]
        return "\n".join([self.text, *lettered, INSTRUCTION])

    @property
    def expected(self) -> tuple[str, ...]:
        """The accepted answers for display: texts, or the letter and text of the correct option."""
        if not self.options:
            return self.accepted
        return (f"{LETTERS[self.options.index(self.accepted[0])]}. {self.accepted[0]}",)

    def judge(self, answer: str) -> bool:
        """Return whether an answer is correct; one that names several options is not."""
        if not self.options:
            return matches(answer, self.accepted, self.match)
        chosen = chosen_option(answer, self.options, self.match)
        return chosen is not None and self.options[chosen] == self.accepted[0]
