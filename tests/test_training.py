"""The rendered world, its questions, and the maths that trains the demo model."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import LlavaOnevisionForConditionalGeneration

from training import language
from training.frames import render, squash, wear
from training.language import Course, TokenPool, drop_tokens, frame_count, train_language
from training.model import build_model, frame_tokens, save_model
from training.muon import orthogonalise
from training.packing import pack_questions, packed_logits
from training.pool import Pool, render_clip
from training.questions import NUMBERS, TEST_QUOTA, TRAIN_QUOTA, Question, ask, clip_with_questions
from training.samples import samples
from training.scenes import COLOURS, SHAPES, Scene, half_extent, keep_apart, sample_scene
from training.tokenizer import BEFORE_VIDEO, answer_ids, question_ids, train_tokenizer

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "dycoke_cli" / "demo"
SAMPLES = ROOT / "sample_videos"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=0, scenes=120)


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_model(tokenizer).eval()


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(5)
    return [sample_scene(rng) for _ in range(400)]


def matching(scene: Scene, text: str) -> int:
    """Count the things that fit all the colours and shapes named in a question."""
    words = {word.removesuffix("s") for word in re.findall("[a-z]+", text.lower())}
    colours, shapes = words & set(COLOURS), words & set(SHAPES)
    return sum(
        (not colours or thing.colour in colours) and (not shapes or thing.shape in shapes) for thing in scene.things
    )


def check_truth(scene: Scene, question: Question) -> None:
    """Assert that an answer is true of the scene, from the words of the question alone."""
    found = matching(scene, question.text)
    if question.kind == "count":
        assert question.answer == NUMBERS[found]
    elif question.kind == "exists":
        assert question.answer == ("yes" if found else "no")
    elif question.kind in ("colour", "shape"):
        assert found == 1
        assert matching(scene, f"{question.text} {question.answer}") == 1


def test_a_seed_always_gives_the_same_clip_and_questions():
    first, second = (clip_with_questions(seed=11, frames=3) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]
    assert not np.array_equal(first[0], clip_with_questions(seed=12, frames=3)[0][:, : first[0].shape[1]])


def test_clips_are_ordinary_frames():
    frames, questions = clip_with_questions(seed=3, frames=5)
    assert frames.dtype == np.uint8
    assert frames.shape[0] == 5
    assert frames.shape[3] == 3
    assert {question.kind for question in questions} <= set(TEST_QUOTA)


def test_things_stay_in_the_frame_and_clear_of_each_other(scenes):
    for scene in scenes:
        for shot in scene.shots:
            for number, thing in enumerate(shot.things):
                half = half_extent(thing.diameter, scene.aspect)
                for time in (0.0, 0.3, 0.5, 1.0):
                    assert all(h - 1e-6 <= p <= 1 - h + 1e-6 for p, h in zip(thing.place(time), half, strict=True))
                assert all(keep_apart(thing, other, scene.aspect) for other in shot.things[:number])


def test_every_answer_is_true(scenes):
    rng = np.random.default_rng(0)
    for scene in scenes:
        for question in ask(scene, rng, TRAIN_QUOTA):
            check_truth(scene, question)


def test_a_description_names_everything_from_left_to_right(scenes):
    scene = next(scene for scene in scenes if len(scene.shots) == 1 and len(scene.things) == 3)
    (question,) = ask(scene, np.random.default_rng(0), {"describe": 1})
    things = sorted(scene.things, key=lambda thing: thing.place(0.0)[0])
    assert re.findall("|".join(SHAPES), question.answer) == [thing.shape for thing in things]
    assert question.answer.endswith(f" on a {scene.shots[0].background} background.")


def test_no_answer_can_be_guessed(scenes):
    rng = np.random.default_rng(0)
    answers: dict[str, Counter] = {}
    for scene in scenes:
        for question in ask(scene, rng, TEST_QUOTA):
            answers.setdefault(question.kind, Counter())[question.answer] += 1
    commonest = {kind: max(counts.values()) / counts.total() for kind, counts in answers.items()}
    assert commonest["exists"] < 0.56
    assert commonest["count"] < 0.4
    assert commonest["colour"] < 0.2
    assert commonest["shape"] < 0.25
    assert set(answers["count"]) == set(NUMBERS)


def test_labels_mark_each_centre_once():
    scene, _, labels = render_clip(seed=8, frames=2)
    assert len(scene.shots) == 1
    assert labels.shape == (2, 36, 5)
    assert (labels[..., 2].sum(axis=1) == len(scene.things)).all()


def test_codec_wear_keeps_the_picture(scenes):
    rng = np.random.default_rng(0)
    frames = render(scenes[0], 2, 128, rng).frames
    worn = wear(frames, rng)
    assert worn.shape == frames.shape
    assert worn.dtype == np.uint8
    assert (squash(worn).float() - squash(frames).float()).abs().mean() < 30


def test_the_tokenizer_ignores_case_and_ends_answers(tokenizer):
    assert question_ids(tokenizer, "What Colour is the CUBE?") == question_ids(tokenizer, "what colour is the cube?")
    ids = answer_ids(tokenizer, "red")
    assert ids[-1] == tokenizer.token_to_id("<|im_end|>")
    assert tokenizer.decode(ids) == "red"
    assert tokenizer.encode(BEFORE_VIDEO).ids[0] == tokenizer.token_to_id("<|im_start|>")


@torch.no_grad()
def test_packed_questions_score_as_if_asked_alone(model, tokenizer, scenes):
    questions = ask(scenes[0], np.random.default_rng(0), TRAIN_QUOTA)[:4]
    video = torch.randn(1, 72, model.config.text_config.hidden_size)
    packed, _ = packed_logits(model, tokenizer, video, pack_questions(tokenizer, [questions]))
    alone = [packed_logits(model, tokenizer, video, pack_questions(tokenizer, [[one]]))[0] for one in questions]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_training_sees_what_the_stock_forward_sees(model, tokenizer):
    question = Question("what colour is the cube?", "red", "colour")
    pixels = torch.rand(1, 2, 3, 96, 96) * 2 - 1
    video = [tokenizer.token_to_id("<video>")] * (2 * 36 + 1)
    ids = tokenizer.encode(BEFORE_VIDEO).ids + video + question_ids(tokenizer, question.text)
    stock = model(input_ids=torch.tensor([ids]), pixel_values_videos=pixels).logits[0, -1]
    tokens = frame_tokens(model, pixels[0]).flatten(0, 1)[None]
    ours, _ = packed_logits(model, tokenizer, tokens, pack_questions(tokenizer, [[question]]))
    torch.testing.assert_close(ours[0], stock, atol=1e-4, rtol=1e-4)


def test_dropping_keeps_whole_first_frames_and_the_order():
    tokens = torch.arange(8 * 36, dtype=torch.float32).view(1, 8, 36, 1).expand(2, 8, 36, 4) + 1
    kept = drop_tokens(tokens, 0.5, np.random.default_rng(0))
    assert kept.shape == (2, 1, 2 * 36 + 3 * 36, 4)
    places = kept[0, 0, :, 0]
    assert (places.diff() > 0).all()
    assert set(range(1, 37)) | set(range(4 * 36 + 1, 5 * 36 + 1)) <= set(places.int().tolist())


def test_frame_counts_grow():
    rng = np.random.default_rng(0)
    assert {frame_count(0.1, 0.0, rng) for _ in range(50)} == {2, 4}
    late = Counter(frame_count(0.9, 0.0, rng) for _ in range(400))
    assert late.most_common(1)[0][0] == 16
    assert {frame_count(0.9, 1.0, rng) for _ in range(50)} == {2, 4}
    assert min(late) >= 2
    assert max(late) <= 24


def test_orthogonalised_matrices_have_even_singular_values():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(2, 24, 40)))
    assert values.min() > 0.4
    assert values.max() < 1.4


def test_training_goes_on_where_it_stopped(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(language, "BATCH", {16: 2})
    monkeypatch.setattr(language, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(language, "frame_count", lambda progress, short_share, rng: 2)
    monkeypatch.setattr(language, "cosine", lambda step, steps, warmup: 1.0)
    blank = np.zeros((4, 4, 36, 5), np.float16)
    tokens = np.random.default_rng(0).normal(size=(4, 4, 36, 128)).astype(np.float16)
    pool = TokenPool(Pool(0, blank, blank), tokens)
    ends = []
    for stops in ((2,), (1, 2)):
        run = tmp_path / str(len(stops))
        run.mkdir()
        for stop in stops:
            model = build_model(tokenizer)
            course = Course("test", stop, {"exists": 2})
            train_language(model, tokenizer, (pool, pool), course, 0, run, lambda record: None)
        ends.append(model.model.language_model.norm.weight.detach().clone())
    torch.testing.assert_close(ends[0], ends[1])


def test_a_saved_model_loads_whole(model, tokenizer, tmp_path):
    save_model(model, tokenizer, tmp_path)
    _, info = LlavaOnevisionForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_the_shipped_model_is_small_and_loads_whole():
    assert (DEMO / "model.safetensors").stat().st_size <= 8_000_000
    loaded, info = LlavaOnevisionForConditionalGeneration.from_pretrained(DEMO, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded.generation_config.eos_token_id == loaded.config.text_config.eos_token_id


def test_the_sample_questions_are_true():
    rows = yaml.safe_load((SAMPLES / "questions.yaml").read_text())
    scene_of = {f"{sample.name}.mp4": sample.scene for sample in samples()}
    assert {row["video"] for row in rows} == set(scene_of)
    for scene in scene_of.values():
        things = scene.shots[0].things
        assert all(keep_apart(one, other, scene.aspect) for one in things for other in things if one is not other)
    for row in rows:
        check_truth(scene_of[row["video"]], Question(row["question"], row["answer"], row["type"]))


def test_the_manifest_names_the_clips_as_they_are():
    manifest = (SAMPLES / "MANIFEST.md").read_text()
    clips = sorted(SAMPLES.glob("*.mp4"))
    assert len(clips) >= 8
    for clip in clips:
        assert f"| {clip.name} " in manifest
        assert hashlib.sha256(clip.read_bytes()).hexdigest()[:12] in manifest
