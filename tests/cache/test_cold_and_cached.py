"""Every command with an empty cache and with a filled one: output differs in measured values only."""

import inspect
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dycoke_cli.cache.entry import Entry
from dycoke_cli.cache.store import open_cache
from dycoke_cli.cli.app import run
from dycoke_cli.cli.ask import ask_command
from dycoke_cli.cli.chat_commands import HELP
from dycoke_cli.cli.options import SETTINGS
from dycoke_cli.config.settings import Settings
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.registry import METHODS
from dycoke_cli.models import checkpoints
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session import chat as chat_module
from dycoke_cli.session import pipeline
from dycoke_cli.session.ask import ask as ask_in_python
from dycoke_cli.session.load import load_model
from dycoke_cli.session.pipeline import opening_video
from dycoke_cli.session.session import Session
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.reader import VideoReader

ROOT = Path(__file__).parents[2]
CUBE = str(ROOT / "sample_videos" / "cube.mp4")
MEDIA = ROOT / "tests" / "media"
CLIP = str(MEDIA / "h264_cfr.mp4")
QUESTION = "what colour is the cube?"
QUICK = ["--model", "demo", "--max-new-tokens", "4"]
LAYOUT = ("dtype", "newline", "pooling", "row_newlines")  # the settings that determine the loaded model
# Keys whose values may differ on a hit: times, peak memory, and the source of the features.
TIMES = {"time_s", "load_s", "timeline", "startup", "made"}
PEAKS = {"peak", "peak_above_weights", "peak_above_weights_ratio"}
MEASURED = frozenset(TIMES | PEAKS | {"features"})
# Further measured keys of commands over many videos or methods.
RATES = MEASURED | {"seconds", "elapsed_s", "per_minute"} | {
    f"speedup_{part}" for part in ("total", "first_token", "prefill", "decode", "model")
}  # fmt: skip
FLAGS = [
    "--preset fast",
    "--preset paper",
    "--preset faithful",
    "--option k=0.4 --option p=0.5 --option l=2 --retain 0.5",
    "--device cpu --dtype bfloat16",
    "--newline grid --row-newlines all --memory ignore",
    "--newline frame",
    "--pooling average --repetition-penalty 1.5",
    "--fps 1 --max-frames 3",
    "--start 0:01 --end 3.5 --max-new-tokens 1",
    "--sample index --decoder pyav --video-timeout 60",
    "--frames 1",
    "--temperature 1 --top-p 0.9 --seed 3 --cache-size 0.1",
]
# Settings that are tested elsewhere, or are not available on every machine.
ELSEWHERE = {"quantize", "device_map", "compile", "cache", "model", "method"}
STAGES = [
    *METHODS,
    "vidcom2+dynamic",
    "visionzip+fastv",
    "dycoke --option variant=official",
    "dycoke --option select=once --option positions=original",
]
VIDEOS = {
    "damaged": "cut60_faststart.mp4",
    "rotated": "rot90.mp4",
    "edited": "editlist_trim.mp4",
    "gap": "vfr_gap.mp4",
    "stream": "h264.ts",
    "picture": "anim.gif",
    "one": "one_frame.mp4",
}

Files = dict[str, Any]
Command = Callable[..., tuple[str, str, Files]]


def differences(ours: Any, theirs: Any, ignored: frozenset[str] = MEASURED, key: str = "") -> list[str]:
    """Return one line per difference between two records, without comparing values of the `ignored` keys."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return [f"{key} has {sorted(ours.keys() ^ theirs.keys())} on one side"]
        pairs = {name: (ours[name], theirs[name]) for name in sorted(ours.keys() - ignored)}
        return [line for name, pair in pairs.items() for line in differences(*pair, ignored, f"{key}.{name}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        rows = enumerate(zip(ours, theirs, strict=True))
        return [line for number, pair in rows for line in differences(*pair, ignored, f"{key}[{number}]")]
    return [] if ours == theirs else [f"{key}: {str(ours)[:200]} and {str(theirs)[:200]}"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, readers: dict[str, VideoReader]) -> None:
    """Run each test in an empty folder, without user configuration, with shared decoders and models."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for module in (pipeline, chat_module):
        monkeypatch.setattr(module, "VideoReader", lambda decoder, timeout_s: nullcontext(readers[decoder]))

    def load(checkpoint: object, settings: Settings, *_: object) -> Llava:
        return demo(*(getattr(settings, key) for key in LAYOUT))

    monkeypatch.setattr(pipeline, "load_model", load)


