"""The same look at the same video is read from disk: same answer, no decoder, no vision tower."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
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
    """How often decoder and vision tower were asked."""

    def __init__(self) -> None:
        self.decoded = self.encoded = 0

    @property
    def counts(self) -> tuple[int, int]:
        return self.decoded, self.encoded


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is the same for all runs of a kind; loading it anew each time tests nothing here."""
    monkeypatch.setattr(pipeline, "load_model", lambda checkpoint, settings, *_: demo(settings.pooling))


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, VideoReader]]:
    """One for each decoder, whose process stays."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(VideoReader(name)) for name in ("auto", "pyav")}


@pytest.fixture(autouse=True)
def started_once(readers: dict[str, VideoReader], monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that decode are those of the runs before; starting them anew each time tests nothing here."""
    monkeypatch.setattr(pipeline, "VideoReader", lambda decoder, timeout_s: nullcontext(readers[decoder]))


@cache
def demo(pooling: str | None) -> Llava:
    return load_model(checkpoints.locate("demo"), SETTINGS.model_copy(update={"pooling": pooling}))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that lasts as long as the test."""
    path = tmp_path / "encoded"
    path.mkdir()
    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", lambda: path)
    return path


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Counts from here on."""
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


def test_the_second_ask_neither_decodes_nor_encodes(folder: Path, counter: Counter, video: Path) -> None:
    """Same answer, counts, steps, frames and facts; the record says where the features came from, and time is saved."""
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


def test_what_answers_share_and_what_they_do_not(folder: Path, counter: Counter, video: Path) -> None:
    """Another method or question is served; other frames, window, model settings or another video are not."""
    run(video)
    begun = counter.decoded
    for same in ({"method": "full"}, {"max_new_tokens": 2}, {"options": {"k": "0.3"}}, {"cache_size": 3.0}):
        assert run(video, SETTINGS.model_copy(update=same)).features == "cache"
    assert counter.decoded == begun
    for other in ({"frames": 4}, {"start": "0.1"}, {"sample": "index"}, {"pooling": "average"}, {"decoder": "pyav"}):
        assert run(video, SETTINGS.model_copy(update=other)).features == "computed"
    assert run(clip("one_frame.mp4")).features == "computed"


def test_a_method_that_needs_saliency_gets_it(folder: Path, counter: Counter, video: Path) -> None:
    """What was kept without it serves it not; what was kept with it serves everyone."""
    run(video)
    salient = SETTINGS.model_copy(update={"method": "visionzip"})
    first = run(video, salient)
    assert first.features == "computed"
    before = counter.counts
    second = run(video, salient)
    assert (second.features, second.answers[0].steps) == ("cache", first.answers[0].steps)
    assert run(video).features == "cache"
    assert counter.counts == before


def test_content_counts_and_not_the_name(folder: Path, video: Path) -> None:
    """A copy elsewhere is the same video; another one in its place is not."""
    run(video)
    copy = video.with_name("copy.mp4")
    shutil.copy(video, copy)
    assert run(copy).features == "cache"
    shutil.copy(clip("two_frames.mp4"), copy)
    assert run(copy).features == "computed"


