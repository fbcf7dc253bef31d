"""Networks of real size with random weights: answers are meaningless, times and bytes are real."""

import json
from dataclasses import dataclass
from typing import Any

import torch

from dycoke_cli.errors import OutOfMemoryError, UsageError
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.families.original_llava import model_config
from dycoke_cli.models.layer_weights import join
from dycoke_cli.models.names import DEMO

SPREAD = 0.02  # standard deviation of the weights; normalised layers keep hidden states and logits finite with it
BLOCK = 1_000_003  # random numbers, repeated to fill the weights; a prime, so that no two rows of a matrix are equal

# The sizes of LLaVA-OneVision and LLaVA-Video on Qwen2, from their config.json.
_COMMON = {
    "mm_vision_tower": "google/siglip-so400m-patch14-384",
    "mm_vision_select_layer": -2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
}
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
_TEXT = {
    "0.5b": (896, 4864, 24, 14, 2),
    "7b": (3584, 18944, 28, 28, 4),
    "72b": (8192, 29568, 80, 64, 8),
}
_VOCABULARY = {"0.5b": 151936, "7b": 152064, "72b": 152064}
NAMES = ("demo", *_TEXT)


@dataclass(frozen=True)
class Shape:
    """The sizes of a network.

    layers: number of layers of the language model, and at most as many of the vision tower; None: the real depth.
    """

    name: str
    layers: int | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UsageError(f"shape {self.name!r} does not exist", f"Choose {', '.join(NAMES)}")
        if self.layers is not None and self.layers < 1:
            raise UsageError(f"--layers is {self.layers}: it must be at least 1", "Leave it out for the real depth")

    def config(self) -> Any:
        """Build the transformers configuration."""
        if self.name == "demo":
            from transformers import LlavaOnevisionConfig

            written = (DEMO / "config.json").read_text(encoding="utf-8")
            config = LlavaOnevisionConfig.from_dict(json.loads(written))
        else:
            sizes = dict(zip(_SIZES, _TEXT[self.name], strict=True))
            vocabulary = {"vocab_size": _VOCABULARY[self.name], "tie_word_embeddings": self.name == "0.5b"}
            config = model_config({**_COMMON, **sizes, **vocabulary})
        if self.layers is not None:
            config.text_config.num_hidden_layers = self.layers
            config.text_config.layer_types = config.text_config.layer_types[:1] * self.layers
            config.vision_config.num_hidden_layers = min(self.layers, config.vision_config.num_hidden_layers)
        return config

    def outline(self, dtype: torch.dtype) -> Llava:
        """Build the network on the meta device, without allocating weights, to read its sizes."""
        with torch.device("meta"):
            return _llava(self.config(), dtype)

    def build(self, device: torch.device, dtype: torch.dtype, free: int) -> Llava:
        """Build the network on `device` in `dtype`, without a copy in another format.

        free: free bytes of the device. Raises OutOfMemoryError before anything is allocated.
        """
        needed = self.outline(dtype).weight_bytes
        if needed > free:
            raise OutOfMemoryError(
                f"shape {self.name} has {needed / 1e9:.1f} GB of weights in {str(dtype).removeprefix('torch.')}, and "
                f"{device} has {free / 1e9:.1f} GB free",
                "Use a smaller --shape, or --dtype bfloat16 where that is not set",
            )
        with device:
            model = _llava(self.config(), dtype)
        join(model.language_model.body)
        _fill(model.model)
        return model


def _llava(config: Any, dtype: torch.dtype) -> Llava:
    """Build the network on the current default device, with uninitialised weights."""
    from transformers import LlavaOnevisionForConditionalGeneration
    from transformers.initialization import no_init_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        # The default initialisation draws every weight twice, which takes a minute on a CPU.
        with no_init_weights():
            model = LlavaOnevisionForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    model.tie_weights()
    return Llava(model, None, VideoLayout())


@torch.no_grad()
def _fill(model: Any) -> None:
    """Fill matrices with seeded noise, norm weights with one and biases with zero."""
    device, dtype = model.device, model.dtype
    noise = torch.randn(BLOCK, generator=torch.Generator(device).manual_seed(0), device=device).mul_(SPREAD).to(dtype)
    for name, weight in model.named_parameters():
        if weight.dim() == 1 and not name.endswith("newline"):
            weight.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        flat = weight.view(-1)
        for start in range(0, len(flat), BLOCK):
            piece = flat[start : start + BLOCK]
            piece.copy_(noise[: len(piece)])