@cache
def demo(*layout: str | None) -> Llava:
    """Load the demo once per layout."""
    return load_model(checkpoints.locate("demo"), Settings(**dict(zip(LAYOUT, layout, strict=True))))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command -> stdout, stderr, files written to the working folder (then deleted)."""

    def run_command(*words: str, code: int = 0) -> tuple[str, str, Files]:
        given = run(list(words))
        out, err = capsys.readouterr()
        assert given == code, err
        written = {path.name: content(path) for path in sorted(Path().iterdir()) if path.is_file()}
        for name in written:
            Path(name).unlink()
        return out, err, written

    return run_command


def content(path: Path) -> Any:
    """Parse a file that a command wrote: JSON, JSON lines, a report (page and its data), or text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        around = re.split(r'(?<=<script type="application/json" id="data">)(.*?)(?=</script>)', text)
        return [around[0], json.loads(around[1]), around[2]]
    if path.suffix == ".jsonl":
        return sorted((json.loads(line) for line in text.splitlines()), key=lambda record: str(record.get("id")))
    return json.loads(text) if path.suffix == ".json" else text


@pytest.fixture
def from_cache(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Return a context manager in which decoding and encoding fail the test."""

    @contextmanager
    def block() -> Iterator[None]:
        with monkeypatch.context() as patched:
            patched.setattr(VideoReader, "submit", lambda *_, **__: pytest.fail("decoded"))
            patched.setattr(Llava, "encode", lambda *_, **__: pytest.fail("encoded"))
            yield

    return block


@pytest.fixture(scope="module")
def salient_entries() -> list[Path]:
    """Cache files with saliency; empty until a test has made them."""
    return []


def ask(command: Command, video: str, words: str = "", questions: tuple[str, ...] = (QUESTION,)) -> tuple[Any, ...]:
    """Run `ask` with --json, --trace and --report -> record, stderr, files."""
    given = shlex.split(words)
    frames = [] if {"--frames", "--fps"} & set(given) else ["--frames", "5"]
    outputs = ["--json", "--trace", "t.json", "--report", "r.html"]
    out, err, files = command("ask", *QUICK, *frames, *given, *outputs, video, *questions)
    return json.loads(out), err, files


def assert_equal_runs(cold: Any, hit: Any) -> None:
    """Assert that two results of `ask`, computed and from the cache, differ in measured values only."""
    assert (cold[0]["features"], hit[0]["features"]) == ("computed", "cache")
    assert differences(list(hit), list(cold)) == []
    assert cold[2].keys() == {"t.json", "r.html"}
    for ours, theirs in zip(hit[0]["answers"], cold[0]["answers"], strict=True):
        assert ours["time_s"].keys() == theirs["time_s"].keys()
        assert all(took is None or took >= 0 for took in ours["time_s"].values())
    assert {span["name"] for span in hit[0]["timeline"]} == {span["name"] for span in cold[0]["timeline"]}


def test_every_setting_of_ask_is_covered() -> None:
    """Every setting of `ask` is in FLAGS or ELSEWHERE: one missing from the cache key would return wrong tokens."""
    tried = " ".join(FLAGS)
    flags = {name: f"--{name.replace('_', '-')} " for name in SETTINGS} | {"options": "--option "}
    assert SETTINGS.keys() <= inspect.signature(ask_command).parameters.keys()
    assert {name for name, flag in flags.items() if flag not in tried} == ELSEWHERE


@pytest.mark.parametrize("words", FLAGS)
def test_ask_with_each_flag(folder: Path, command: Command, from_cache: Callable[[], Any], words: str) -> None:
    """With each flag, record, trace, report and notices of a hit equal those of the first run."""
    cold = ask(command, CLIP, words)
    with from_cache():
        assert_equal_runs(cold, ask(command, CLIP, words))


@pytest.mark.parametrize("words", STAGES)
def test_ask_with_each_method(
    folder: Path, command: Command, from_cache: Callable[[], Any], salient_entries: list[Path], words: str
) -> None:
    """With each method, a hit on its own entry and a hit on an entry with saliency equal the first run."""
    cold = ask(command, CLIP, f"--method {words}")
    with from_cache():
        assert_equal_runs(cold, ask(command, CLIP, f"--method {words}"))
    for path in folder.iterdir():
        path.unlink()
    if not salient_entries:
        ask(command, CLIP, "--method visionzip")
        salient_entries += [Path(shutil.copy(path, folder.with_name(path.name))) for path in folder.iterdir()]
    for path in salient_entries:
        shutil.copy(path, folder)
    with from_cache():
        assert_equal_runs(cold, ask(command, CLIP, f"--method {words}"))


@pytest.mark.parametrize("name", VIDEOS.values(), ids=VIDEOS.keys())
def test_ask_about_each_kind_of_video(folder: Path, command: Command, from_cache: Callable[[], Any], name: str) -> None:
    """A hit reports the same video info, damage and warnings as the first run."""
    cold = ask(command, str(MEDIA / name))
    with from_cache():
        assert_equal_runs(cold, ask(command, str(MEDIA / name)))


def test_ask_about_a_folder_of_pictures(folder: Path, command: Command, from_cache: Callable[[], Any]) -> None:
    """A folder of pictures with --fps hits as well."""
    pictures = folder.with_name("pictures")
    pictures.mkdir()
    for place in range(6):
        Image.new("RGB", (64, 48), (40 * place, 0, 90)).save(pictures / f"{place}.png")
    cold = ask(command, str(pictures), "--fps 4 --frames 5")
    with from_cache():
        assert_equal_runs(cold, ask(command, str(pictures), "--fps 4 --frames 5"))


def test_ask_several_questions(folder: Path, command: Command, from_cache: Callable[[], Any]) -> None:
    """Several questions hit, with a shared prefill (dycoke) and with one prefill per question (fastv)."""
    for method in ("dycoke", "fastv"):
        words = f"--method {method} --frames {4 + len(method)}"
        cold = ask(command, CUBE, words, (QUESTION, "describe the video."))
        with from_cache():
            assert_equal_runs(cold, ask(command, CUBE, words, (QUESTION, "describe the video.")))
        assert len(cold[0]["answers"]) == 2


def test_no_cache_equals_empty_cache(folder: Path, command: Command) -> None:
    """Encoding by windows (--no-cache) and all frames at once (empty cache) return the same."""
    words = "--frames 20"
    record, err, files = ask(command, CLIP, words)
    without = ask(command, CLIP, f"{words} --no-cache")
    files["r.html"][1]["settings"]["cache"] = "False"
    assert differences(list(without), [record, err, files]) == []


def test_ask_with_stats_panel(folder: Path, command: Command, from_cache: Callable[[], Any]) -> None:
    """A hit prints the same text and unmeasured panel rows, and one more line about the cache."""
    words = ["ask", *QUICK, "--frames", "5", CLIP, QUESTION, "--stats"]
    out, panel, _ = command(*words)
    with from_cache():
        assert command(*words)[0] == out
        hit = command(*words)[1]
    measured = re.compile(r"video decoding|vision|prefill|first token|per token|total|peak|came from the cache|Reading")
    cold_rows, hit_rows = ([line for line in text.splitlines() if not measured.search(line)] for text in (panel, hit))
    assert hit_rows == cold_rows
    assert len(cold_rows) > 8
    assert "came from the cache" in hit
    assert "came from the cache" not in panel


def test_baseline_bypasses_the_cache(folder: Path, command: Command) -> None:
    """--baseline neither reads nor writes the cache, and its answers equal those of a plain run."""
    cold = ask(command, CLIP, "--baseline")
    assert list(folder.iterdir()) == []
    plain = ask(command, CLIP)
    again = ask(command, CLIP, "--baseline")
    assert (cold[0]["features"], plain[0]["features"], again[0]["features"]) == ("computed", "computed", "computed")
    assert differences(list(again), list(cold)) == []
    assert differences(again[0]["answers"], plain[0]["answers"]) == []


CHAT_LINES = [
    QUESTION, "/trace t.json", "/report r.html", "what shape is it?", "/method full", QUESTION, "/method", "/frames",
    "/method visionzip:retain=0.5", QUESTION, "/report r.html", "/frames 3", "and now?", "/clear", "/help",
    "/method vidcom2+dynamic", QUESTION, "/save talk.md", "/report r.html", "/trace off", QUESTION, "/trace on",
    "/quit",
]  # fmt: skip


@pytest.fixture
def run_chat(monkeypatch: pytest.MonkeyPatch, command: Command) -> Callable[..., tuple[str, str, Files]]:
    """Return a function that runs a chat with lines on stdin."""

    def run_with_lines(video: str, *words: str, lines: list[str] = CHAT_LINES) -> tuple[str, str, Files]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return command("chat", *QUICK, "--frames", "5", *words, video)

    return run_with_lines


@pytest.mark.parametrize("video", [CLIP, str(MEDIA / "cut60_faststart.mp4")], ids=["whole", "damaged"])
def test_chat_with_each_of_its_commands(
    folder: Path, run_chat: Command, from_cache: Callable[[], Any], video: str
) -> None:
    """A chat that uses every command prints and writes the same on a hit."""
    assert {name for name in HELP if not any(line.startswith(name) for line in CHAT_LINES)} == set()
    cold = run_chat(video)
    with from_cache():
        hit = run_chat(video)
    assert differences(list(hit), list(cold)) == []
    assert cold[2].keys() == {"r.html", "t.json", "talk.md"}


def test_ask_and_chat_share_entries(
    folder: Path, command: Command, run_chat: Command, from_cache: Callable[[], Any]
) -> None:
    """`ask` hits on an entry that `chat` saved and the reverse, with the same answers."""
    asked, chatted = ask(command, CLIP), run_chat(CUBE, lines=[QUESTION, "/save t.md"])
    with from_cache():
        hit = run_chat(CLIP, lines=[QUESTION])
        assert hit[0].strip() == asked[0]["answers"][0]["answer"]
        assert ask(command, CUBE)[0]["answers"][0]["answer"] == chatted[0].strip()


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with two clips and a file of questions about them."""
    path = tmp_path / "videos"
    path.mkdir()
    lines = []
    for video in (CLIP, CUBE):
        shutil.copy(video, path)
        item = {"video": Path(video).name, "question": QUESTION, "answer": "red", "type": "colour"}
        lines.append(json.dumps(item) + "\n")
    (path / "q.jsonl").write_text("".join(lines))
    return path


OTHER_COMMANDS = {
    "compare": ["compare", CLIP, QUESTION, "--baseline", "--sweep", "k=0.3", "--repeat", "1", "--report", "r.html"],
    "eval": ["eval", "../videos/q.jsonl", "--baseline", "--output", "a.jsonl"],
    "caption": ["caption", "../videos", "--output", "c.jsonl", "--sidecar"],
    "questions": ["caption", "../videos", "--output", "c.jsonl", "--questions", "../videos/q.jsonl"],
}


@pytest.mark.parametrize("words", OTHER_COMMANDS.values(), ids=OTHER_COMMANDS.keys())
def test_other_commands_bypass_the_cache(
    folder: Path, command: Command, videos: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """compare, eval and caption neither read nor write the cache."""
    words = [*words, *QUICK, "--frames", "5", "--json"]
    out, err, files = command(*words)
    assert list(folder.iterdir()) == []
    ask(command, CLIP)
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(Entry, "at", lambda *_: pytest.fail("the cache was read"))
    again = command(*words)
    assert differences([json.loads(again[0]), *again[1:]], [json.loads(out), err, files], RATES) == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == kept


def test_callbacks_of_ask_in_python(folder: Path, from_cache: Callable[[], Any]) -> None:
    """A hit passes the same notices, questions, pieces and answers to the callbacks, in the same order."""

    def record_callbacks() -> tuple[str, list[tuple[str, str]]]:
        events: list[tuple[str, str]] = []
        kinds = ("notice", "question", "text", "answered")
        callbacks = Callbacks(**{kind: lambda line, kind=kind: events.append((kind, line)) for kind in kinds})
        settings = Settings(model="demo", frames=5, max_new_tokens=4)
        questions = [QUESTION, "describe the video."]
        return ask_in_python(
            str(MEDIA / "cut60_faststart.mp4"), questions, settings, callbacks=callbacks
        ).features, events

    cold = record_callbacks()
    with from_cache():
        assert record_callbacks() == ("cache", cold[1])
    assert {kind for kind, _ in cold[1]} == {"notice", "question", "text", "answered"}


def test_a_session_in_python(folder: Path, from_cache: Callable[[], Any]) -> None:
    """A warmed-up session with a trace and with saliency returns the same on a hit."""
    settings = Settings(model="demo", frames=5, max_new_tokens=4)

    def answers() -> tuple[bool, Any]:
        method = make_method("visionzip+dynamic", {})
        with opening_video(CLIP, settings, Callbacks(), lambda: [method], open_cache(settings)) as opened:
            session = Session(opened.model, opened.video, method, settings)
            session.warm_up()
            found = [asdict(answer) for answer in session.answers([QUESTION], Callbacks(), trace=True)]
            encoded = session.encode(Callbacks(), saliency=True)
            opened.video.save(pytest.fail)
            kept = [encoded.features.tolist(), encoded.saliency.tolist()]  # type: ignore[union-attr]
            return opened.video.features == "cache", [found, kept]

    cold = answers()
    with from_cache():
        hit = answers()
    assert (cold[0], hit[0]) == (False, True)
    assert differences(hit[1], cold[1]) == []
