"""Model names: their hub ids, sizes and folders on this disk; find or fetch a model by name."""

import difflib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.errors import ModelError
from dycoke_cli.models.hub.cache import cached_folder
from dycoke_cli.models.hub.pull import Pulled, pull
from dycoke_cli.models.sizes import KNOWN, Sizes, stored_sizes

DEMO = Path(__file__).parents[1] / "demo"
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
    """A model that dycoke has a short name for."""

    name: str
    hub_id: str | None  # None: bundled
    sizes: Sizes | None  # None: the demo's files are damaged, for which loading it raises
    folder: Path | None  # None: not on this disk

    @property
    def revision(self) -> str | None:
        """Return the commit that is on this disk."""
        return self.folder.name if self.folder is not None and self.hub_id is not None else None


def known_models() -> list[NamedModel]:
    """Return all named models, smallest first."""
    try:
        demo_sizes = stored_sizes(DEMO)
    except ModelError:
        demo_sizes = None
    models = [NamedModel(name, hub_id, KNOWN[name], cached_folder(hub_id)) for name, hub_id in HUB_IDS.items()]
    models.append(NamedModel("demo", None, demo_sizes, DEMO))
    return sorted(models, key=lambda model: model.sizes.parameters if model.sizes else 0)


def address(name: str) -> tuple[str, str | None]:
    """Split a known name or a hub id, with or without `@revision`, into hub id and revision. Raises ModelError."""
    plain, at, revision = name.partition("@")
    hub_id = HUB_IDS.get(plain, plain)
    possible = re.fullmatch(r"[\w.-]+/[\w.-]+", hub_id) and not name.startswith((".", "/", "~"))
    if not possible or (at and not re.fullmatch(r"[\w./-]+", revision)) or ".." in revision:
        choose = f"Choose {', '.join(NAMES)}, a folder, or a hub id owner/name"
        raise ModelError(f"no model is called {name!r}", _suggestion(plain, (*NAMES, *_models_beside(name))) or choose)
    return hub_id, revision or None


def find(name: str) -> Path | None:
    """Return a model's folder without a download; None if it is not on this disk. Raises ModelError."""
    if name == "demo":
        return DEMO
    if os.path.isdir(folder := os.path.expanduser(name)):
        return Path(folder)
    return cached_folder(*address(name))


def fetch(name: str, notice: Callable[[str], None] = lambda line: None) -> Pulled:
    """Fetch a model from the hub; see `pull`. Raises ModelError, whose remedy suggests a similar known hub id."""
    hub_id, revision = address(name)
    try:
        return pull(hub_id, revision, notice)
    except ModelError as error:
        suggestion = None if hub_id in HUB_IDS.values() else _suggestion(hub_id, HUB_IDS.values())
        if suggestion is None:
            raise
        raise ModelError(error.message, f"{suggestion} {error.remedy}") from error


def _suggestion(name: str, known: Iterable[str]) -> str | None:
    """Return "Did you mean ...?" with the closest known name; None if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"Did you mean {close[0]!r}?" if close else None


def _models_beside(name: str) -> list[str]:
    """Return the paths of the models in the parent folder of a path, written relative as `name` is."""
    parent, _ = os.path.split(name)
    try:
        with os.scandir(os.path.expanduser(parent) or ".") as entries:
            models = [entry.name for entry in entries if os.path.isfile(os.path.join(entry.path, "config.json"))]
    except (OSError, ValueError):
        return []
    return [os.path.join(parent, model) for model in models]
