"""The methods that are compared: first stages at equal budgets, second stages at equal pruning rates."""

from __future__ import annotations

from dataclasses import dataclass

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.moments import BEFORE_PREFILL, IN_PREFILL
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.methods.registry import METHODS
from dycoke_cli.tokens import Grid

BUDGETS = (0.775, 0.625, 0.475, 0.25)
PRUNED = (0.5, 0.7, 0.9)
SEEDS = (0, 1, 2)
SEEDED = "random"
# Without DyCoke's second stage, which is compared separately; FastV's default layer is too deep for the demo model.
FIRST_STAGE_OPTIONS = {"dycoke": (("p", "0"),), "fastv": (("l", "2"),)}


@dataclass(frozen=True)
class Arm:
    """A method with options at a budget. Arms that differ only in their seed share a label."""

    label: str
    name: str
    options: tuple[tuple[str, str], ...] = ()
    retain: float | None = None
    seed: int = 0

    def method(self, facts: ModelFacts, grid: Grid) -> Method:
        """Return the method for a video of shape `grid`. Raises UsageError if it cannot meet the budget."""
        options = dict(self.options)
        if SEEDED in self.name.split("+"):
            options["seed"] = str(self.seed)
        return with_retain(make_method(self.name, options), self.retain, facts, grid)


def first_stages(facts: ModelFacts, grid: Grid) -> list[Arm]:
    """Return an arm for every method that reduces the prefill, without a second stage, at every budget it can meet."""
    arms = []
    for name, kind in METHODS.items():
        if not {BEFORE_PREFILL, IN_PREFILL} & set(kind.acts):
            continue
        for retain in BUDGETS:
            for seed in SEEDS if name == SEEDED else SEEDS[:1]:
                arm = Arm(f"{name} {retain:.1%}", name, FIRST_STAGE_OPTIONS.get(name, ()), retain, seed)
                if _meets_budget(arm, facts, grid):
                    arms.append(arm)
    return arms


def second_stages() -> list[Arm]:
    """Return the arms of the second stage: after DyCoke's first stage, after random tokens, and alone."""
    arms = []
    for pruned in PRUNED:
        p = ("p", str(pruned))
        arms += [
            Arm(f"dycoke 47.5% p={pruned}", "dycoke", (p,), 0.475),
            Arm(f"dycoke 47.5% p={pruned} one-shot", "dycoke", (p, ("select", "once")), 0.475),
            Arm(f"dynamic alone p={pruned}", "dynamic", (p,)),
            *(Arm(f"random 47.5% + dynamic p={pruned}", "random+dynamic", (p,), 0.475, seed) for seed in SEEDS),
        ]
    return arms


def all_arms(facts: ModelFacts, grid: Grid) -> list[Arm]:
    """Return all arms, the uncompressed one first."""
    return [Arm("full", "full"), *second_stages(), *first_stages(facts, grid)]


def _meets_budget(arm: Arm, facts: ModelFacts, grid: Grid) -> bool:
    try:
        arm.method(facts, grid)
    except UsageError:
        return False
    return True
