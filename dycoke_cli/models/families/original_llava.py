"""Convert the lmms-lab checkpoint format (`llava_qwen`) to transformers' LLaVA-OneVision: configuration, weight names.

Source of key names and sizes: the released LLaVA-NeXT code and transformers' conversion script.
"""

from typing import Any, get_args

from dycoke_cli.errors import ModelError
from dycoke_cli.models.families.layout import Newline, Pooling, VideoLayout

KEY_MAPPING = {
    r"^model\.vision_tower\.vision_tower\.vision_model\.": "model.vision_tower.",
    r"^model\.mm_projector\.0\.": "model.multi_modal_projector.linear_1.",
    r"^model\.mm_projector\.2\.": "model.multi_modal_projector.linear_2.",
    r"^model\.embed_tokens\.": "model.language_model.embed_tokens.",
    r"^model\.layers\.": "model.language_model.layers.",
    r"^model\.norm\.": "model.language_model.norm.",
}

# google/siglip-so400m-patch14-384. The checkpoints do not contain its last layer, because they use the output of the
# layer before it.
SIGLIP_SO400M: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}

TEXT_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "attention_dropout",
    "initializer_range",
    "tie_word_embeddings",
)


def model_config(config: dict[str, Any]) -> Any:
    """Build the LlavaOnevisionConfig that a config.json of this format describes.

    Raises ModelError for a part that transformers' LLaVA-OneVision does not support.
    """
    from transformers import LlavaOnevisionConfig, Qwen2Config, SiglipVisionConfig

    expect(config, "mm_projector_type", ("mlp2x_gelu",))
    expect(config, "mm_vision_select_feature", ("patch",))
    tower = str(config.get("mm_vision_tower", ""))
    vision = config.get("vision_config")
    if vision is None:
        if "siglip-so400m-patch14-384" not in tower:
            raise ModelError(
                f"the vision tower {tower!r} of this checkpoint is not supported",
                "Supported: siglip-so400m-patch14-384",
            )
        vision = SIGLIP_SO400M
    dropped = -1 - int(config.get("mm_vision_select_layer", -2))
    if not 0 <= dropped < vision["num_hidden_layers"]:
        raise ModelError(f"the checkpoint has mm_vision_select_layer={-1 - dropped}, which is no layer of its tower")
    vision = {**vision, "num_hidden_layers": vision["num_hidden_layers"] - dropped, "vision_use_head": False}
    text = {key: config[key] for key in TEXT_SIZES if key in config}
    rope = {"rope_type": "default", "rope_theta": float(config.get("rope_theta", 1e6))}
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**vision),
        text_config=Qwen2Config(**text, rope_parameters=rope, use_sliding_window=False),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu",
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
    )


def video_layout(config: dict[str, Any]) -> VideoLayout:
    """Read the video layout from a config.json of this format. Raises ModelError for an unsupported value."""
    expect(config, "mm_newline_position", get_args(Newline))
    expect(config, "mm_spatial_pool_mode", get_args(Pooling))
    if config.get("add_faster_video"):
        raise ModelError("checkpoints with add_faster_video are not supported", "Use one without it")
    return VideoLayout(
        config.get("mm_newline_position", "one_token"),
        config.get("mm_spatial_pool_mode", "bilinear"),
        time_instruction=bool(config.get("add_time_instruction", False)),
    )


def expect(config: dict[str, Any], key: str, supported: tuple[str, ...]) -> None:
    """Raise ModelError unless `key` is absent or has a supported value."""
    if key in config and config[key] not in supported:
        raise ModelError(
            f"the checkpoint has {key}={config[key]!r}, which is not supported", f"Supported: {', '.join(supported)}"
        )
