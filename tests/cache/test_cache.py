"""The cache of encoded videos: hits skip decoder and vision tower and return the same answers."""

import dataclasses
import json
import os
import shutil
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from dycoke_cli.cache import content_key
from dycoke_cli.cache.entry import Entry
from dycoke_cli.cache.store import Cache, open_cache
from dycoke_cli.config.settings import Settings
from dycoke_cli.display.records import ask_record
from dycoke_cli.display.report import ask_runs, write_report
from dycoke_cli.errors import VideoError
from dycoke_cli.models import checkpoints
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session import pipeline
from dycoke_cli.session.ask import Outcome, ask
from dycoke_cli.session.load import load_model
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.reader import VideoReader
from tests.video.clips import clip

SETTINGS = Settings(model="demo", frames=8, max_new_tokens=4)
QUESTION = ["what colour is the cube?"]


class Counter:
    """Counts of decoding requests and of encoded chunks."""

    def __init__(self) -> None:
        self.decoded = self.encoded = 0

    @property
    def counts(self) -> tuple[int, int]:
        return self.decoded, self.encoded


@pytest.fixture(autouse=True)
def shared_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the model once per pooling, to save time."""
    monkeypatch.setattr(pipeline, "load_model", lambda checkpoint, settings, *_: demo(settings.pooling))


@pytest.fixture(autouse=True)
def shared_readers(readers: dict[str, VideoReader], monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in the shared processes, to save time."""
    monkeypatch.setattr(pipeline, "VideoReader", lambda decoder, timeout_s: nullcontext(readers[decoder]))


@cache
def demo(pooling: str | None) -> Llava:
    return load_model(checkpoints.locate("demo"), SETTINGS.model_copy(update={"pooling": pooling}))


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Count decoding and encoding from here on."""
    counter, submit, encode = Counter(), VideoReader.submit, Llava.encode_chunk

    def counted_submit(self: VideoReader, *arguments: Any, **options: Any) -> Any:
        counter.decoded += 1
        return submit(self, *arguments, **options)

    def counted_encode(self: Llava, *arguments: Any) -> Any:
        counter.encoded += 1
        return encode(self, *arguments)

    monkeypatch.setattr(VideoReader, "submit", counted_submit)
    monkeypatch.setattr(Llava, "encode_chunk", counted_encode)
    return counter


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return Path(shutil.copy(clip("h264_cfr.mp4"), tmp_path / "v.mp4"))


def run(video: Path, settings: Settings = SETTINGS, **options: Any) -> Outcome:
    return ask(str(video), QUESTION, settings, **options)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.safetensors"))


def test_hit_skips_decoding_and_encoding(folder: Path, counter: Counter, video: Path) -> None:
    """A hit returns the same answer, counts, steps, frames and video info in less time; `features` is "cache"."""
    first = run(video)
    once = counter.counts
    assert once[0] == 1 <= once[1]
    second = run(video)
    assert counter.counts == once
    assert (first.features, second.features) == ("computed", "cache")
    ours, theirs = second.answers[0], first.answers[0]
    assert (ours.answer, ours.tokens, ours.steps) == (theirs.answer, theirs.tokens, theirs.steps)
    assert (second.frames.indices, second.frames.seconds, second.frames.info) == (
        first.frames.indices, first.frames.seconds, first.frames.info
    )  # fmt: skip
    assert second.frames.pixels.shape == first.frames.pixels.shape
    assert 0 < ours.time_s.decode_video < theirs.time_s.decode_video
    assert (ours.time_s.vision or 0) < (theirs.time_s.vision or 0)
    assert ask_record(second)["features"] == "cache"
    assert {span.name for span in second.timeline} >= {"decode_video", "prefill"}


def test_settings_that_hit_or_miss(folder: Path, counter: Counter, video: Path) -> None:
    """Another method, option or answer length hits; other frames, window, model settings, decoder or video miss."""
    run(video)
    begun = counter.decoded
    for same in ({"method": "full"}, {"max_new_tokens": 2}, {"options": {"k": "0.3"}}, {"cache_size": 3.0}):
        assert run(video, SETTINGS.model_copy(update=same)).features == "cache"
    assert counter.decoded == begun
    for other in ({"frames": 4}, {"start": "0.1"}, {"sample": "index"}, {"pooling": "average"}, {"decoder": "pyav"}):
        assert run(video, SETTINGS.model_copy(update=other)).features == "computed"
    assert run(clip("one_frame.mp4")).features == "computed"


def test_saliency_is_computed_for_methods_that_need_it(folder: Path, counter: Counter, video: Path) -> None:
    """An entry without saliency misses for a method that needs it; an entry with saliency hits for every method."""
    run(video)
    salient = SETTINGS.model_copy(update={"method": "visionzip"})
    first = run(video, salient)
    assert first.features == "computed"
    before = counter.counts
    second = run(video, salient)
    assert (second.features, second.answers[0].steps) == ("cache", first.answers[0].steps)
    assert run(video).features == "cache"
    assert counter.counts == before


def test_key_depends_on_content_and_not_on_path(folder: Path, video: Path) -> None:
    """A copy of the file hits; another video at the same path misses."""
    run(video)
    copy = video.with_name("copy.mp4")
    shutil.copy(video, copy)
    assert run(copy).features == "cache"
    shutil.copy(clip("two_frames.mp4"), copy)
    assert run(copy).features == "computed"


def test_large_file_is_hashed_once(folder: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is hashed after the answer, and not again while size, date and both ends are unchanged."""
    monkeypatch.setattr(content_key, "HASHED_BEFORE", 10)
    run(video)
    index = content_key.ContentIndex(folder)
    known = index.of(str(video))
    assert known is not None
    assert run(video).features == "cache"
    other = tmp_path / "other.mp4"
    shutil.copy(clip("two_frames.mp4"), other)
    assert index.of(str(other)) is None
    assert index.of(str(other), whole=True) not in (None, known)


