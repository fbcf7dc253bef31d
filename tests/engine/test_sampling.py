"""Sampling by hand and against transformers' own logits processors."""

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from dycoke_cli.engine.sampling import Sampler, Sampling

CPU = torch.device("cpu")
PROBABILITIES = torch.tensor([0.15, 0.5, 0.05, 0.3])


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.7])
def test_the_repetition_penalty_is_transformers(penalty: float) -> None:
    """Positive logits of generated tokens are divided by it, negative ones multiplied, row by row."""
    logits = torch.randn(6, 2, 9, generator=torch.Generator().manual_seed(1)) * 2
    sampler, history = Sampler(Sampling(repetition_penalty=penalty), 2, CPU), torch.empty(2, 0, dtype=torch.int64)
    greedy = Sampler(Sampling(), 2, CPU)
    differ = False
    for step in logits:
        wanted = RepetitionPenaltyLogitsProcessor(penalty)(history, step.clone()) if history.numel() else step
        picked = sampler.pick(step)
        assert torch.equal(picked, wanted.argmax(dim=-1))
        differ |= not torch.equal(picked, greedy.pick(step))
        history = torch.cat([history, picked[:, None]], dim=1)
    assert differ == (penalty != 1)


@pytest.mark.parametrize(("top_p", "drawn"), [(0.4, {1}), (0.6, {1, 3}), (0.9, {0, 1, 3}), (1.0, {0, 1, 2, 3})])
def test_top_p_draws_from_the_fewest_tokens_that_reach_it(top_p: float, drawn: set[int]) -> None:
    """All of them are drawn, no other is; they are those that transformers keeps."""
    logits = PROBABILITIES.log()[None]
    picks = {Sampler(Sampling(1.0, top_p, seed), 1, CPU).pick(logits).item() for seed in range(300)}
    assert picks == drawn
    if top_p < 1:
        kept = TopPLogitsWarper(top_p)(torch.empty(1, 0, dtype=torch.int64), logits.clone())
        assert set(torch.nonzero(kept[0].isfinite()).flatten().tolist()) == drawn


def test_temperature_divides_the_logits() -> None:
    """A high temperature draws unlikely tokens as often as likely ones, a low one only the likeliest."""
    logits = PROBABILITIES.log()[None]
    cold = {Sampler(Sampling(0.05, seed=seed), 1, CPU).pick(logits).item() for seed in range(100)}
    hot = [Sampler(Sampling(50.0, seed=seed), 1, CPU).pick(logits).item() for seed in range(400)]
    assert cold == {1}
    assert all(70 < hot.count(token) < 130 for token in range(4))
