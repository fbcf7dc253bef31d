"""Many questions behind one video: the packed batch, its attention mask, and its pass through the stock text model."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import torch
from tokenizers import Tokenizer
from transformers import DynamicCache, LlavaOnevisionForConditionalGeneration

from dycoke_cli.models.language_model import cache_argument
from training.question import Question
from training.tokenizer import AFTER_VIDEO, BEFORE_VIDEO, answer_ids, question_ids

IGNORED = -100
NOWHERE = (-1,) * 6
NO_NAME = -1
NO_VERDICT = -1


@dataclass(frozen=True)
class Pack:
    """Questions of several clips, one row a clip; every tensor is int64 and begins with (clips, tokens).

    `owners` numbers the question a token belongs to (padding has -1), `offsets` is the token's place within its
    question, `targets` is the token that follows where an answer is being given, else -100, and `lengths` is how many
    tokens that answer has. `gazes` (clips, tokens, 2, 3) say where to look while a target is given: at the thing and
    from the frame to the frame of a gaze's basis, and of what it tells; all are -1 where there is nothing to look at.
    `named` has bit `i` set at the last token of a name that thing `i` goes by, and is -1 where no name ends. There
    `said` is 1 for a name that the answer says and 0 for one that it does not, and `holds` is 1 where the answer is
    yes and 0 where it is no; both are -1 where there is nothing to say.
    """

    ids: torch.Tensor
    owners: torch.Tensor
    offsets: torch.Tensor
    targets: torch.Tensor
    lengths: torch.Tensor
    gazes: torch.Tensor
    named: torch.Tensor
    said: torch.Tensor
    holds: torch.Tensor

    @property
    def shares(self) -> torch.Tensor:
        """What each token's answer lets it count, (clips, tokens), whatever the sum.

        An answer counts by the fourth root of its length: with every token equal, descriptions would drown the one
        word that tells a colour.
        """
        return self.lengths.clamp_min(1).float() ** -0.75

    @property
    def weights(self) -> torch.Tensor:
        """What each answer token counts in the loss, (answer tokens,) summing to 1."""
        weights = self.shares[self.targets != IGNORED]
        return weights / weights.sum()


def pack_questions(tokenizer: Tokenizer, clips: list[list[Question]]) -> Pack:
    """Lay the questions and answers of each clip side by side."""
    rows = [[_question_tokens(tokenizer, number, question) for number, question in enumerate(clip)] for clip in clips]
    flat = [[token for question in row for token in question] for row in rows]
    longest = max(len(row) for row in flat)
    padding = (0, -1, 0, IGNORED, 0, NO_NAME, NO_VERDICT, NO_VERDICT, *NOWHERE)
    table = torch.tensor([row + [padding] * (longest - len(row)) for row in flat])
    ids, owners, offsets, targets, lengths, named, said, holds = table[..., :8].unbind(-1)
    gazes = table[..., 8:].unflatten(-1, (2, 3))
    return Pack(ids, owners, offsets, targets, lengths, gazes, named, said, holds)


def _question_tokens(tokenizer: Tokenizer, number: int, question: Question) -> list[tuple[int, ...]]:
    asked, answered = question_ids(tokenizer, question.text), answer_ids(tokenizer, question.answer)
    ids = asked + answered[:-1]
    targets = [IGNORED] * (len(asked) - 1) + answered
    size = len(answered)
    looks = [NOWHERE] * (len(asked) - 1) + _looks(tokenizer, question, answered)
    names = _names(tokenizer, question) + [(NO_NAME, NO_VERDICT, NO_VERDICT)] * (size - 1)
    return [
        (token, number, place, target, size, *name, *look)
        for place, (token, target, name, look) in enumerate(zip(ids, targets, names, looks, strict=True))
    ]


def _names(tokenizer: Tokenizer, question: Question) -> list[tuple[int, int, int]]:
    """Give `named`, `said` and `holds` of each token of the prompt after the video."""
    before = AFTER_VIDEO.index("{question}")
    holds = {"yes": 1, "no": 0}.get(question.answer, NO_VERDICT)
    ends = {
        before + one.end: (sum(1 << thing for thing in one.things), NO_VERDICT if one.said is None else one.said, holds)
        for one in question.mentions
    }
    encoding = tokenizer.encode(AFTER_VIDEO.format(question=question.text), add_special_tokens=False)
    return [ends.get(end, (NO_NAME, NO_VERDICT, NO_VERDICT)) for _, end in encoding.offsets]


def _looks(tokenizer: Tokenizer, question: Question, answered: list[int]) -> list[tuple[int, ...]]:
    """Say for each token of the answer where its gaze rests; the token that ends the answer is told by none."""
    looks, written = [], 0
    for token in answered[:-1]:
        gaze = next((gaze for gaze in question.gazes if written < gaze.end), None)
        looks.append((*astuple(gaze.basis), *astuple(gaze.told)) if gaze else NOWHERE)
        written += len(tokenizer.decode([token]))
    return [*looks, NOWHERE]


def packed_mask(owners: torch.Tensor, prefix: int) -> torch.Tensor:
    """Let each token see the whole prefix and its own question so far: additive float (clips, 1, tokens, keys)."""
    clips, tokens = owners.shape
    same = owners[:, :, None] == owners[:, None, :]
    seen = same & torch.ones(tokens, tokens, dtype=torch.bool).tril()
    seen = torch.cat((torch.ones(clips, tokens, prefix, dtype=torch.bool), seen), dim=-1)
    return torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]


def read_video(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, tokens: torch.Tensor, layer: int
) -> tuple[DynamicCache, torch.Tensor]:
    """Run the text before the video and visual tokens (clips, tokens, width) once.

    Returns their keys and values, and the visual tokens' states (clips, tokens, width) after `layer` layers.
    """
    before = torch.tensor([tokenizer.encode(BEFORE_VIDEO, add_special_tokens=False).ids])
    text = model.model.language_model
    clips = tokens.shape[0]
    newline = model.model.image_newline.expand(clips, 1, -1)
    prefix = torch.cat((text.embed_tokens(before).expand(clips, -1, -1), tokens, newline), dim=1)
    cache = DynamicCache(config=text.config)
    # Without a mask the attention is causal, and faster than under one that says the same.
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
    """Give the logits (answer tokens, vocabulary) and targets (answer tokens) of all the answers in a pack.

    The states (clips, tokens, width) that go into each layer come third. cache: the keys and values of the video, from
    `read_video`; those of the pack are added.
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