@pytest.mark.parametrize("damage", ["torn", "foreign", "empty", "older", "gone"])
def test_a_damaged_entry_is_ignored_and_replaced(folder: Path, video: Path, damage: str) -> None:
    """With a damaged entry the video is decoded and the entry written again."""
    first = run(video)
    (path,) = files(folder)
    whole = path.read_bytes()
    assert b'format\\": 1' in whole
    older = whole.replace(b'format\\": 1', b'format\\": 0')
    path.write_bytes({"torn": whole[:-100], "foreign": b"PK" * 99, "older": older}.get(damage, b""))
    if damage == "gone":
        path.unlink()
    again = run(video)
    assert (again.features, again.answers[0].steps) == ("computed", first.answers[0].steps)
    assert run(video).features == "cache"


def test_entry_deleted_before_reading_is_a_miss(folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that another process deletes between look-up and reading is a miss."""
    run(video)
    monkeypatch.setattr(Entry, "load", lambda self, path, decode: None)
    assert run(video).features == "computed"


@pytest.mark.parametrize("large", [False, True])
def test_video_replaced_during_the_run_is_not_saved(
    folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Tokens of a file that was replaced during the run are not saved: their key would be that of the new file."""
    if large:
        monkeypatch.setattr(content_key, "HASHED_BEFORE", 10)
    replaced = Callbacks(answered=lambda text: shutil.copy(clip("two_frames.mp4"), video))
    assert run(video, callbacks=replaced).answers
    assert files(folder) == []
    assert run(video).features == "computed"
    assert run(video).features == "cache"


def test_baseline_and_no_cache_bypass_the_cache(folder: Path, counter: Counter, video: Path) -> None:
    """--baseline and --no-cache neither read nor write the cache."""
    run(video, baseline=True)
    run(video, SETTINGS.model_copy(update={"cache": False}))
    assert files(folder) == []
    run(video)
    assert run(video, baseline=True).features == "computed"
    assert run(video, SETTINGS.model_copy(update={"cache": False})).features == "computed"


def test_failed_write_is_a_notice(folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write is reported in a notice with the folder and the reason."""

    def raise_no_space(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dycoke_cli.cache.lookup.write_entry", raise_no_space)
    notices: list[str] = []
    assert run(video, callbacks=Callbacks(notice=notices.append)).answers
    assert [line for line in notices if "No space left on device" in line and str(folder) in line]
    assert files(folder) == []


def test_least_recently_used_entries_are_deleted(folder: Path, tmp_path: Path) -> None:
    """Down to the limit, the least recently used entries are deleted, and stale partly written files with them."""
    store = Cache(folder, 0)
    for number in range(4):
        run(
            Path(clip("one_frame.mp4")),
            SETTINGS.model_copy(update={"max_frames": number + 1, "fps": 1.0, "frames": None}),
        )
    paths = files(folder)
    assert len(paths) == 4
    for age, path in enumerate(paths):
        os.utime(path, (1e9 - age, 1e9 - age))
    (folder / ".half-x.safetensors").write_text("")
    os.utime(folder / ".half-x.safetensors", (1, 1))
    size = paths[0].stat().st_size
    store.limit = 2 * size + size // 2
    assert store.make_room() == 2
    assert files(folder) == paths[:2]
    assert not list(folder.glob(".half*"))
    size_of_rest = sum(path.stat().st_size for path in paths[:2])
    assert store.clear() == (2, size_of_rest)
    assert list(folder.iterdir()) == []


def test_video_above_the_limit_is_not_saved(folder: Path, video: Path) -> None:
    """A video above the limit is not saved, and no other entry is deleted for it."""
    run(video)
    before = files(folder)
    run(video, SETTINGS.model_copy(update={"frames": 4, "cache_size": 0.0}))
    assert files(folder) == before


def test_contents_of_an_entry(folder: Path, video: Path) -> None:
    """An entry contains path, model, token indices, saliency and thumbnails of at most 240 pixels a side."""
    run(video, SETTINGS.model_copy(update={"method": "visionzip"}))
    (path,) = files(folder)
    entry = Entry.at(path)
    assert entry is not None
    assert (entry.head["path"], entry.head["model"]) == (str(video), "demo")
    assert json.dumps(entry.head)
    loaded = entry.load(str(video), lambda: pytest.fail("pixels were decoded"))
    assert loaded is not None
    tokens, frames = loaded
    again = dataclasses.replace(tokens, features=tokens.features.clone())
    assert torch.equal(again.index, torch.arange(tokens.grid.total))
    assert tokens.saliency is not None
    assert max(frames.thumbnail(0).shape) <= 240
    assert open_cache(SETTINGS.model_copy(update={"cache": False})) is None


def test_report_after_a_hit_contains_the_same_pictures(
    folder: Path, counter: Counter, video: Path, tmp_path: Path
) -> None:
    """A report after a hit decodes nothing and contains the same thumbnails (it once raised a TypeError)."""
    pages = []
    for turn in ("computed", "cache"):
        outcome = run(video, trace=True)
        assert outcome.features == turn
        page = tmp_path / f"{turn}.html"
        write_report(page, ask_runs(outcome), outcome.frames, outcome.model, {}, "")
        pages.append([outcome.frames.thumbnail(place).tobytes() for place in range(len(outcome.frames))])
        assert page.stat().st_size > 10_000
    assert counter.decoded == 1
    assert pages[0] == pages[1]


def test_pixels_are_decoded_on_use_after_a_hit(folder: Path, counter: Counter, video: Path) -> None:
    """Indexing the pixels after a hit decodes the file."""
    cold, hit = run(video), run(video)
    assert hit.features == "cache"
    assert (hit.frames.pixels[2:4] == cold.frames.pixels[2:4]).all()


def test_hit_reports_the_requested_path(folder: Path, video: Path, tmp_path: Path) -> None:
    """A hit reports the path of the requested file (it once reported that of the first copy)."""
    copy = shutil.copy(video, tmp_path / "copy.mp4")
    cold, hit = run(video), run(Path(copy))
    assert hit.features == "cache"
    assert (cold.frames.info.path, hit.frames.info.path) == (str(video), str(copy))
    assert dataclasses.replace(hit.frames.info, path=str(video)) == cold.frames.info


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_without_a_writer_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    """A pipe is refused before it is fingerprinted: opening a pipe without a writer blocks."""
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    with pytest.raises(VideoError, match="is a pipe"):
        run(pipe)
