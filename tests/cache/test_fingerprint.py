"""Files and models told apart by their content."""

from pathlib import Path

from dycoke_cli.cache.fingerprint import END, SMALL, file_fingerprint, folder_fingerprint


def test_a_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    """A copy is the same; one byte is not, wherever it is in a small file, and at either end of a large one."""
    small = tmp_path / "small"
    small.write_bytes(bytes(1000))
    (tmp_path / "copy").write_bytes(bytes(1000))
    assert file_fingerprint(small) == file_fingerprint(tmp_path / "copy")
    small.write_bytes(bytes(500) + b"1" + bytes(499))
    assert file_fingerprint(small) != file_fingerprint(tmp_path / "copy")
    large = tmp_path / "large"
    seen = set()
    for place in (0, END - 1, SMALL):
        content = bytearray(SMALL + 1)
        content[place] = 1
        large.write_bytes(content)
        seen.add(file_fingerprint(large))
    assert len(seen) == 3


def test_a_model_is_its_revision_or_its_files(tmp_path: Path) -> None:
    """The hub's folder name says it all; any other folder is told by the files that count."""
    hub = tmp_path / "snapshots" / "abc123"
    hub.mkdir(parents=True)
    assert folder_fingerprint(hub, ["*.json"]) == "abc123"
    local = tmp_path / "local"
    local.mkdir()
    (local / "config.json").write_text("{}")
    before = folder_fingerprint(local, ["*.json"])
    (local / "notes.txt").write_text("of no account")
    assert folder_fingerprint(local, ["*.json"]) == before
    (local / "config.json").write_text("[]")
    assert folder_fingerprint(local, ["*.json"]) != before
