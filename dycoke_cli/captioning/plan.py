"""Plan of a captioning run: which records are still valid, and which videos to caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Recipe
from dycoke_cli.captioning.record import Record


@dataclass(frozen=True)
class Plan:
    """The videos to caption, and the records to keep."""

    todo: tuple[Item, ...]
    kept: tuple[Record, ...]  # earlier records whose key is unchanged
    put_off: int  # videos excluded by --limit
    changed: int  # videos whose earlier caption is out of date, excluded ones too


def plan_of(
    items: Sequence[Item],
    known: Mapping[str, Record],
    recipe: Recipe,
    retry_errors: bool = False,
    overwrite: bool = False,
    limit: int | None = None,
) -> Plan:
    """Compare videos with their earlier records.

    A kept record gets the present path of its video. retry_errors: caption failed videos again; overwrite: caption all
    again; limit: caption this many at most.
    """
    todo, kept, changed = [], [], 0
    for item in items:
        record = known.get(item.id)
        if record is None or overwrite:
            todo.append(item)
        elif not record.is_current(item, recipe):
            changed += 1
            todo.append(item)
        elif record.error is not None and retry_errors:
            todo.append(item)
        else:
            kept.append(record if record.path == item.path else replace(record, path=item.path))
    cut = todo if limit is None else todo[:limit]
    return Plan(tuple(cut), tuple(kept), len(todo) - len(cut), changed)
