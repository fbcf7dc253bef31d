"""Build a tiny model with random weights of each family, and save it to a folder in transformers format."""

import json
import math
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 288,
    "max_position_embeddings": 4096,
    "bos_token_id": 256,
    "eos_token_id": 257,
}
SPECIAL = [
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>", "<image>",
]  # fmt: skip
ID = {name: 256 + number for number, name in enumerate(SPECIAL)}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
QWEN_VISION = {
    "depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "patch_size": 4, "out_hidden_size": 32,
}  # fmt: skip
QWEN_IDS = {
    "image_token_id": ID["<|image_pad|>"],
    "video_token_id": ID["<|video_pad|>"],
    "vision_start_token_id": ID["<|vision_start|>"],
    "vision_end_token_id": ID["<|vision_end|>"],
}


def llava_onevision() -> Any:
    config = transformers.LlavaOnevisionConfig(
        vision_config=transformers.SiglipVisionConfig(
            **VISION, num_hidden_layers=2, image_size=32, patch_size=4, vision_use_head=False
        ),
        text_config=transformers.Qwen2Config(**TEXT),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_token_index=ID["<image>"],
        video_token_index=ID["<video>"],
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config)


def qwen2_5_vl() -> Any:
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **TEXT,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4},
        },
        vision_config={**QWEN_VISION, "window_size": 16, "fullatt_block_indexes": [1], "tokens_per_second": 2},
        **QWEN_IDS,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen3_vl() -> Any:
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True, "rope_theta": 1e4}
    config = transformers.Qwen3VLConfig(
        text_config={**TEXT, "head_dim": 8, "rope_parameters": rope},
        vision_config={**QWEN_VISION, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]},
        **QWEN_IDS,
    )
    return transformers.Qwen3VLForConditionalGeneration(config)


def internvl() -> Any:
    config = transformers.InternVLConfig(
        vision_config={**VISION, "num_hidden_layers": 2, "image_size": [32, 32], "patch_size": [4, 4]},
        text_config=transformers.Qwen2Config(**TEXT),
        image_token_id=ID["<IMG_CONTEXT>"],
        tie_word_embeddings=False,
    )
    return transformers.InternVLForConditionalGeneration(config)


def llava_next_video() -> Any:
    config = transformers.LlavaNextVideoConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION, num_hidden_layers=3, image_size=32, patch_size=4),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_index=ID["<image>"],
        video_token_index=ID["<video>"],
    )
    return transformers.LlavaNextVideoForConditionalGeneration(config)


MODELS = {
    build.__name__: build for build in (llava_onevision, qwen2_5_vl, qwen3_vl, internvl, llava_next_video)
}  # fmt: skip
# Limits on pixels with which frames of 90 x 120 pixels become about 4 x 5 tokens.
PROCESSORS = {
    "qwen2_5_vl": {"size": {"shortest_edge": 4 * 64, "longest_edge": 20 * 64}},
    "qwen3_vl": {"size": {"shortest_edge": 4 * 64, "longest_edge": 120 * 64}},
}


def tokenizer(known: list[str]) -> transformers.PreTrainedTokenizerFast:
    """Build a byte-level tokenizer with the special tokens of all families; those not in `known` are renamed."""
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(bytes_)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    names = [name if name in known else f"<unused{number}>" for number, name in enumerate(SPECIAL)]
    made.add_special_tokens([AddedToken(name, special=True) for name in names])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def randomize(model: torch.nn.Module) -> None:
    """Draw weights that make attention peaked, so that the logits depend on which tokens are read."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                scale = 2.0 if "q_proj" in name or "k_proj" in name else 1.0
                fan = 1 if "embed" in name and weight.dim() == 2 else weight[0].numel()
                weight.normal_(0, scale / math.sqrt(fan), generator=generator)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1, generator=generator)


def save(family: str, folder: Path) -> Path:
    """Save a tiny model of `family` to `folder`, and return the folder."""
    model = MODELS[family]()
    randomize(model)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    known = [name for name in SPECIAL if family != "llava_next_video" or not name.startswith("<|im_")]
    tokenizer(known).save_pretrained(folder)
    if family in PROCESSORS:
        (folder / "video_preprocessor_config.json").write_text(json.dumps(PROCESSORS[family]))
    return folder
