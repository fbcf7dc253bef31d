"""The models that have names: where their files come from, how large they are, and where they are on this disk."""

import re
from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.errors import ModelError
from dycoke_cli.hub.cache import cached_folder
from dycoke_cli.sizes import KNOWN, Sizes, stored_sizes

DEMO = Path(__file__).parent / "demo"
HUB_IDS = {
    "llava-video-7b": "lmms-lab/LLaVA-Video-7B-Qwen2",
    "llava-video-72b": "lmms-lab/LLaVA-Video-72B-Qwen2",
    "llava-ov-0.5b": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
    "llava-ov-7b": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
    "llava-ov-72b": "llava-hf/llava-onevision-qwen2-72b-ov-hf",
}
NAMES = ("demo", *HUB_IDS)


@dataclass(frozen=True)
class NamedModel:
    """A model with a name."""

    name: str
    hub_id: str | None  # None: bundled
    sizes: Sizes | None  # None: nobody knows before it is on this disk
    folder: Path | None  # None: not on this disk

    @property
    def revision(self) -> str | None:
        """The commit that is on this disk."""
        return self.folder.name if self.folder is not None and self.hub_id is not None else None


def known_models() -> list[NamedModel]:
    """List all models with names, smallest first."""
    models = [NamedModel("demo", None, _sizes_of(DEMO), DEMO)]
    for name, hub_id in HUB_IDS.items():
        folder = cached_folder(hub_id)
        sizes = KNOWN.get(name) or (_sizes_of(folder) if folder is not None else None)
        models.append(NamedModel(name, hub_id, sizes, folder))
    return sorted(models, key=lambda model: model.sizes.parameters if model.sizes else 0)


def _sizes_of(folder: Path) -> Sizes | None:
    """Count what is on this disk; None where it is damaged, which whoever loads it is told."""
    try:
        return stored_sizes(folder)
    except ModelError:
        return None


def address(name: str) -> tuple[str, str | None]:
    """Split a known name or a hub id, with or without `@revision`, into hub id and revision. Raises ModelError."""
    plain, at, revision = name.partition("@")
    hub_id = HUB_IDS.get(plain, plain)
    possible = re.fullmatch(r"[\w.-]+/[\w.-]+", hub_id) and not name.startswith((".", "/", "~"))
    if not possible or (at and not re.fullmatch(r"[\w./-]+", revision)) or ".." in revision:
        raise ModelError(f"no model is called {name!r}", f"Choose {', '.join(NAMES)}, a folder, or a hub id owner/name")
    return hub_id, revision or None


def find(name: str) -> Path | None:
    """Find a model's folder without a download; None for one that is not on this disk. Raises ModelError."""
    if name == "demo":
        return DEMO
    if Path(name).is_dir():
        return Path(name)
    return cached_folder(*address(name))
