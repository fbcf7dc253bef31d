"""Build the demo model from small LLaVA-OneVision classes of transformers, and save it."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    GenerationConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from training.frames import GRID, IMAGE_SIZE

PATCH_SIZE = 8
VISION_WIDTH = 128
TEXT_WIDTH = 128
TOKENS_A_FRAME = GRID * GRID


def build_model(tokenizer: Tokenizer, seed: int = 0) -> LlavaOnevisionForConditionalGeneration:
    """Build an untrained float32 model with sin-cos position embeddings in its vision tower."""
    torch.manual_seed(seed)
    end = tokenizer.token_to_id("<|im_end|>")
    text = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=TEXT_WIDTH,
        intermediate_size=384,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=end,
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
    )
    vision = SiglipVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        vision_use_head=False,
    )
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.token_to_id("<image>"),
        video_token_index=tokenizer.token_to_id("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        image_grid_pinpoints=[[IMAGE_SIZE, IMAGE_SIZE]],
    )
    model = LlavaOnevisionForConditionalGeneration(config)
    with torch.no_grad():
        positions = model.model.vision_tower.embeddings.position_embedding.weight
        positions.copy_(_sin_cos(IMAGE_SIZE // PATCH_SIZE, VISION_WIDTH) * 0.5)
    return model


def _sin_cos(side: int, width: int) -> torch.Tensor:
    frequencies = 1.0 / 100 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies
    wave = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows, columns = wave[:, None].expand(side, side, -1), wave[None].expand(side, side, -1)
    return torch.cat((rows, columns), dim=-1).reshape(side * side, width)


def frame_tokens(model: LlavaOnevisionForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """Map pixels float (frames, 3, 96, 96) to visual tokens float (frames, 36, width), as the stock model does."""
    tower = model.model.vision_tower
    # The stock model reads the encoder's output before the final layer norm.
    features = tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state
    return model.model.apply_pooling(model.model.multi_modal_projector(features))


def save_model(model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, folder: Path) -> None:
    """Save the model in float16 and its tokenizer as a transformers folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.float16) for name, value in model.state_dict().items()}
    weights.pop("lm_head.weight", None)
    half = LlavaOnevisionForConditionalGeneration(model.config).to(torch.float16)
    half.load_state_dict(weights, strict=False)
    half.tie_weights()
    end = tokenizer.token_to_id("<|im_end|>")
    half.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=tokenizer.token_to_id("<|endoftext|>"), do_sample=False
    )
    half.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written with mode 0600
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=model.config.text_config.max_position_embeddings,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<image>", "<video>"],
    )
    wrapped.save_pretrained(folder)


def parameter_groups(
    module: torch.nn.Module, skip: tuple[str, ...] = ()
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Split trainable parameters into hidden matrices (for Muon) and the rest (for AdamW)."""
    matrices, rest = [], []
    for name, parameter in module.named_parameters():
        if any(part in name for part in skip):
            continue
        embeds = "embed" in name or "head" in name
        (matrices if parameter.ndim == 2 and not embeds else rest).append(parameter)
    return matrices, rest


def cosine(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate at `step`: linear warm-up, then cosine decay to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
