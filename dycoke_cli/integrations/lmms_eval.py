"""Entry point `lmms_eval.models` for lmms-eval: registers the model name `dycoke` and the path of its class."""

from typing import Any


def manifest() -> Any:
    """Return the manifest of the model. lmms-eval calls this at every start, so it imports nothing heavy."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="dycoke",
        chat_class_path="dycoke_cli.integrations.lmms_eval_model.DyCokeModel",
        aliases=("dycoke_llava",),
    )
