"""Render the table of models, and build its JSON, without importing torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dycoke_cli.models.names import NamedModel

FORMATS: dict[str, tuple[int, str | None]] = {"bf16": (2, None), "int8": (2, "int8"), "int4": (2, "int4")}
NOTE = (
    "Memory of the weights alone, in GiB; int8 and int4 are --quantize. A video needs memory in addition. "
    "Fetch a model with: dycoke models pull NAME"
)


def models_record(models: "Sequence[NamedModel]") -> list[dict[str, Any]]:
    """Return the models as JSON values."""
    return [
        {
            "name": model.name,
            "hub_id": model.hub_id,
            "parameters": model.sizes.parameters if model.sizes else None,
            "weight_bytes": {name: _bytes(model, name) for name in FORMATS},
            "on_disk": model.folder is not None,
            "revision": model.revision,
            "path": str(model.folder) if model.folder is not None else None,
        }
        for model in models
    ]


def models_table(models: "Sequence[NamedModel]") -> RenderableType:
    """Render one row per model."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    for name in FORMATS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("on disk", no_wrap=True)
    for model in models:
        sizes = [_gib(_bytes(model, name)) for name in FORMATS]
        here = "bundled" if model.hub_id is None else (model.revision or "yes")[:12] if model.folder else "no"
        table.add_row(model.name, _count(model), *sizes, here)
    return Group(table, Text(""), Text(NOTE, style="dim"))


def _bytes(model: "NamedModel", name: str) -> int | None:
    return model.sizes.weight_bytes(*FORMATS[name]) if model.sizes else None


def _gib(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 2**30:.1f}" if count >= 2**30 // 10 else f"{count / 2**30:.3f}"


def _count(model: "NamedModel") -> str:
    if model.sizes is None:
        return "?"
    millions = model.sizes.parameters / 1e6
    if millions >= 1000:
        return f"{millions / 1000:.2f} B"
    return f"{millions:.1f} M" if millions < 10 else f"{millions:.0f} M"
