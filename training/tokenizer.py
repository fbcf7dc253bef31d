"""The byte-level BPE tokenizer of the demo model, trained on its questions and answers."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from training.questions import TRAIN_QUOTA, ask
from training.scenes import sample_scene
from training.timeline import Timeline

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
VOCABULARY = 768
BEFORE_VIDEO = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
AFTER_VIDEO = "\n{question}<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"
MOMENTS = np.linspace(0, 1, 16).tolist()


def train_tokenizer(seed: int, scenes: int = 800) -> Tokenizer:
    """Train on the questions and answers of `scenes` random scenes; text is lower-cased."""
    rng = np.random.default_rng(seed)
    corpus = [BEFORE_VIDEO + AFTER_VIDEO]
    for _ in range(scenes):
        for question in ask(Timeline.of(sample_scene(rng), MOMENTS), rng, TRAIN_QUOTA):
            corpus.append(f"\n{question.text}\n{question.answer}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def question_ids(tokenizer: Tokenizer, question: str) -> list[int]:
    """Encode the prompt after the video, up to the start of the answer."""
    return tokenizer.encode(AFTER_VIDEO.format(question=question), add_special_tokens=False).ids


def answer_ids(tokenizer: Tokenizer, answer: str) -> list[int]:
    """Encode an answer and the end token."""
    return tokenizer.encode(answer + END, add_special_tokens=False).ids
