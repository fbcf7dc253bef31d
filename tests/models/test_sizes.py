"""Computed parameter counts and weight bytes equal those of the models and their files."""

import pytest
import torch
from torch import nn
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, Qwen2Config, SiglipVisionConfig

from dycoke_cli.models.families.original_llava import SIGLIP_SO400M
from dycoke_cli.models.flops import TextShape, VisionShape
from dycoke_cli.models.names import DEMO, HUB_IDS
from dycoke_cli.models.sizes import KNOWN, Sizes, llava_sizes, stored_sizes
from tests.conftest import golden_model

TEXTS = {
    "llava-ov-0.5b": Qwen2Config(
        hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        vocab_size=152000, tie_word_embeddings=True,
    ),
    "llava-video-7b": Qwen2Config(
        hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
        vocab_size=152064, tie_word_embeddings=False,
    ),
}  # fmt: skip


def counted(model: nn.Module) -> Sizes:
    """Count the parameters of a model's modules."""
    layers = model.model.language_model.layers  # type: ignore[union-attr]
    matrices = [module.weight for module in layers.modules() if isinstance(module, nn.Linear)]  # type: ignore[union-attr]
    linear = sum(weight.numel() for weight in matrices)
    total = sum(weight.numel() for weight in model.parameters())
    return Sizes(linear, sum(len(weight) for weight in matrices), total - linear)


@pytest.mark.parametrize("name", TEXTS)
def test_the_arithmetic_is_that_of_the_real_modules(name: str) -> None:
    """The model, built on the meta device, has the computed counts of parameters, quantised ones included."""
    text = TEXTS[name]
    vision = {**SIGLIP_SO400M, "num_hidden_layers": 26, "vision_use_head": False}
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**vision), text_config=text, tie_word_embeddings=text.tie_word_embeddings
    )
    with torch.device("meta"):
        model = LlavaOnevisionForConditionalGeneration(config)
    model.tie_weights()
    assert counted(model) == KNOWN[name]


def test_72b_differs_from_7b_only_in_its_shape() -> None:
    """An independent sum per layer, from Qwen2's description."""
    hidden, m, layers, keys = 8192, 29568, 80, 1024
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * m + hidden + 2 * keys + 2 * hidden
    rest = 2 * 152064 * hidden + hidden + (1152 * hidden + hidden) + (hidden * hidden + hidden) + hidden
    assert KNOWN["llava-video-72b"].parameters == layers * layer + rest + 397_747_744


def test_every_llava_has_a_size() -> None:
    """`dycoke models list` has a size for each LLaVA model."""
    assert {name for name in HUB_IDS if name.startswith("llava")} <= set(KNOWN)


@pytest.mark.parametrize("name", ["tiny-ov", "tiny-ov-tied", "tiny-video"])
def test_files_tell_the_same_as_the_loaded_model(name: str) -> None:
    """Counts from file headers equal those of the loaded model: one file or shards, tied or not."""
    from tests.conftest import GOLDEN

    assert stored_sizes(GOLDEN / "checkpoints" / name) == counted(golden_model(name).model)


def test_bytes_of_each_format() -> None:
    """int8 has one scale per row, int4 one float32 scale per 64 weights; other parameters keep their format."""
    sizes = Sizes(linear=6400, rows=100, other=50)
    assert sizes.weight_bytes(2) == 2 * 6450
    assert sizes.weight_bytes(2, "int8") == 6400 + 2 * 150
    assert sizes.weight_bytes(4, "int4") == 3200 + 400 + 4 * 50


def test_the_demo_is_a_llava_too() -> None:
    """The demo's files have the counts computed from its configuration."""
    config = LlavaOnevisionConfig.from_pretrained(DEMO)
    shape = VisionShape.of(config.vision_config)
    tied = bool(config.tie_word_embeddings)
    assert llava_sizes(TextShape.of(config.text_config), shape, tied) == stored_sizes(DEMO)
