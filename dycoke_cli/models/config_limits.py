"""What a config.json may ask for: no more layers and no more numbers than the weights hold, and no code."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from dycoke_cli.errors import ModelError
from dycoke_cli.models.weight_files import FLOATS, StoredWeight

LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth")
# What each part of a model has at least one of.
SIZES = (
    *LAYERS,
    "hidden_size",
    "max_position_embeddings",
    "intermediate_size",
    "num_attention_heads",
    "num_heads",
    "num_key_value_heads",
    "patch_size",
    "spatial_merge_size",
    "spatial_pool_stride",
    "temporal_patch_size",
    "vocab_size",
)
# The vision towers of models that transformers would build with any.
TOWERS = {"llava_onevision": "siglip_vision_model", "llava_next_video": "clip_vision_model"}
# Names of code and of other files, and a classifier's labels, each of which would be made. No answer takes any of it.
LEFT_OUT = {
    "auto_map",
    "attn_implementation",
    "custom_pipelines",
    "distributed_config",
    "experts_implementation",
    "fusion_config",
    "id2label",
    "label2id",
    "num_labels",
    "per_layer_config",
    "transformers_weights",
}
SPARE = 2  # times as many numbers may be missing as are there; which ones they are is found out while they are loaded
WIDEST = 512  # visual tokens along a side of a vision tower's window: every frame is padded to whole windows
PACKED = 8  # numbers in the smallest that a quantised checkpoint stores


def harmless(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what would make transformers load code or other files, here and in the parts."""
    return {
        key: harmless(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in LEFT_OUT and not key.startswith("_")
    }


def refuse_sizes(config: Mapping[str, Any], weights: Mapping[str, StoredWeight]) -> None:
    """Raise ModelError where a part of a config.json has none of something, or more layers than there are weights."""
    for key, value in _numbers(config):
        if key in SIZES and value < 1:
            raise ModelError(f"config.json has {key}={_shown(value)}, and no model has so few")
        if key in LAYERS and value > len(weights):
            raise _too_much(f"{key}={_shown(value)}", f"{len(weights)} weights")


def refuse_other_numbers(config: Mapping[str, Any], weights: Mapping[str, StoredWeight]) -> None:
    """Raise ModelError for weights that are whole numbers in a checkpoint that is not quantised."""
    if config.get("quantization_config"):
        return
    for name, weight in weights.items():
        if weight.dtype not in FLOATS and not name.endswith("position_ids"):
            raise ModelError(f"{weight.file} holds {name!r} as {weight.dtype}, which are no weights' numbers")


def refuse_other_parts(config: Any) -> None:
    """Raise ModelError where the parts of a transformers configuration are none that dycoke runs."""
    tower, text = config.vision_config.model_type, config.text_config
    if tower != TOWERS.get(config.model_type, tower):
        raise ModelError(
            f"config.json has a vision tower {str(tower)!r}, which dycoke cannot run in a {config.model_type!r} model",
            f"Use a model with {TOWERS[config.model_type]!r}",
        )
    heads, shared = text.num_attention_heads, text.num_key_value_heads
    if heads % shared:
        raise ModelError(f"config.json has num_attention_heads={heads}, which share num_key_value_heads={shared}")
    layers = getattr(config.vision_config, "num_hidden_layers", 0)
    chosen = getattr(config, "vision_feature_layer", -1)
    if any(not -1 - layers <= layer <= layers for layer in (chosen if isinstance(chosen, list) else [chosen])):
        raise ModelError(f"config.json has vision_feature_layer={chosen} of a vision tower with {layers} layers")
    width, heads = config.vision_config.hidden_size, getattr(config.vision_config, "num_heads", None)
    if heads is not None and width % (4 * heads):  # each pair of a head's numbers turns with a row, or with a column
        raise ModelError(f"config.json has num_heads={heads} in a vision tower with hidden_size={width}")
    window = getattr(config.vision_config, "window_size", None)
    if window is not None:
        side = config.vision_config.spatial_merge_size * config.vision_config.patch_size
        if not side <= window <= WIDEST * side:
            told = f"config.json has window_size={_shown(window)}, and visual tokens are {side} pixels wide"
            raise ModelError(f"{told}: a window holds 1 to {WIDEST} in a row")


def refuse_larger(architecture: Any, config: Any, weights: Mapping[str, StoredWeight]) -> None:
    """Raise ModelError where a model takes far more numbers than the weights hold.

    architecture: a transformers class, config: its configuration; built without memory for its numbers, and counted.
    """
    import torch

    with torch.device("meta"):
        model = architecture(deepcopy(config))
    wanted = sum(weight.numel() for weight in model.parameters())
    held = sum(weight.numbers for weight in weights.values())
    spare = SPARE * (PACKED if getattr(config, "quantization_config", None) else 1)
    if wanted > spare * held:
        raise _too_much(f"{wanted} numbers", f"{held}")


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield every whole number of a configuration and of its parts."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, int):
            yield key, value


def _too_much(asked: str, held: str) -> ModelError:
    return ModelError(f"config.json asks for {asked}, and the files hold {held}: they do not belong together")


def _shown(value: int) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:3]}... ({len(text)} digits)"
