"""Fingerprints of files and model folders."""

from pathlib import Path

from dycoke_cli.cache.fingerprint import END, SMALL, file_fingerprint, folder_fingerprint


def test_file_fingerprint_depends_on_content(tmp_path: Path) -> None:
    """A copy has the same fingerprint; a changed byte changes it, anywhere if the file is small, else at its ends."""
    small = tmp_path / "small"
    small.write_bytes(bytes(1000))
    (tmp_path / "copy").write_bytes(bytes(1000))
    assert file_fingerprint(small) == file_fingerprint(tmp_path / "copy")
    small.write_bytes(bytes(500) + b"1" + bytes(499))
    assert file_fingerprint(small) != file_fingerprint(tmp_path / "copy")
    large = tmp_path / "large"
    fingerprints = set()
    for place in (0, END - 1, SMALL):
        content = bytearray(SMALL + 1)
        content[place] = 1
        large.write_bytes(content)
        fingerprints.add(file_fingerprint(large))
    assert len(fingerprints) == 3


def test_folder_fingerprint_is_revision_or_files(tmp_path: Path) -> None:
    """A hub snapshot is identified by its folder name (the revision), other folders by the files of the patterns."""
    hub = tmp_path / "snapshots" / "abc123"
    hub.mkdir(parents=True)
    assert folder_fingerprint(hub, ["*.json"]) == "abc123"
    local = tmp_path / "local"
    local.mkdir()
    (local / "config.json").write_text("{}")
    before = folder_fingerprint(local, ["*.json"])
    (local / "notes.txt").write_text("not part of the model")
    assert folder_fingerprint(local, ["*.json"]) == before
    (local / "config.json").write_text("[]")
    assert folder_fingerprint(local, ["*.json"]) != before
