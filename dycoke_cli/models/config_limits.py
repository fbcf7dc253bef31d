"""Limits on a checkpoint's config.json: sizes within what the weights hold, supported parts, no code."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from dycoke_cli.errors import ModelError
from dycoke_cli.models.weight_files import FLOATS, StoredWeight

LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth")
# Fields whose value must be at least 1, in every part of a model.
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
# The only supported vision tower of families that transformers would build with any.
TOWERS = {"llava_onevision": "siglip_vision_model", "llava_next_video": "clip_vision_model"}
# Fields that name code or other files, and a classifier's labels, for each of which transformers would create an entry.
# Answering a question needs none of them.
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
SPARE = 2  # allowed ratio of parameters in the model to numbers in the files; loading reports which are missing
WIDEST = 512  # visual tokens along a side of a vision tower's window, at most: frames are padded to whole windows
PACKED = 8  # parameters per stored number in a quantised checkpoint, at most


def without_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration, nested parts included, without fields that make transformers load code or files."""
    return {
        key: without_code(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in LEFT_OUT and not key.startswith("_")
    }


def refuse_sizes(config: Mapping[str, Any], weights: Mapping[str, StoredWeight]) -> None:
    """Raise ModelError if a size in a config.json is below 1, or a number of layers exceeds the number of weights."""
    for key, value in _numbers(config):
        if key in SIZES and value < 1:
            raise ModelError(f"config.json has {key}={_shown(value)}, which must be at least 1")
        if key in LAYERS and value > len(weights):
            raise _too_much(f"{key}={_shown(value)}", f"{len(weights)} weights")


def refuse_integer_weights(config: Mapping[str, Any], weights: Mapping[str, StoredWeight]) -> None:
    """Raise ModelError for integer weights in a checkpoint that is not quantised."""
    if config.get("quantization_config"):
        return
    for name, weight in weights.items():
        if weight.dtype not in FLOATS and not name.endswith("position_ids"):
            raise ModelError(f"{weight.file} holds {name!r} as {weight.dtype}, which is not floating point")


def refuse_unsupported_parts(config: Any) -> None:
    """Raise ModelError if a transformers configuration has parts that dycoke does not support, or that do not fit."""
    tower, text = config.vision_config.model_type, config.text_config
    if tower != TOWERS.get(config.model_type, tower):
        raise ModelError(
            f"config.json has a vision tower {str(tower)!r}, which dycoke cannot run in a {config.model_type!r} model",
            f"Use a model with {TOWERS[config.model_type]!r}",
        )
    heads, shared = text.num_attention_heads, text.num_key_value_heads
    if heads % shared:
        raise ModelError(f"config.json has num_attention_heads={heads}, no multiple of num_key_value_heads={shared}")
    layers = getattr(config.vision_config, "num_hidden_layers", 0)
    chosen = getattr(config, "vision_feature_layer", -1)
    if any(not -1 - layers <= layer <= layers for layer in (chosen if isinstance(chosen, list) else [chosen])):
        raise ModelError(f"config.json has vision_feature_layer={chosen} of a vision tower with {layers} layers")
    width, heads = config.vision_config.hidden_size, getattr(config.vision_config, "num_heads", None)
    if heads is not None and width % (4 * heads):  # 2-D rotary: half of a head's pairs rotate with the row
        raise ModelError(f"config.json has num_heads={heads} in a vision tower with hidden_size={width}")
    window = getattr(config.vision_config, "window_size", None)
    if window is not None:
        side = config.vision_config.spatial_merge_size * config.vision_config.patch_size
        if not side <= window <= WIDEST * side:
            message = f"config.json has window_size={_shown(window)}, and visual tokens are {side} pixels wide"
            raise ModelError(f"{message}: a window must be 1 to {WIDEST} tokens wide")


def refuse_oversized(architecture: Any, config: Any, weights: Mapping[str, StoredWeight]) -> None:
    """Raise ModelError if a model has far more parameters than the files hold numbers.

    architecture: a transformers class; config: its configuration. The model is built on the meta device, so that
    counting its parameters allocates no memory for them.
    """
    import torch

    with torch.device("meta"):
        model = architecture(deepcopy(config))
    parameters = sum(weight.numel() for weight in model.parameters())
    held = sum(weight.numbers for weight in weights.values())
    spare = SPARE * (PACKED if getattr(config, "quantization_config", None) else 1)
    if parameters > spare * held:
        raise _too_much(f"{parameters} parameters", f"{held}")


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the key and value of every integer in a configuration and its nested parts."""
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
