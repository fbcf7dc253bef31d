"""The shipped sample videos and their questions match the code; the shipped model loads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from transformers import LlavaOnevisionForConditionalGeneration

from training.samples import samples
from training.scenes import keep_apart

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "dycoke_cli" / "demo"
SAMPLES = ROOT / "sample_videos"


def test_the_question_file_holds_the_samples_questions():
    rows = yaml.safe_load((SAMPLES / "questions.yaml").read_text())
    asked = [(row["video"], row["question"], row["answer"], row["type"]) for row in rows]
    assert asked == [(f"{one.name}.mp4", q.text, q.answer, q.kind) for one in samples() for q in one.questions]
    assert {path.name for path in SAMPLES.glob("*.mp4")} == {row[0] for row in asked}


def test_the_things_of_the_samples_keep_apart():
    for sample in samples():
        things = sample.scene.things
        assert all(
            keep_apart(one, other, sample.scene.aspect) for one in things for other in things if one is not other
        )


def test_the_manifest_names_the_clips_as_they_are():
    manifest = (SAMPLES / "MANIFEST.md").read_text()
    clips = sorted(SAMPLES.glob("*.mp4"))
    assert len(clips) >= 8
    for clip in clips:
        assert f"| {clip.name} " in manifest
        assert hashlib.sha256(clip.read_bytes()).hexdigest()[:12] in manifest


def test_the_shipped_model_is_small_and_loads_whole():
    assert (DEMO / "model.safetensors").stat().st_size <= 8_000_000
    loaded, info = LlavaOnevisionForConditionalGeneration.from_pretrained(DEMO, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded.generation_config.eos_token_id == loaded.config.text_config.eos_token_id
