"""Every command, once with an empty cache of encoded videos and once from it: the records may differ in times alone."""

import inspect
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dycoke_cli import chat as chat_module
from dycoke_cli import opening
from dycoke_cli.cli.app import run
from dycoke_cli.cli.ask import ask_command
from dycoke_cli.cli.chat_commands import HELP
from dycoke_cli.cli.options import SETTINGS
from dycoke_cli.encoded.cache import Cache
from dycoke_cli.families.llava import Llava
from dycoke_cli.methods import METHODS
from dycoke_cli.video.guard import VideoReader

ROOT = Path(__file__).parents[2]
CUBE, RING = (str(ROOT / "sample_videos" / name) for name in ("cube.mp4", "one_ring.mp4"))
MEDIA = ROOT / "tests" / "media"
QUESTION = "what colour is the cube?"
QUICK = ["--model", "demo", "--max-new-tokens", "4"]
# All that a hit may say otherwise: what it took, and where the features came from.
TIMES = {"time_s", "load_s", "timeline", "startup", "made"}
PEAKS = {"peak", "peak_above_weights"}
ORIGIN = {"features"}
FLAGS = [
    "--preset fast",
    "--preset paper",
    "--preset faithful",
    "--method full",
    "--option k=0.4 --option p=0.5 --option l=2",
    "--retain 0.5",
    "--device cpu --dtype bfloat16",
    "--memory ignore",
    "--newline grid --row-newlines all",
    "--newline frame",
    "--pooling average",
    "--fps 1 --max-frames 5",
    "--start 0:01 --end 3.5",
    "--sample index",
    "--decoder pyav --video-timeout 60",
    "--frames 20",
    "--frames 1",
    "--max-new-tokens 1",
    "--temperature 1 --top-p 0.9 --seed 3",
    "--repetition-penalty 1.5",
    "--cache-size 0.1",
]
# These change nothing here, or are not to be had on every machine.
ELSEWHERE = {"quantize", "device_map", "compile", "cache", "model"}
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


def differences(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Say where two records differ, but for the values of keys that may."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return [f"{place} has {sorted(ours.keys() ^ theirs.keys())} on one side"]
        alike = ours.keys() - TIMES - PEAKS - ORIGIN
        return [line for key in sorted(alike) for line in differences(ours[key], theirs[key], f"{place}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [line for number, pair in pairs for line in differences(*pair, f"{place}[{number}]")]
    return [] if ours == theirs else [f"{place}: {str(ours)[:200]} and {str(theirs)[:200]}"]


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, VideoReader]]:
    """One for each decoder, whose process stays: starting one takes a second."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(VideoReader(name)) for name in ("auto", "pyav")}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, readers: dict[str, VideoReader]) -> None:
    """A folder of its own, no configuration of whoever runs the tests, and decoders that are there already."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for module in (opening, chat_module):
        monkeypatch.setattr(module, "VideoReader", lambda decoder, timeout_s: nullcontext(readers[decoder]))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that lasts as long as the test."""
    path = tmp_path / "encoded"
    path.mkdir()
    monkeypatch.setattr("dycoke_cli.encoded.cache.cache_folder", lambda: path)
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command that writes into this folder -> stdout, stderr, and what it wrote, which is then gone."""

    def ran(*words: str, code: int = 0) -> tuple[str, str, Files]:
        given = run(list(words))
        out, err = capsys.readouterr()
        assert given == code, err
        written = {path.name: content(path) for path in sorted(Path().iterdir()) if path.is_file()}
        for name in written:
            Path(name).unlink()
        return out, err, written

    return ran


def content(path: Path) -> Any:
    """Read what a command wrote: JSON, JSON lines, the data of a report with the page around it, or text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        around = re.split(r'(?<=<script type="application/json" id="data">)(.*?)(?=</script>)', text)
        return [around[0], json.loads(around[1]), around[2]]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text) if path.suffix == ".json" else text


@pytest.fixture
def from_cache(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Makes a block in which neither decoder nor vision tower may run."""

    @contextmanager
    def block() -> Iterator[None]:
        with monkeypatch.context() as patched:
            patched.setattr(VideoReader, "submit", lambda *_, **__: pytest.fail("decoded"))
            patched.setattr(Llava, "encode", lambda *_, **__: pytest.fail("encoded"))
            yield

    return block


def ask(command: Command, video: str, words: str = "", questions: tuple[str, ...] = (QUESTION,)) -> tuple[Any, ...]:
    """Run `ask` with all that it can write -> record, stderr, files."""
    given = shlex.split(words)
    frames = [] if {"--frames", "--fps"} & set(given) else ["--frames", "6"]
    wanted = ["--json", "--trace", "t.json", "--report", "r.html"]
    out, err, files = command("ask", *QUICK, *frames, *given, *wanted, video, *questions)
    return json.loads(out), err, files


def hold_against_each_other(cold: Any, hit: Any) -> None:
    """Record by record and key by key; `cold` and `hit` are what `ask` gave."""
    assert (cold[0]["features"], hit[0]["features"]) == ("computed", "cache")
    assert differences(list(hit), list(cold)) == []
    assert cold[2].keys() == {"t.json", "r.html"}
    for ours, theirs in zip(hit[0]["answers"], cold[0]["answers"], strict=True):
        assert ours["time_s"].keys() == theirs["time_s"].keys()
        assert all(took is None or took >= 0 for took in ours["time_s"].values())
    assert {span["name"] for span in hit[0]["timeline"]} == {span["name"] for span in cold[0]["timeline"]}


def test_every_setting_of_ask_is_tried() -> None:
    """A flag that is added has to be added here, or it may bring up what another made."""
    tried = " ".join([*FLAGS, *STAGES])
    settings = SETTINGS & inspect.signature(ask_command).parameters.keys()
    assert {name for name in settings if f"--{name.replace('_', '-')} " not in tried} == ELSEWHERE


@pytest.mark.parametrize("words", FLAGS)
def test_ask_with_each_flag(folder: Path, command: Command, from_cache: Callable[[], Any], words: str) -> None:
    """Record, trace, report and notices."""
    cold = ask(command, CUBE, words)
    with from_cache():
        hit = ask(command, CUBE, words)
    hold_against_each_other(cold, hit)
