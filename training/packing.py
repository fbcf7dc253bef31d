"""Pack several questions about one video into one sequence: batch, attention mask and forward pass."""

from __future__ import annotations

import inspect
from dataclasses import astuple, dataclass

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import DynamicCache, LlavaOnevisionForConditionalGeneration

from training.question import Question
from training.tokenizer import AFTER_VIDEO, BEFORE_VIDEO, answer_ids, question_ids

IGNORED = -100
NO_TARGET = (-1,) * 6
NO_NAME = -1
UNLABELLED = -1


@dataclass(frozen=True)
class Pack:
    """Questions of several clips, one row for each clip; every tensor is int64 with leading axes (clips, tokens).

    owners: number of the question a token belongs to, -1 for padding. offsets: position of the token within its
    question. targets: the next token where an answer is generated, else -100. lengths: tokens of that answer.
    attention_targets (clips, tokens, 2, 3): thing, first and last frame of the basis and of what the answer states, -1
    where undefined.
    named: at the last token of a name, bit `i` is set if thing `i` fits; -1 elsewhere. said: at such a token, 1 if the
    answer contains the name, else 0. holds: 1 if the answer is yes, 0 if no. Both are -1 where undefined.
    """

    ids: torch.Tensor
    owners: torch.Tensor
    offsets: torch.Tensor
    targets: torch.Tensor
    lengths: torch.Tensor
    attention_targets: torch.Tensor
    named: torch.Tensor
    said: torch.Tensor
    holds: torch.Tensor

    @property
    def shares(self) -> torch.Tensor:
        """Unnormalised weight of each token, (clips, tokens).

        An answer's weight is the fourth root of its length: with equal tokens, descriptions would outweigh answers of
        one word.
        """
        return self.lengths.clamp_min(1).float() ** -0.75

    @property
    def weights(self) -> torch.Tensor:
        """Weight of each answer token in the loss, (answer tokens,), sum 1."""
        weights = self.shares[self.targets != IGNORED]
        return weights / weights.sum()


def pack_questions(tokenizer: Tokenizer, clips: list[list[Question]]) -> Pack:
    """Concatenate the questions and answers of each clip, and pad to the longest clip."""
    rows = [[_question_tokens(tokenizer, number, question) for number, question in enumerate(clip)] for clip in clips]
    flat = [[token for question in row for token in question] for row in rows]
    longest = max(len(row) for row in flat)
    padding = (0, -1, 0, IGNORED, 0, NO_NAME, UNLABELLED, UNLABELLED, *NO_TARGET)
    table = torch.tensor([row + [padding] * (longest - len(row)) for row in flat])
    ids, owners, offsets, targets, lengths, named, said, holds = table[..., :8].unbind(-1)
    attention_targets = table[..., 8:].unflatten(-1, (2, 3))
    return Pack(ids, owners, offsets, targets, lengths, attention_targets, named, said, holds)


def _question_tokens(tokenizer: Tokenizer, number: int, question: Question) -> list[tuple[int, ...]]:
    asked, answered = question_ids(tokenizer, question.text), answer_ids(tokenizer, question.answer)
    ids = asked + answered[:-1]
    targets = [IGNORED] * (len(asked) - 1) + answered
    size = len(answered)
    token_targets = [NO_TARGET] * (len(asked) - 1) + _targets_by_token(tokenizer, question, answered)
    names = _names(tokenizer, question) + [(NO_NAME, UNLABELLED, UNLABELLED)] * (size - 1)
    return [
        (token, number, offset, target, size, *name, *region)
        for offset, (token, target, name, region) in enumerate(zip(ids, targets, names, token_targets, strict=True))
    ]


def _names(tokenizer: Tokenizer, question: Question) -> list[tuple[int, int, int]]:
    """Return `named`, `said` and `holds` of each prompt token after the video."""
    before = AFTER_VIDEO.index("{question}")
    holds = {"yes": 1, "no": 0}.get(question.answer, UNLABELLED)
    ends = {
        before + one.end: (sum(1 << thing for thing in one.things), UNLABELLED if one.said is None else one.said, holds)
        for one in question.mentions
    }
    encoding = tokenizer.encode(AFTER_VIDEO.format(question=question.text), add_special_tokens=False)
    return [ends.get(end, (NO_NAME, UNLABELLED, UNLABELLED)) for _, end in encoding.offsets]


def _targets_by_token(tokenizer: Tokenizer, question: Question, answered: list[int]) -> list[tuple[int, ...]]:
    """Return the attention target of each answer token; the end token has none."""
    token_targets, written = [], 0
    for token in answered[:-1]:
        target = next((target for target in question.attention_targets if written < target.end), None)
        token_targets.append((*astuple(target.basis), *astuple(target.stated)) if target else NO_TARGET)
        written += len(tokenizer.decode([token]))
    return [*token_targets, NO_TARGET]


def packed_mask(owners: torch.Tensor, prefix: int) -> torch.Tensor:
    """Return an additive causal mask (clips, 1, tokens, keys): a token attends to the prefix and its own question."""
    clips, tokens = owners.shape
    same = owners[:, :, None] == owners[:, None, :]
    visible = same & torch.ones(tokens, tokens, dtype=torch.bool).tril()
    visible = torch.cat((torch.ones(clips, tokens, prefix, dtype=torch.bool), visible), dim=-1)
    return torch.zeros(visible.shape).masked_fill_(~visible, -torch.inf)[:, None]


def read_video(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, tokens: torch.Tensor, layer: int
) -> tuple[DynamicCache, torch.Tensor]:
    """Prefill the text before the video and the visual tokens (clips, tokens, width).

    Returns the cache, and the visual tokens' states (clips, tokens, width) after `layer` layers.
    """
    before = torch.tensor([tokenizer.encode(BEFORE_VIDEO, add_special_tokens=False).ids])
    text = model.model.language_model
    clips = tokens.shape[0]
    newline = model.model.image_newline.expand(clips, 1, -1)
    prefix = torch.cat((text.embed_tokens(before).expand(clips, -1, -1), tokens, newline), dim=1)
    cache = DynamicCache(config=text.config)
    # Without a mask attention is causal, and faster than with an explicit causal mask.
    states = text(
        inputs_embeds=prefix,
        attention_mask={"full_attention": None},
        use_cache=True,
        output_hidden_states=True,
        **{cache_argument(text): cache},
    ).hidden_states[layer]
    return cache, states[:, before.shape[1] : -1]


def packed_logits(
    model: LlavaOnevisionForConditionalGeneration, cache: DynamicCache, pack: Pack
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return the logits (answer tokens, vocabulary), targets (answer tokens,) and layer inputs of a pack.

    Layer inputs: one (clips, tokens, width) for each layer. cache: from `read_video`; keys and values are appended.
    """
    prefix = cache.get_seq_length()
    text = model.model.language_model
    states = text(
        output_hidden_states=True,
        input_ids=pack.ids,
        attention_mask={"full_attention": packed_mask(pack.owners, prefix)},
        position_ids=pack.offsets + prefix,
        use_cache=True,
        **{cache_argument(text): cache},
    ).hidden_states
    answering = pack.targets != IGNORED
    return model.lm_head(states[-1][answering]), pack.targets[answering], states


def cache_argument(decoder: nn.Module) -> str:
    """Return the name of the cache argument of a transformers decoder: `cache` from transformers 5.24 on.

    The name is read from the signature of `forward`: earlier versions accept `cache` as an extra keyword, ignore it,
    and run without a cache.
    """
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"
