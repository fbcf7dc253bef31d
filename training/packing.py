"""Many questions behind one video: the packed batch, its attention mask, and its pass through the stock text model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import DynamicCache, LlavaOnevisionForConditionalGeneration

from training.questions import Question
from training.tokenizer import BEFORE_VIDEO, answer_ids, question_ids

IGNORED = -100


@dataclass(frozen=True)
class Pack:
    """Questions of several clips, one row a clip; every tensor is (clips, tokens), int64.

    `owners` numbers the question a token belongs to (padding has -1), `offsets` is the token's place within its
    question, and `targets` is the token that follows where an answer is being given, else -100.
    """

    ids: torch.Tensor
    owners: torch.Tensor
    offsets: torch.Tensor
    targets: torch.Tensor


def pack_questions(tokenizer: Tokenizer, clips: list[list[Question]]) -> Pack:
    """Lay the questions and answers of each clip side by side."""
    rows = [[_question_tokens(tokenizer, number, question) for number, question in enumerate(clip)] for clip in clips]
    flat = [[token for question in row for token in question] for row in rows]
    longest = max(len(row) for row in flat)
    padding = (0, -1, 0, IGNORED)
    table = torch.tensor([row + [padding] * (longest - len(row)) for row in flat])
    return Pack(*table.unbind(-1))


def _question_tokens(tokenizer: Tokenizer, number: int, question: Question) -> list[tuple[int, int, int, int]]:
    asked, answered = question_ids(tokenizer, question.text), answer_ids(tokenizer, question.answer)
    ids = asked + answered[:-1]
    targets = [IGNORED] * (len(asked) - 1) + answered
    return [(token, number, offset, target) for offset, (token, target) in enumerate(zip(ids, targets, strict=True))]


def packed_mask(owners: torch.Tensor, prefix: int) -> torch.Tensor:
    """Let each token see the whole prefix and its own question so far: additive float (clips, 1, tokens, keys)."""
    clips, tokens = owners.shape
    same = owners[:, :, None] == owners[:, None, :]
    seen = same & torch.ones(tokens, tokens, dtype=torch.bool).tril()
    seen = torch.cat((torch.ones(clips, tokens, prefix, dtype=torch.bool), seen), dim=-1)
    return torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]


def read_video(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, tokens: torch.Tensor
) -> DynamicCache:
    """Run the text before the video and visual tokens (clips, tokens, width) once: their keys and values."""
    before = torch.tensor([tokenizer.encode(BEFORE_VIDEO, add_special_tokens=False).ids])
    text = model.model.language_model
    clips = tokens.shape[0]
    newline = model.model.image_newline.expand(clips, 1, -1)
    prefix = torch.cat((text.embed_tokens(before).expand(clips, -1, -1), tokens, newline), dim=1)
    cache = DynamicCache(config=text.config)
    # Without a mask the attention is causal, and faster than under one that says the same.
    text(inputs_embeds=prefix, attention_mask={"full_attention": None}, past_key_values=cache, use_cache=True)
    return cache


def packed_logits(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, tokens: torch.Tensor, pack: Pack
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the logits (answer tokens, vocabulary) and targets (answer tokens) of all the answers in a pack."""
    cache = read_video(model, tokenizer, tokens)
    prefix = cache.get_seq_length()
    text = model.model.language_model
    states = text(
        input_ids=pack.ids,
        attention_mask={"full_attention": packed_mask(pack.owners, prefix)},
        position_ids=pack.offsets + prefix,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    answering = pack.targets != IGNORED
    return model.lm_head(states[answering]), pack.targets[answering]
