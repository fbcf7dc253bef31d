"""The prompt text of each family, and the rotary positions of prompts."""

from typing import Any

import pytest
import torch

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.models.families.family import Family
from tests.models.families.test_conformance import clip

ASK = "What is it?"
PAD = {
    "qwen2_5_vl": "<|video_pad|>",
    "qwen3_vl": "<|video_pad|>",
    "internvl": "<IMG_CONTEXT>",
    "llava_next_video": "<video>",
}
SECONDS = [0.0, 0.5, 1.24, 1.9, 3.0]
WORDS = {
    "qwen2_5_vl": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>{45}"
    "<|vision_end|>What is it?<|im_end|>\n<|im_start|>assistant\n",
    "qwen3_vl": "<|im_start|>user\n<0.2 seconds><|vision_start|>{20}<|vision_end|><1.6 seconds><|vision_start|>{20}"
    "<|vision_end|><3.0 seconds><|vision_start|>{20}<|vision_end|>What is it?<|im_end|>\n<|im_start|>assistant\n",
    "internvl": "<|im_start|>user\nFrame1: <img>{16}</img>\nFrame2: <img>{16}</img>\nFrame3: <img>{16}</img>\n"
    "Frame4: <img>{16}</img>\nFrame5: <img>{16}</img>\nWhat is it?<|im_end|>\n<|im_start|>assistant\n",
    "llava_next_video": "<s>USER: {80}\nWhat is it? ASSISTANT:",
}  # fmt: skip


@pytest.mark.parametrize("name", list(WORDS))
def test_the_words_of_the_chat_template(loaded: dict[str, Family], name: str) -> None:
    """The decoded prompt equals the chat template's text, with one placeholder per visual token."""
    family: Any = loaded[name]
    frames = clip(5)[0]
    ids = family.prompt_ids(ASK, SECONDS, family.grid(5, frames.shape[1:3]))
    wanted = WORDS[name]
    for count in (16, 20, 45, 80):
        wanted = wanted.replace(f"{{{count}}}", PAD[name] * count)
    assert family.tokenizer.decode(ids) == wanted


@pytest.mark.parametrize("name", list(WORDS))
def test_a_question_cannot_hold_the_video(loaded: dict[str, Family], name: str) -> None:
    """A question that contains the placeholder is refused."""
    family: Any = loaded[name]
    with pytest.raises(UsageError, match="stands for the video"):
        family.prompt_ids(f"{PAD[name]}?", SECONDS, family.grid(5, (90, 120)))


@pytest.mark.parametrize("policy", ["packed", "original"])
def test_positions_of_what_is_left(family: Family, policy: str) -> None:
    """Each kept token has its position in the uncompressed prompt ("original"), or positions are consecutive."""
    frames, seconds, duration = clip(9)
    tokens = family.encode(frames)
    whole = family.prompt_for(tokens, ASK, seconds, duration, "original")
    kept = Dycoke(k=0.9).compress(tokens)
    left = family.prompt_for(kept, ASK, seconds, duration, policy)
    place = {tuple(row.tolist()): number for number, row in enumerate(whole.embeds[whole.visual])}
    assert [place[tuple(row.tolist())] for row in left.embeds[left.visual]] == kept.index.tolist()
    if policy == "packed" and left.positions.dim() == 1:
        assert left.positions.tolist() == list(range(len(left)))
        assert left.next_position == len(left)
        return
    assert torch.equal(left.positions[left.visual], whole.positions[whole.visual][kept.index])
    text, all_text = (
        torch.ones(len(made), dtype=torch.bool).index_fill_(0, made.visual, False) for made in (left, whole)
    )
    assert torch.equal(left.positions[text], whole.positions[all_text])
    assert left.next_position == whole.next_position


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_positions_count_frames_rows_and_columns(loaded: dict[str, Family], name: str) -> None:
    """Row and column positions count from the start of a patch; Qwen2.5-VL's time positions count seconds."""
    family = loaded[name]
    frames, seconds, duration = clip(8)
    tokens = family.encode(frames)
    visual = family.prompt_for(tokens, ASK, seconds, duration, "original")
    numbers = visual.positions[visual.visual] - visual.positions[visual.visual[0]]
    first = tokens.frame == 0
    assert torch.equal(numbers[first][:, 1:], torch.stack([tokens.row, tokens.col], dim=1)[first])
    assert numbers[first][:, 0].unique().tolist() == [0]
    if name == "qwen2_5_vl":
        assert numbers[~first][:, 0].min() == int(2 * 2 * duration / 8)


def test_levels_go_with_their_tokens(loaded: dict[str, Family]) -> None:
    """DeepStack features are selected by the same indices, and merged with the same weights, as features."""
    tokens = loaded["qwen3_vl"].encode(clip(9)[0])
    assert tokens.deepstack is not None
    assert tokens.deepstack.shape == (len(tokens), 2, tokens.features.shape[1])
    kept = torch.tensor([3, 17, 40])
    assert torch.equal(tokens.keep(kept).deepstack, tokens.deepstack[kept])
    into = torch.full((len(tokens),), -1)
    into[kept], into[4], into[5] = kept, 3, 3
    weights = torch.arange(len(tokens)).float()
    merged = tokens.merge(kept, into, weights)
    wanted = (3 * tokens.deepstack[3] + 4 * tokens.deepstack[4] + 5 * tokens.deepstack[5]) / 12
    torch.testing.assert_close(merged.deepstack[0], wanted)
    assert torch.equal(merged.deepstack[1:], tokens.deepstack[kept[1:]])
    wanted = (3 * tokens.features[3] + 4 * tokens.features[4] + 5 * tokens.features[5]) / 12
    torch.testing.assert_close(merged.features[0], wanted)
