"""Output files of whole runs and shards: no record is lost or duplicated, and conflicting runs are refused."""

from pathlib import Path

import pytest

from dycoke_cli.captioning.output import Output
from dycoke_cli.captioning.record import CAPTIONS
from dycoke_cli.captioning.shard import Shard
from dycoke_cli.errors import UsageError
from dycoke_cli.system.jsonl_output import read_kept
from tests.captioning.made import items_in, record


def test_a_whole_run_merges_the_files_of_shards(tmp_path: Path) -> None:
    """The newest record of a video counts; the shards' files are deleted once merged."""
    whole = tmp_path / "captions.jsonl"
    a, b, c = items_in(tmp_path, "a", "b", "c")
    with Output(whole) as output:
        output.add(record(a, "old"))
    with Output(whole, Shard(1, 2)) as first, Output(whole, Shard(2, 2)) as second:
        first.add(record(a, "new"))
        second.add(record(b))
        assert set(first.known) == {"a"}
        second.add(record(c, None))
    with Output(whole, Shard(1, 4)) as shard:
        assert {id: kept.caption for id, kept in shard.known.items()} == {"a": "new", "b": "a cube", "c": None}
    with Output(whole) as output:
        assert {id: kept.caption for id, kept in output.known.items()} == {"a": "new", "b": "a cube", "c": None}
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == ["captions.jsonl"]
    assert len(whole.read_text().splitlines()) == 3
    assert set(read_kept(whole, CAPTIONS)) == {"a", "b", "c"}


def test_a_shard_and_a_whole_run_exclude_each_other(tmp_path: Path) -> None:
    """The second of them is refused; two different shards run together."""
    whole = tmp_path / "captions.jsonl"
    with (
        Output(whole),
        pytest.raises(UsageError, match=r"'.*captions\.jsonl' is being written"),
        Output(whole, Shard(1, 2)),
    ):
        pass
    with Output(whole, Shard(1, 2)), Output(whole, Shard(2, 2)):
        with pytest.raises(UsageError, match=r"captions\.1-of-2\.jsonl' is being written"), Output(whole):
            pass
        with pytest.raises(UsageError, match=r"captions\.2-of-2\.jsonl' is being written"), Output(whole, Shard(2, 2)):
            pass
    assert list(tmp_path.glob(".*")) == []


def test_an_equal_record_is_not_written_again(tmp_path: Path) -> None:
    """A run with nothing to do leaves size, inode and time of the file unchanged."""
    (item,) = items_in(tmp_path, "a")
    with Output(tmp_path / "out.jsonl") as output:
        output.add(record(item, damaged=True, warnings=("cut",)))
        output.file.compact()
    before = (tmp_path / "out.jsonl").stat()
    with Output(tmp_path / "out.jsonl") as output:
        output.add(record(item, damaged=True, warnings=("cut",)))
        output.file.compact()
    after = (tmp_path / "out.jsonl").stat()
    assert (after.st_size, after.st_ino, after.st_mtime_ns) == (before.st_size, before.st_ino, before.st_mtime_ns)
