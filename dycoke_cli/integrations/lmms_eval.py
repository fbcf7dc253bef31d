"""What lmms-eval finds under its entry point `lmms_eval.models`: the name `dycoke`, and where its class is."""

from typing import Any


def manifest() -> Any:
    """Describe the model to lmms-eval, which calls this each time that it starts; nothing heavy is imported."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="dycoke",
        chat_class_path="dycoke_cli.integrations.lmms_eval_model.DyCokeModel",
        aliases=("dycoke_llava",),
    )
