"""Means over the answers of a benchmark: visual tokens, retention and times."""

from collections.abc import Sequence
from statistics import fmean

from dycoke_cli.session.answer import Answer


def averages(answers: Sequence[Answer]) -> dict[str, float]:
    """Return the means over answers of counts, retention and times, and the largest peak memory (GiB).

    prefill_retention: share of the visual tokens that a prefill layer processes; decode_retention: share that a decode
    step reads, over answers with decode steps. Times in seconds; work shared by several questions counts once.
    """
    if not answers:
        return {}
    steps = [[step.retained for step in answer.steps[1:]] for answer in answers]
    means = {
        "visual_tokens": fmean(answer.tokens.visual for answer in answers),
        "visual_tokens_prefill": fmean(answer.tokens.visual_prefill for answer in answers),
        "prefill_retention": fmean(answer.tokens.prefill_retention for answer in answers),
        "total_s": fmean(answer.time_s.total for answer in answers),
        "prefill_s": fmean(answer.time_s.prefill or 0.0 for answer in answers),
    }
    if read := [fmean(shares) for shares in steps if shares]:
        means["decode_retention"] = fmean(read)
    if peaks := [answer.memory_bytes.peak for answer in answers if answer.memory_bytes.peak is not None]:
        means["peak_gib"] = max(peaks) / 2**30
    return means
