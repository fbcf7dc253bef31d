"""Training of the demo model: packing, token dropping, auxiliary heads, the optimiser, and resuming."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from transformers import LlavaOnevisionForConditionalGeneration

from training import batches, language
from training.batches import TokenPool, choose_moments, drop_tokens, frame_count, sample_batch
from training.heads import Heads, as_tensors
from training.labels import POSITION_LABELS, TOKEN_LABELS
from training.language import Phase, make_auxiliary_heads, train_language
from training.model import build_model, frame_tokens, save_model
from training.muon import orthogonalise
from training.packing import pack_questions, packed_logits, read_video
from training.pool import Pool, Recipe
from training.question import Question
from training.questions import TRAIN_QUOTA, ask
from training.tokenizer import BEFORE_VIDEO, answer_ids, question_ids


@pytest.fixture(scope="module")
def pool():
    recipe = Recipe(500, 8, 6)
    scenes = [recipe.scene(clip) for clip in range(recipe.clips)]
    owners = np.zeros((8, 6, 36), np.int8)
    tokens = np.random.default_rng(0).normal(size=(8, 6, 36, 128)).astype(np.float16)
    return TokenPool(Pool(recipe, np.zeros(0), owners, scenes), tokens)


def test_the_tokenizer_ignores_case_and_ends_answers(tokenizer):
    assert question_ids(tokenizer, "What Colour is the CUBE?") == question_ids(tokenizer, "what colour is the cube?")
    ids = answer_ids(tokenizer, "red")
    assert ids[-1] == tokenizer.token_to_id("<|im_end|>")
    assert tokenizer.decode(ids) == "red"
    assert tokenizer.encode(BEFORE_VIDEO).ids[0] == tokenizer.token_to_id("<|im_start|>")


@torch.no_grad()
def test_packed_questions_have_the_logits_of_single_ones(model, tokenizer, timelines):
    questions = ask(timelines[0], np.random.default_rng(0), TRAIN_QUOTA)[:4]
    video = torch.randn(1, 72, model.config.text_config.hidden_size)

    def logits(asked):
        cache, _ = read_video(model, tokenizer, video, 1)
        return packed_logits(model, cache, pack_questions(tokenizer, [asked]))[0]

    torch.testing.assert_close(logits(questions), torch.cat([logits([one]) for one in questions]), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_packed_logits_equal_the_stock_forward(model, tokenizer):
    question = Question("what colour is the cube?", "red", "colour")
    pixels = torch.rand(1, 2, 3, 96, 96) * 2 - 1
    video = [tokenizer.token_to_id("<video>")] * (2 * 36 + 1)
    ids = tokenizer.encode(BEFORE_VIDEO).ids + video + question_ids(tokenizer, question.text)
    stock = model(input_ids=torch.tensor([ids]), pixel_values_videos=pixels, output_hidden_states=True)
    tokens = frame_tokens(model, pixels[0]).flatten(0, 1)[None]
    cache, states = read_video(model, tokenizer, tokens, 3)
    ours, _, _ = packed_logits(model, cache, pack_questions(tokenizer, [[question]]))
    torch.testing.assert_close(ours[0], stock.logits[0, -1], atol=1e-4, rtol=1e-4)
    first = ids.index(video[0])
    torch.testing.assert_close(states[0], stock.hidden_states[3][0, first : first + 72], atol=1e-4, rtol=1e-4)


def test_dropping_keeps_whole_first_frames_the_order_and_the_labels():
    tokens = torch.arange(8 * 36, dtype=torch.float32).view(1, 8, 36, 1).expand(2, 8, 36, 4) + 1
    kept, labels = drop_tokens(tokens, {"same": tokens[..., 0]}, 0.5, np.random.default_rng(0))
    assert kept.shape == (2, 1, 2 * 36 + 3 * 36, 4)
    places = kept[0, 0, :, 0]
    assert (places.diff() > 0).all()
    assert set(range(1, 37)) | set(range(4 * 36 + 1, 5 * 36 + 1)) <= set(places.int().tolist())
    assert torch.equal(labels["same"], kept[..., 0])


def test_frame_counts_grow():
    rng = np.random.default_rng(0)
    assert {frame_count(0.1, rng) for _ in range(50)} == {2, 4}
    late = Counter(frame_count(0.9, rng) for _ in range(400))
    assert late.most_common(1)[0][0] == 16
    assert min(late) >= 2
    assert max(late) <= 24


@pytest.mark.parametrize("frames", [2, 5, 24])
def test_moments_are_evenly_spaced_either_way(frames):
    rng = np.random.default_rng(0)
    drawn = [choose_moments(24, frames, rng) for _ in range(100)]
    assert {bool(moments[0] < moments[-1]) for moments in drawn} == {True, False}
    for moments in drawn:
        steps = np.abs(np.diff(moments))
        assert len(moments) == frames
        assert set(moments) <= set(range(24))
        assert np.ptp(steps) <= 1
        assert steps.min() >= 1


def test_a_batch_holds_labels_for_every_token(pool, tokenizer, monkeypatch):
    monkeypatch.setattr(batches, "BATCH", {24: 3})
    for seed in range(6):
        batch = sample_batch(tokenizer, (pool, pool), TRAIN_QUOTA, 4, np.random.default_rng(seed))
        assert set(batch.labels) == {*TOKEN_LABELS, *POSITION_LABELS}
        assert all(label.shape == batch.tokens.shape[:2] for label in batch.labels.values())
        assert len(batch.pack.ids) == 3


def test_heads_learn_labels_and_skip_undefined_ones():
    torch.manual_seed(0)
    heads = Heads(("happened", "way_x"), 4)
    tokens = torch.nn.functional.normalize(torch.randn(64, 4), dim=-1) * 2  # the heads normalise tokens
    truth = {"happened": (tokens[:, 0] > 0).float(), "way_x": tokens[:, 1].clone()}
    truth["way_x"][:32] = torch.nan
    optimiser = torch.optim.Adam(heads.parameters(), lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        loss, report = heads.losses(tokens, as_tensors(truth, ("happened", "way_x")))
        loss.backward()
        optimiser.step()
    assert report["happened"] > 0.95
    assert report["way_x"] < 0.1
    silent = {name: torch.full((64,), torch.nan) for name in truth}
    assert heads.losses(tokens, silent)[0] == 0


def test_orthogonalised_matrices_have_even_singular_values():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(2, 24, 40)))
    assert values.min() > 0.4
    assert values.max() < 1.4


def test_training_resumes_from_its_checkpoint(pool, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "BATCH", {24: 2})
    monkeypatch.setattr(language, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(language, "cosine", lambda step, steps, warmup: 1.0)
    ends = []
    for stops in ((2,), (1, 2)):
        run = tmp_path / str(len(stops))
        run.mkdir()
        for stop in stops:
            trained = build_model(tokenizer)
            phase = Phase("test", stop, {"exists": 2}, lengths=(2,))
            train_language(
                trained, tokenizer, make_auxiliary_heads(0), (pool, pool), phase, 0, run, lambda record: None
            )
        ends.append(trained.model.language_model.norm.weight.detach().clone())
    torch.testing.assert_close(ends[0], ends[1])


def test_a_saved_model_loads_whole(model, tokenizer, tmp_path):
    save_model(model, tokenizer, tmp_path)
    _, info = LlavaOnevisionForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
