"""Sample the next token from logits: greedy, temperature, top-p, repetition penalty."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters.

    temperature: 0 is greedy. top_p: sample from the fewest tokens whose probabilities sum to at least this. seed: the
    same seed reproduces an answer, alone or in a batch. repetition_penalty: above 1 makes generated tokens less likely
    to be repeated.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0


class Sampler:
    """Samples one token per row, with one generator per row, so that rows do not influence each other."""

    def __init__(self, sampling: Sampling, batch: int, device: torch.device) -> None:
        self.sampling = sampling
        self.generators = [torch.Generator(device).manual_seed(sampling.seed) for _ in range(batch)]
        self.history: list[Tensor] = []  # each (batch,) int64

    def pick(self, logits: Tensor) -> Tensor:
        """Sample from `logits` (batch, vocabulary). Returns (batch,) int64."""
        logits = self._penalized(logits.float())
        tokens = self._draw(logits) if self.sampling.temperature > 0 else logits.argmax(dim=-1)
        if self.sampling.repetition_penalty != 1:
            self.history.append(tokens)
        return tokens

    def only(self, rows: list[int]) -> None:
        """Keep the state of only `rows` of the batch."""
        self.generators = [self.generators[row] for row in rows]
        self.history = [tokens[rows] for tokens in self.history]

    def _penalized(self, logits: Tensor) -> Tensor:
        if not self.history:
            return logits
        generated = torch.stack(self.history, dim=1)
        picked = logits.gather(1, generated)
        penalty = self.sampling.repetition_penalty
        return logits.scatter(1, generated, torch.where(picked < 0, picked * penalty, picked / penalty))

    def _draw(self, logits: Tensor) -> Tensor:
        probabilities = (logits / self.sampling.temperature).softmax(dim=-1)
        if self.sampling.top_p < 1:
            ranked, order = probabilities.sort(dim=-1, descending=True)
            before = ranked.cumsum(dim=-1) - ranked
            dropped = (before >= self.sampling.top_p).gather(1, order.argsort(dim=-1))
            probabilities = probabilities.masked_fill(dropped, 0)
        draws = [
            torch.multinomial(row, 1, generator=own) for row, own in zip(probabilities, self.generators, strict=True)
        ]
        return torch.cat(draws)
