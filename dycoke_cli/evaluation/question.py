"""One question about one video, with its right answer."""

from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.evaluation.matching import LETTERS, Match, chosen_option, matches

# The words of Video-MME and most benchmarks after it; models of the LLaVA line were trained on them.
CHOOSE = "Answer with the option's letter from the given choices directly."


@dataclass(frozen=True)
class Question:
    """A question, open or with options to choose from."""

    video: str  # as the file names it
    path: Path  # where it lies
    text: str
    accepted: tuple[str, ...]  # any of these is right; with options the one that is
    options: tuple[str, ...] = ()
    type: str | None = None
    match: Match = "exact"

    @property
    def prompt(self) -> str:
        """What the model is asked: the question, and its options with letters."""
        if not self.options:
            return self.text
        lettered = [f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False)]
        return "\n".join([self.text, *lettered, CHOOSE])

    @property
    def expected(self) -> tuple[str, ...]:
        """The right answers as people read them."""
        if not self.options:
            return self.accepted
        return (f"{LETTERS[self.options.index(self.accepted[0])]}. {self.accepted[0]}",)

    def judge(self, answer: str) -> bool:
        """Say whether an answer is right; one that could mean two options is wrong."""
        if not self.options:
            return matches(answer, self.accepted, self.match)
        chosen = chosen_option(answer, self.options, self.match)
        return chosen is not None and self.options[chosen] == self.accepted[0]
