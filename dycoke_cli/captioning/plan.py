"""What there is to do: what holds is kept, what changed is done again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.key import Identity, Recipe
from dycoke_cli.captioning.record import Record


@dataclass(frozen=True)
class Plan:
    """A run before it begins."""

    todo: tuple[Item, ...]
    kept: tuple[Record, ...]  # of this or an earlier run, under the same key
    put_off: int  # videos that --limit leaves for later
    changed: int  # of what is to do: had a caption that no longer holds

    @property
    def failed(self) -> int:
        """Kept failures."""
        return sum(record.error is not None for record in self.kept)


def plan_of(
    items: Sequence[Item],
    known: Mapping[str, Record],
    recipe: Recipe,
    retry_errors: bool = False,
    overwrite: bool = False,
    limit: int | None = None,
) -> Plan:
    """Compare videos with what is known of them.

    A kept record names its video where it lies now. retry_errors: failures are done again; overwrite: everything is;
    limit: no more videos than these.
    """
    todo, kept, changed = [], [], 0
    for item in items:
        record = known.get(item.id)
        if record is None or overwrite:
            todo.append(item)
        elif recipe.key(Identity.of(item.path, record.video).fingerprint) != record.key:
            changed += 1
            todo.append(item)
        elif record.error is not None and retry_errors:
            todo.append(item)
        else:
            kept.append(record if record.path == item.path else replace(record, path=item.path))
    cut = todo if limit is None else todo[:limit]
    return Plan(tuple(cut), tuple(kept), len(todo) - len(cut), changed)
