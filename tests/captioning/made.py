"""Records, jobs and items for tests."""

from pathlib import Path

from dycoke_cli.captioning.item import Identity, Item
from dycoke_cli.captioning.job import Job, Recipe
from dycoke_cli.captioning.record import Record, Reply, Spent
from dycoke_cli.config.settings import Settings

RECIPE = Recipe("a digest")


def job(batch: int | None = 4, decoders: int = 2, **settings: object) -> Job:
    """Return a job for the demo model."""
    made = Settings(model="demo", frames=2, max_new_tokens=6, **settings)  # type: ignore[arg-type]
    return Job(made, ("describe the video.",), True, RECIPE, 16, batch, decoders)


def record(item: Item, caption: str | None = "a cube", **values: object) -> Record:
    """Return the record of an item: a caption, or with None an error."""
    if caption is None:
        return Record.failed(item, RECIPE, "it is broken", "no_frames")
    video = Identity.of(item.path)
    key = RECIPE.key(video)
    reply = Reply("describe the video.", caption, "stop", 100, 48, 5)
    known = {"error": None, "reason": None, "seconds": 1.0, "key": key, "answers": (reply,), "frames": 2}
    more = {"damaged": False, "warnings": (), "batch": 1, "time_s": Spent(0.5, 0.25, 0.25), "video": video}
    return Record(item.id, item.path, caption, **{**known, **more, **values})  # type: ignore[arg-type]


def items_in(folder: Path, *names: str) -> list[Item]:
    """Write files that contain their own names, and return their items."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return [Item(name, str(folder / name)) for name in names]
