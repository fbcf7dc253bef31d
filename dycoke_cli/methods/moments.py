"""The moments of a run at which a method can act, at each of them one at most."""

from collections.abc import Mapping, Sequence

from dycoke_cli.errors import UsageError

BEFORE_PREFILL = "before the prefill"
IN_PREFILL = "inside the prefill"
EACH_STEP = "at each step"


def refuse_clash(acts: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError where two methods, by name in `acts`, would act at the same moment."""
    busy: dict[str, str] = {}
    for name, moments in acts.items():
        for moment in moments:
            if moment in busy:
                raise UsageError(
                    f"{busy[moment]} and {name} both act {moment}",
                    "Join methods that act at different moments: see `dycoke methods`",
                )
            busy[moment] = name
