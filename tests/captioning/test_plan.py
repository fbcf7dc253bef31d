"""Plans, keys and shards: which videos are captioned again, and by which shard."""

import os
from collections import Counter
from pathlib import Path

import pytest

from dycoke_cli.captioning.item import Identity, Item
from dycoke_cli.captioning.job import Recipe
from dycoke_cli.captioning.plan import plan_of
from dycoke_cli.captioning.shard import Shard
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.models import checkpoints
from tests.captioning.made import RECIPE, items_in, record

DEMO = checkpoints.locate("demo")


def digest(questions: tuple[str, ...] = ("what?",), **settings: object) -> str:
    return Recipe.of(DEMO, Settings(model="demo", **settings), questions).digest  # type: ignore[arg-type]


def test_the_key_depends_on_what_the_caption_depends_on() -> None:
    """Prompt, frames, method, options, answer settings; not device, timeout, or how 0.7 is written."""
    changed = [
        digest(("what else?",)), digest(("what?", "who?")), digest(frames=4), digest(fps=1.0), digest(end="3"),
        digest(method="full"), digest(options={"k": "0.5"}), digest(retain=0.5), digest(max_new_tokens=9),
        digest(temperature=0.5), digest(decoder="pyav"), digest(dtype="bfloat16"),
    ]  # fmt: skip
    assert len({digest(), *changed}) == len(changed) + 1
    assert digest(device="cpu", video_timeout=7.0) == digest()
    assert digest(options={"k": "0.70"}) == digest(options={"k": ".7"})


def test_valid_records_are_kept_and_changed_videos_captioned_again(tmp_path: Path) -> None:
    """Depends on the file's content and the recipe; failures are tried again only with retry_errors."""
    same, touched, other, failed, new = items_in(tmp_path, "same", "touched", "other", "failed", "new")
    known = {item.id: record(item) for item in (same, touched, other)} | {failed.id: record(failed, None)}
    (tmp_path / "other").write_text("something else")
    os.utime(tmp_path / "touched", (1, 1))
    items = [same, touched, other, failed, new]
    plan = plan_of(items, known, RECIPE)
    assert (plan.todo, plan.changed) == ((other, new), 1)
    assert [(kept.id, kept.reason) for kept in plan.kept] == [
        ("same", None), ("touched", None), ("failed", "no_frames")
    ]  # fmt: skip
    assert plan_of(items, known, RECIPE, retry_errors=True).todo == (other, failed, new)
    assert plan_of(items, known, RECIPE, overwrite=True).todo == tuple(items)
    assert plan_of(items, known, Recipe("another prompt")).todo == tuple(items)
    limited = plan_of(items, known, RECIPE, limit=1)
    assert (limited.todo, limited.put_off) == ((other,), 1)


def test_a_folder_that_moved_keeps_its_captions(tmp_path: Path) -> None:
    """Records are found by id, and get the present paths of their videos."""
    (old,) = items_in(tmp_path / "old", "a.mp4")
    kept = record(old)
    os.rename(tmp_path / "old", tmp_path / "new")
    plan = plan_of([Item(old.id, str(tmp_path / "new" / "a.mp4"))], {old.id: kept}, RECIPE)
    assert [again.path for again in plan.kept] == [str(tmp_path / "new" / "a.mp4")]


def test_a_file_that_is_as_it_was_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of known size and time is not read again."""
    (item,) = items_in(tmp_path, "a")
    known = Identity.of(item.path)
    monkeypatch.setattr("dycoke_cli.captioning.item.file_fingerprint", lambda path: pytest.fail("was read"))
    assert Identity.of(item.path, known) is known


def test_shards_partition_the_videos() -> None:
    """Each video belongs to exactly one shard, by its id; shards are of similar size."""
    items = [Item(f"folder/{number}.mp4", "") for number in range(1000)]
    for count in (1, 3, 8):
        held = [[item for item in items if Shard(number, count).holds(item)] for number in range(1, count + 1)]
        assert Counter(item for share in held for item in share) == Counter(items)
        assert min(map(len, held)) > 0.7 * 1000 / count
    few = [item for item in items if Shard(1, 3).holds(item)][:5]
    assert all(Shard(1, 3).holds(item) for item in few)


def test_shards_come_from_slurm() -> None:
    """Arrays may have any first index and step; one with gaps is refused."""
    names = ("ID", "COUNT", "MIN", "STEP")

    def of(*values: int) -> Shard | None:
        return Shard.from_slurm({f"SLURM_ARRAY_TASK_{name}": str(v) for name, v in zip(names, values, strict=False)})

    assert [of(task, 4, 0, 1) for task in range(4)] == [Shard(number, 4) for number in range(1, 5)]
    assert [of(task, 3, 10, 5) for task in (10, 15, 20)] == [Shard(1, 3), Shard(2, 3), Shard(3, 3)]
    assert of(2, 4) == Shard(3, 4)
    assert of() is None
    with pytest.raises(UsageError, match="gaps"):
        of(9, 3, 1, 1)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2"])
def test_an_invalid_shard(text: str) -> None:
    """Raises UsageError naming the option."""
    with pytest.raises(UsageError, match="--shard is"):
        Shard.parse(text)