def test_a_large_file_is_read_through_once(
    folder: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before the answer, and never again while size, date and ends are the same."""
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
    """Whatever lies there: the video is decoded, and the next ask finds it whole again."""
    wanted = run(video)
    (path,) = files(folder)
    whole = path.read_bytes()
    assert b'format\\": 1' in whole
    older = whole.replace(b'format\\": 1', b'format\\": 0')
    path.write_bytes({"torn": whole[:-100], "foreign": b"PK" * 99, "older": older}.get(damage, b""))
    if damage == "gone":
        path.unlink()
    again = run(video)
    assert (again.features, again.answers[0].steps) == ("computed", wanted.answers[0].steps)
    assert run(video).features == "cache"


def test_an_entry_that_vanishes_on_the_way_is_decoded(
    folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may make room between finding and reading."""
    run(video)
    monkeypatch.setattr(Entry, "load", lambda self, path, decode: None)
    assert run(video).features == "computed"


@pytest.mark.parametrize("large", [False, True])
def test_a_video_that_was_replaced_meanwhile_is_not_kept(
    folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """What was looked at is no longer there: under the name of what is there now it would be wrong for ever."""
    if large:
        monkeypatch.setattr(content_key, "HASHED_BEFORE", 10)
    replaced = Callbacks(answered=lambda text: shutil.copy(clip("two_frames.mp4"), video))
    assert run(video, callbacks=replaced).answers
    assert files(folder) == []
    assert run(video).features == "computed"
    assert run(video).features == "cache"


def test_measuring_runs_and_refusals_leave_it_alone(folder: Path, counter: Counter, video: Path) -> None:
    """--baseline measures, --no-cache wants none: nothing is read and nothing kept."""
    run(video, baseline=True)
    run(video, SETTINGS.model_copy(update={"cache": False}))
    assert files(folder) == []
    run(video)
    assert run(video, baseline=True).features == "computed"
    assert run(video, SETTINGS.model_copy(update={"cache": False})).features == "computed"


def test_a_folder_that_cannot_be_written_costs_no_answer(
    folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so."""

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dycoke_cli.cache.lookup.write_entry", full)
    notices: list[str] = []
    assert run(video, callbacks=Callbacks(notice=notices.append)).answers
    assert [line for line in notices if "No space left on device" in line and str(folder) in line]
    assert files(folder) == []


def test_what_was_not_used_for_longest_goes(folder: Path, tmp_path: Path) -> None:
    """Down to the limit, by last use and not by age; a half-written file of a process that is gone goes too."""
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
    left = sum(path.stat().st_size for path in paths[:2])
    assert store.clear() == (2, left)
    assert list(folder.iterdir()) == []


def test_a_video_larger_than_the_limit_is_not_kept(folder: Path, video: Path) -> None:
    """And nothing else goes for it."""
    run(video)
    before = files(folder)
    run(video, SETTINGS.model_copy(update={"frames": 4, "cache_size": 0.0}))
    assert files(folder) == before


def test_the_kept_tokens_are_the_same_to_the_bit(folder: Path, video: Path) -> None:
    """And the head tells what a person may want to know of it."""
    run(video, SETTINGS.model_copy(update={"method": "visionzip"}))
    (path,) = files(folder)
    entry = Entry.at(path)
    assert entry is not None
    assert (entry.head["path"], entry.head["model"]) == (str(video), "demo")
    assert json.dumps(entry.head)
    loaded = entry.load(str(video), lambda: pytest.fail("nobody wanted pixels"))
    assert loaded is not None
    tokens, frames = loaded
    again = dataclasses.replace(tokens, features=tokens.features.clone())
    assert torch.equal(again.index, torch.arange(tokens.grid.total))
    assert tokens.saliency is not None
    assert max(frames.thumbnail(0).shape) <= 240
    assert open_cache(SETTINGS.model_copy(update={"cache": False})) is None


def test_a_report_works_from_the_cache_and_shows_the_same_pictures(
    folder: Path, counter: Counter, video: Path, tmp_path: Path
) -> None:
    """It ended in a TypeError; nothing is decoded for it, and but for times both pages show the same frames."""
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


def test_pixels_are_there_after_a_hit(folder: Path, counter: Counter, video: Path) -> None:
    """Whoever takes a part of them has the file decoded then."""
    cold, hit = run(video), run(video)
    assert hit.features == "cache"
    assert (hit.frames.pixels[2:4] == cold.frames.pixels[2:4]).all()


def test_a_hit_tells_of_the_asked_file(folder: Path, video: Path, tmp_path: Path) -> None:
    """The path was that of the copy which was asked about first."""
    copy = shutil.copy(video, tmp_path / "copy.mp4")
    cold, hit = run(video), run(Path(copy))
    assert hit.features == "cache"
    assert (cold.frames.info.path, hit.frames.info.path) == (str(video), str(copy))
    assert dataclasses.replace(hit.frames.info, path=str(video)) == cold.frames.info


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_without_a_writer_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    """Its content was to be fingerprinted before anybody looked at what it is, and to open it is to wait for ever."""
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    with pytest.raises(VideoError, match="is a pipe"):
        run(pipe)
