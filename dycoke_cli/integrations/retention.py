"""What a benchmark's answers kept and took, as means over its questions."""

from collections.abc import Sequence
from statistics import fmean

from dycoke_cli.session.answer import Answer


def averages(answers: Sequence[Answer]) -> dict[str, float]:
    """Average counts and times over answers.

    prefill_retention: share of the visual tokens that enter; decode_retention: share that a decode step reads, over
    answers with more than one token. Times in seconds; those of work that several questions share are in one's.
    """
    if not answers:
        return {}
    steps = [[step.retained for step in answer.steps[1:]] for answer in answers]
    kept = {
        "visual_tokens": fmean(answer.tokens.visual for answer in answers),
        "visual_tokens_prefill": fmean(answer.tokens.visual_prefill for answer in answers),
        "prefill_retention": fmean(answer.tokens.prefill_retention for answer in answers),
        "total_s": fmean(answer.time_s.total for answer in answers),
        "prefill_s": fmean(answer.time_s.prefill or 0.0 for answer in answers),
    }
    if read := [fmean(shares) for shares in steps if shares]:
        kept["decode_retention"] = fmean(read)
    if peaks := [answer.memory_bytes.peak for answer in answers if answer.memory_bytes.peak is not None]:
        kept["peak_gib"] = max(peaks) / 2**30
    return kept
