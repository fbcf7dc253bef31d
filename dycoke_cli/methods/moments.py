"""The moments of a run at which methods act; at most one method acts at each."""

from collections.abc import Mapping, Sequence

from dycoke_cli.errors import UsageError

BEFORE_PREFILL = "before the prefill"
IN_PREFILL = "inside the prefill"
EACH_STEP = "at each step"


def refuse_moment_conflict(acts: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError if two methods act at the same moment; acts: method name to moments."""
    owners: dict[str, str] = {}
    for name, moments in acts.items():
        for moment in moments:
            if moment in owners:
                raise UsageError(
                    f"{owners[moment]} and {name} both act {moment}",
                    "Join methods that act at different moments: see `dycoke methods`",
                )
            owners[moment] = name
