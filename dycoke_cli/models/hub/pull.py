"""Fetch one revision of a model, whole: resumed where it stopped, checked against the hub's own checksums."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dycoke_cli.errors import ModelError
from dycoke_cli.models.hub.cache import FILES, is_complete, storage_folder
from dycoke_cli.models.hub.failures import AGAIN, explained, refuse_offline

RESERVE = 2**28  # bytes of the disk that a download leaves free


@dataclass(frozen=True)
class Pulled:
    """A model on this disk."""

    hub_id: str
    revision: str  # the commit
    folder: Path
    bytes_total: int
    bytes_fetched: int  # of these, what was not here before


def pull(hub_id: str, revision: str | None = None, notice: Callable[[str], None] = lambda line: None) -> Pulled:
    """Fetch `revision` (a branch, tag or commit; else main) and make it what the model's name means from now on.

    Every file comes from the commit that the revision names at the start. A file that was cut goes on where it
    stopped, in this run or the next. At the end each file's checksum is compared with the hub's; what differs is
    removed. Raises ModelError.
    """
    refuse_offline(hub_id)
    with explained(hub_id, revision):
        from huggingface_hub import HfApi

        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
        commit = str(info.sha)
        files = _wanted(hub_id, info.siblings or [])
        missing = [file for file in files if not _blob(hub_id, file).exists()]
        total, fetched = (sum(file.size or 0 for file in some) for some in (files, missing))
        _refuse_full_disk(hub_id, fetched)
    # From here on something may have arrived, and the next run begins with it.
    with explained(hub_id, revision, AGAIN):
        from huggingface_hub import snapshot_download

        if missing:
            notice(f"Fetching {hub_id} at {commit[:12]}: {len(missing)} files, {_gb(fetched)}")
        for file in missing:
            if file.lfs is not None:
                _fetch(hub_id, commit, file)
        folder = Path(snapshot_download(hub_id, revision=commit, allow_patterns=FILES))
        notice(f"Checking {_gb(total)}")
        _verify(hub_id, commit, {file.rfilename for file in files})
    if not is_complete(folder):
        raise ModelError(f"{hub_id!r} does not hold all weights that its index names", "Choose another revision")
    _remember(hub_id, revision or "main", commit)
    return Pulled(hub_id, commit, folder, total, fetched)


def _wanted(hub_id: str, siblings: list[Any]) -> list[Any]:
    """Choose the files of a model that dycoke reads. Raises ModelError for one without safetensors."""
    from huggingface_hub.utils import filter_repo_objects

    files = list(filter_repo_objects(siblings, allow_patterns=FILES, key=lambda file: file.rfilename))
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise ModelError(f"{hub_id!r} holds no weights as safetensors", "Choose a model or a revision that does")
    return files


def _blob(hub_id: str, file: Any) -> Path:
    """Say where the cache keeps a file's content: under its checksum."""
    return storage_folder(hub_id) / "blobs" / str(file.lfs.sha256 if file.lfs is not None else file.blob_id)


def _refuse_full_disk(hub_id: str, needed: int) -> None:
    """Raise ModelError before a download that the disk cannot take, not at its end."""
    folder = storage_folder(hub_id)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed and needed + RESERVE > free:
        raise ModelError(
            f"{hub_id!r} needs {_gb(needed)} on disk, and {str(folder)!r} has {_gb(free)} free",
            "Make room, or point HF_HOME at another disk",
        )


def _fetch(hub_id: str, commit: str, file: Any) -> None:
    """Fetch one large file into the cache, after what an earlier run got of it.

    The hub client goes on after a dropped connection, but throws a file away when the run itself ends.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    blob = _blob(hub_id, file)
    part = blob.with_name(f"{blob.name}.dycoke.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as stream:
        held = stream.tell()
        if held > file.size:
            stream.truncate(held := 0)
        if held < file.size:
            http_get(
                hf_hub_url(hub_id, file.rfilename, revision=commit),
                stream,
                resume_size=held,
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.rfilename,
            )
    os.replace(part, blob)


def _verify(hub_id: str, commit: str, wanted: set[str]) -> None:
    """Compare each file with the hub's checksum. Raises ModelError; what is wrong is no longer there afterwards."""
    from huggingface_hub import HfApi

    report = HfApi().verify_repo_checksums(hub_id, revision=commit)
    wrong = [mismatch["path"] for mismatch in report.mismatches if mismatch["path"] in wanted]
    for name in wrong:
        link = storage_folder(hub_id) / "snapshots" / commit / name
        link.resolve().unlink(missing_ok=True)
        link.unlink(missing_ok=True)
    if wrong:
        raise ModelError(f"{hub_id!r} arrived damaged: {', '.join(wrong)} does not have the hub's checksum", AGAIN)


def _remember(hub_id: str, revision: str, commit: str) -> None:
    """Note which commit a branch or tag was: what the name means without a network."""
    if revision != commit:
        reference = storage_folder(hub_id) / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit, encoding="utf-8")


def _gb(count: int) -> str:
    """Write bytes as disks and downloads are sold, in powers of ten."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
