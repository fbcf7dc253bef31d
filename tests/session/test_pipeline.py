"""Overlap of decoding, loading and encoding, and the times and notices that report it."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dycoke_cli.config.settings import Settings
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session import pipeline
from dycoke_cli.session.ask import Outcome, ask
from dycoke_cli.session.frame_request import sampling_of, shortfalls
from dycoke_cli.video import worker_process
from dycoke_cli.video.clip import Clip
from dycoke_cli.video.frames import Frames, VideoInfo
from tests.video.clips import clip, worker_after
from tests.video.test_frame_buffer import REFUTED, SLOW

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(model="demo", frames=8, max_new_tokens=4)
# Modules that a LLaVA model does not need, but that some top-level imports of transformers load.
UNNEEDED = ("torchvision", "scipy", "sklearn", "pandas", "PIL.ImageDraw", "av", "decord", "matplotlib", "tensorflow")
TOP_LEVEL_IMPORTS = (
    "transformers.pipelines",
    "transformers.trainer",
    "transformers.models.llava_onevision.processing_llava_onevision",
)


@pytest.fixture
def whole() -> Outcome:
    """The outcome of a run with the unchanged worker."""
    return ask(str(clip("h264_cfr.mp4")), ["what happens?"], SETTINGS)


def test_encoding_overlaps_decoding(monkeypatch: pytest.MonkeyPatch, whole: Outcome) -> None:
    """With a slow decoder the first frames are encoded before the last are decoded, and the timeline reports it."""
    monkeypatch.setattr(worker_process, "worker_command", worker_after(SLOW))
    outcome = ask(str(clip("h264_cfr.mp4")), ["what happens?"], SETTINGS)
    spans = {span.name: span for span in outcome.timeline}
    assert set(spans) == {"decode_video", "load_model", "vision", "prefill", "decode"}
    decode, vision = spans["decode_video"], spans["vision"]
    assert decode.begin_s < spans["load_model"].begin_s < spans["load_model"].end_s <= vision.begin_s
    assert vision.begin_s < decode.end_s < vision.end_s <= spans["prefill"].begin_s
    assert vision.busy_s < vision.end_s - vision.begin_s
    (answer,) = outcome.answers
    assert answer.time_s.vision == pytest.approx(vision.busy_s, abs=0.05)
    assert answer.time_s.decode_video == pytest.approx(decode.busy_s, abs=0.01)
    assert outcome.startup is not None
    assert vision.begin_s < outcome.startup.wall_s < decode.end_s
    assert outcome.startup.cpu_s > 0 < outcome.startup.decoder_cpu_s
    assert (answer.answer, answer.steps) == (whole.answers[0].answer, whole.answers[0].steps)


def test_replaced_frames_are_encoded_again(monkeypatch: pytest.MonkeyPatch, whole: Outcome) -> None:
    """Tokens of replaced frames are discarded; frames, record and answer come from the second decoder."""
    monkeypatch.setattr(worker_process, "worker_command", worker_after(REFUTED.format(8)))
    outcome = ask(str(clip("h264_cfr.mp4")), ["what happens?"], SETTINGS)
    assert outcome.frames.info.decoder == "pyav"
    assert outcome.frames.indices == whole.frames.indices
    assert (outcome.answers[0].answer, outcome.answers[0].steps) == (whole.answers[0].answer, whole.answers[0].steps)


def test_baseline_waits_for_all_frames(whole: Outcome) -> None:
    """With --baseline all frames are decoded before encoding, so that both runs start in the same state."""
    outcome = ask(str(clip("h264_cfr.mp4")), ["what happens?"], SETTINGS, baseline=True)
    spans = {span.name: span for span in outcome.timeline}
    assert spans["decode_video"].end_s <= spans["vision"].begin_s
    assert spans["baseline"].begin_s >= spans["decode"].end_s
    assert outcome.answers[0].answer == whole.answers[0].answer


def test_garbage_collection_is_off_while_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage collection is off while the model loads, and on again after an error."""
    enabled: list[bool] = []

    def load(*arguments: Any) -> Llava:
        enabled.append(gc.isenabled())
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "load_model", load)
    with pytest.raises(KeyboardInterrupt):
        ask(str(clip("one_frame.mp4")), ["q"], SETTINGS)
    assert enabled == [False]
    assert gc.isenabled()


def test_loading_leaves_the_youngest_generation_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects made while the model loads leave the youngest generation, and none stays frozen."""
    allocated: list[object] = []

    def load(*arguments: Any) -> Llava:
        allocated.extend([] for _ in range(100_000))
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "load_model", load)
    with pytest.raises(KeyboardInterrupt):
        ask(str(clip("one_frame.mp4")), ["q"], SETTINGS)
    assert len(gc.get_objects(generation=0)) < len(allocated)
    assert gc.get_freeze_count() == 0


def test_ask_imports_no_unneeded_modules() -> None:
    """`ask` with the demo imports none of the modules that would slow its start."""
    code = (
        "import sys, json; from dycoke_cli.cli.app import run; code = run(sys.argv[1:]); "
        "print(json.dumps(sorted(sys.modules))); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "ask", str(clip("two_frames.mp4")), "q", "-m", "demo", "-q"]
    done = subprocess.run(
        [*command, "--max-new-tokens", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert "transformers.models.siglip.modeling_siglip" in modules
    assert modules & {*UNNEEDED, *TOP_LEVEL_IMPORTS} == set()


@pytest.mark.parametrize(
    ("settings", "taken", "expected"),
    [
        ({"fps": 1e5, "max_frames": 500}, 200, ["100000 frames a second were asked for; the video has 25"]),
        ({"fps": 25.0, "max_frames": 200}, 200, []),
        ({"fps": 1.0}, 8, []),
        ({"fps": 2.0, "max_frames": 4}, 4, ["would be about 16; --max-frames leaves 4"]),
        ({"fps": 4.0}, 16, ["would be about 32; the model's limit"]),
        ({"fps": 50.0}, 16, ["the video has 25", "would be about 200; the model's limit"]),
        ({"frames": 500}, 200, ["500 frames were asked for; there are 200"]),
        ({"frames": 64, "max_frames": 10}, 10, ["64 frames were asked for; --max-frames leaves 10"]),
        ({"frames": 64}, 64, []),
    ],
)
def test_notices_for_fewer_frames_than_requested(settings: dict[str, Any], taken: int, expected: list[str]) -> None:
    """Each reason for fewer frames is one notice; there is none if all requested frames were taken."""
    sampling = sampling_of(Settings(**settings), default_frames=16)
    chosen = sampling.choose(np.arange(200) / 25, 8.0)
    assert len(chosen) == taken
    info = VideoInfo("v.mp4", 8.0, 25.0, 200, 64, 48, "pyav", "asked for")
    frames = Frames(None, tuple(chosen.tolist()), tuple((chosen / 25).tolist()), info)
    lines = list(shortfalls(Clip.of(frames), Settings(**settings), sampling))
    assert len(lines) == len(expected), lines
    assert all(words in line for words, line in zip(expected, lines, strict=True))
