"""Find a model's files in the hub's cache on this disk, without network access."""

import re
from pathlib import Path

from dycoke_cli.errors import ModelError
from dycoke_cli.models.weight_files import weight_files

FILES = ["*.json", "*.safetensors", "merges.txt", "vocab.json"]
COMMIT = re.compile(r"[0-9a-f]{40}")


def cached_folder(hub_id: str, revision: str | None = None) -> Path | None:
    """Return a model's folder at a revision, by default the last one fetched; None if any weight file is missing."""
    revision = revision or "main"
    storage = storage_folder(hub_id)
    try:
        commit = (storage / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    folder = storage / "snapshots" / commit
    return folder if COMMIT.fullmatch(commit) and is_complete(folder) else None


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds config.json and all its weight files; False after an interrupted download."""
    try:
        return (folder / "config.json").exists() and all(path.exists() for path in weight_files(folder))
    except (OSError, ModelError):
        return False


def storage_folder(hub_id: str) -> Path:
    """Return the folder of a model in the hub's cache: its blobs, refs and snapshots."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
