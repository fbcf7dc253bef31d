"""Download one revision of a model: resume partial files, and verify them against the hub's checksums."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dycoke_cli.errors import ModelError
from dycoke_cli.models.hub.cache import FILES, is_complete, storage_folder
from dycoke_cli.models.hub.failures import RERUN, as_model_error, refuse_offline

RESERVE = 2**28  # bytes of the disk that a download leaves free


@dataclass(frozen=True)
class Pulled:
    """A model's folder after a pull, and how much of it was downloaded."""

    hub_id: str
    revision: str  # the commit
    folder: Path
    bytes_total: int
    bytes_fetched: int  # of these, not on this disk before


def pull(hub_id: str, revision: str | None = None, notice: Callable[[str], None] = lambda line: None) -> Pulled:
    """Download `revision` (a branch, tag or commit; by default main), and record its commit for use without a network.

    All files are of one commit, resolved at the start. An interrupted file is resumed, in this run or the next. At the
    end each file's checksum is compared with the hub's, and files that differ are removed. Raises ModelError.
    """
    refuse_offline(hub_id)
    with as_model_error(hub_id, revision):
        from huggingface_hub import HfApi

        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
        commit = str(info.sha)
        files = _needed_files(hub_id, info.siblings or [])
        missing = [file for file in files if not _blob(hub_id, file).exists()]
        total, fetched = (sum(file.size or 0 for file in group) for group in (files, missing))
        refuse_full_disk(hub_id, fetched)
    # From here on files may be partly downloaded; the next run resumes them.
    with as_model_error(hub_id, revision, RERUN):
        from huggingface_hub import snapshot_download

        if missing:
            notice(f"Fetching {hub_id} at {commit[:12]}: {len(missing)} files, {_gb(fetched)}")
        for file in missing:
            if file.lfs is not None:
                _fetch_large(hub_id, commit, file)
        folder = Path(snapshot_download(hub_id, revision=commit, allow_patterns=FILES))
        notice(f"Checking {_gb(total)}")
        _verify(hub_id, commit, {file.rfilename for file in files})
    if not is_complete(folder):
        raise ModelError(f"{hub_id!r} does not hold all weights that its index names", "Choose another revision")
    _write_ref(hub_id, revision or "main", commit)
    return Pulled(hub_id, commit, folder, total, fetched)


def _needed_files(hub_id: str, siblings: list[Any]) -> list[Any]:
    """Select the files that dycoke reads. Raises ModelError for a model without safetensors."""
    from huggingface_hub.utils import filter_repo_objects

    files = list(filter_repo_objects(siblings, allow_patterns=FILES, key=lambda file: file.rfilename))
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise ModelError(f"{hub_id!r} holds no weights as safetensors", "Choose a model or a revision that does")
    return files


def _blob(hub_id: str, file: Any) -> Path:
    """Return the path of a file's content in the cache, named by its checksum."""
    return storage_folder(hub_id) / "blobs" / str(file.lfs.sha256 if file.lfs is not None else file.blob_id)


def refuse_full_disk(hub_id: str, needed: int) -> None:
    """Raise ModelError, before the download, if the disk lacks space for it."""
    folder = storage_folder(hub_id)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed and needed + RESERVE > free:
        raise ModelError(
            f"{hub_id!r} needs {_gb(needed)} on disk, and {str(folder)!r} has {_gb(free)} free",
            "Free disk space, or set HF_HOME to a folder on another disk",
        )


def _fetch_large(hub_id: str, commit: str, file: Any) -> None:
    """Download one large file into the cache, resuming the part file of an earlier run.

    The hub client alone resumes after a dropped connection, but deletes the partial file when the process ends.
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


def _verify(hub_id: str, commit: str, names: set[str]) -> None:
    """Compare the checksums of the named files with the hub's; remove files that differ and raise ModelError."""
    from huggingface_hub import HfApi

    report = HfApi().verify_repo_checksums(hub_id, revision=commit)
    wrong = [mismatch["path"] for mismatch in report.mismatches if mismatch["path"] in names]
    for name in wrong:
        link = storage_folder(hub_id) / "snapshots" / commit / name
        link.resolve().unlink(missing_ok=True)
        link.unlink(missing_ok=True)
    if wrong:
        raise ModelError(f"{hub_id!r} arrived damaged: {', '.join(wrong)} does not have the hub's checksum", RERUN)


def _write_ref(hub_id: str, revision: str, commit: str) -> None:
    """Record the commit of a branch or tag in the cache, to resolve it without a network."""
    if revision != commit:
        reference = storage_folder(hub_id) / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit, encoding="utf-8")


def _gb(count: int) -> str:
    """Format a number of bytes in decimal units, as for disks and downloads."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
