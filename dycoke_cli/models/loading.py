"""Load a checkpoint: pick the family, place the weights, check that every weight found its place."""

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import DyCokeError, ModelError, OutOfMemoryError, UsageError
from dycoke_cli.models.checkpoints import Checkpoint, architecture, family_class, quiet, reason_of, video_layout
from dycoke_cli.models.model_folder import adding_remedy, restore_remedy

if TYPE_CHECKING:
    import torch

    from dycoke_cli.models.families.family import Family


def load(
    checkpoint: Checkpoint,
    device: "torch.device",
    dtype: "torch.dtype",
    quantize: str | None = None,
    spread: bool = False,
    **layout: Any,
) -> "Family":
    """Load a model of any family; LLaVA in transformers or lmms-lab format.

    quantize: int8 or int4, for the language model's matrices. spread: over all CUDA devices. layout: fields of
    VideoLayout that override the checkpoint's own. All three are for LLaVA only; other families raise UsageError.
    Raises ModelError for an unsupported architecture, and for missing or unused weights, with their names.
    """
    from dycoke_cli.models.layer_weights import join

    if checkpoint.family is not None:
        _refuse_llava_options(checkpoint.name, quantize, spread, layout)
        model, tokenizer = _load_files(checkpoint, dtype, config=checkpoint.model_config)
        model = model.to(device)
        join(model.model.language_model)
        with adding_remedy(checkpoint.folder):
            return family_class(checkpoint).from_model(model, tokenizer, checkpoint.folder)
    from dycoke_cli.models.families import original_llava
    from dycoke_cli.models.families.llava import Llava
    from dycoke_cli.models.quantization import quantization_config

    options: dict[str, Any] = {"config": checkpoint.model_config}
    if checkpoint.is_original:
        options["key_mapping"] = original_llava.KEY_MAPPING
    if quantize is not None:
        options["quantization_config"] = quantization_config(quantize, checkpoint.config, dtype)
    options |= _device_map(device, quantize, spread)
    model, tokenizer = _load_files(checkpoint, dtype, **options)
    # Layers offloaded to the host or the disk would be transferred again in every step.
    if spread and {str(place) for place in model.hf_device_map.values()} & {"cpu", "disk"}:
        message = f"{checkpoint.name!r} does not fit the CUDA devices together"
        raise OutOfMemoryError(message, "Use --quantize int8, or int4")
    if "device_map" not in options:
        model = model.to(device)
    join(model.model.language_model)
    return Llava(model, tokenizer, replace(video_layout(checkpoint), **layout))


def _refuse_llava_options(name: str, quantize: str | None, spread: bool, layout: dict[str, Any]) -> None:
    """Raise UsageError for options that only LLaVA supports.

    Quantisation and several devices are untested with other families, and these have a single layout.
    """
    flags = {"quantize": quantize is not None, "device-map": spread, **dict.fromkeys(layout, True)}
    for flag in (flag.replace("_", "-") for flag, given in flags.items() if given):
        raise UsageError(f"--{flag} is for LLaVA-OneVision and LLaVA-Video, which {name!r} is not", "Leave it out")


def _load_files(checkpoint: Checkpoint, dtype: "torch.dtype", **options: Any) -> tuple[Any, Any]:
    """Load the model and the tokenizer of a folder. Raises ModelError unless every weight is loaded and used."""
    import transformers

    from dycoke_cli.system.device import out_of_memory_explained

    try:
        with quiet(), out_of_memory_explained():
            tokenizer = _tokenizer(checkpoint.folder)
            # Weights of another shape raise no error here; `_refuse_mismatches` reports them by name.
            model, report = getattr(transformers, architecture(checkpoint)).from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                **options,
            )
    except DyCokeError:
        raise
    except Exception as error:  # transformers, safetensors and tokenizers raise many types for damaged files
        remedy = "Try it without --quantize" if "quantization_config" in options else restore_remedy(checkpoint.folder)
        raise ModelError(f"{checkpoint.name!r} cannot be loaded: {reason_of(error)}", remedy) from error
    _refuse_mismatches(checkpoint, report)
    _refuse_sliding_windows(checkpoint.name, model.config.text_config)
    return model.eval(), tokenizer


def _refuse_sliding_windows(name: str, config: Any) -> None:
    """Raise ModelError for layers with a sliding window.

    In the engine every layer attends to all positions, so a model trained with a window would give wrong answers.
    """
    kinds = getattr(config, "layer_types", None)
    windowed = any(kind != "full_attention" for kind in kinds) if kinds else getattr(config, "sliding_window", None)
    if windowed:
        raise ModelError(
            f"{name!r} has layers that read a sliding window, which dycoke cannot run", "Use a model without them"
        )


def _device_map(device: "torch.device", quantize: str | None, spread: bool) -> dict[str, Any]:
    """Return the `device_map` option of `from_pretrained`; empty where the weights are loaded to the host first."""
    if spread:
        from dycoke_cli.models.quantization import require

        require("accelerate", "--device-map auto", "Install it with: pip install 'dycoke[multi]'")
        if device.type != "cuda":
            raise UsageError(
                "--device-map auto spreads layers over CUDA devices, and the run is on a CPU", "Leave it out"
            )
        return {"device_map": "auto"}
    return {"device_map": {"": str(device)}} if quantize and device.type == "cuda" else {}


def _tokenizer(folder: Path) -> Any:
    """Load the tokenizer as its files define it; the family's own class would replace its rules by Qwen2's.

    One encode and decode follow, because invalid settings can raise only on use.
    """
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else Qwen2Tokenizer
    tokenizer = kind.from_pretrained(folder, local_files_only=True)
    tokenizer.decode(tokenizer("a", add_special_tokens=False)["input_ids"], skip_special_tokens=True)
    return tokenizer


def _refuse_mismatches(checkpoint: Checkpoint, report: dict[str, Any]) -> None:
    """Raise ModelError for missing, unused or wrongly shaped weights, which would give wrong answers without an error.

    report: the loading info of `from_pretrained`.
    """
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # A mismatched key is a tuple: name, shapes.
        keys = sorted(key if isinstance(key, str) else key[0] for key in report.get(kind) or ())
        if keys:
            shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            message = f"{checkpoint.name!r} does not fit its config.json, {kind.removesuffix('_keys')} weights: {shown}"
            raise ModelError(message, restore_remedy(checkpoint.folder))


def refuse_broken_torchvision() -> None:
    """Raise ModelError for a torchvision that does not fit torch: transformers' models fail to import with it."""
    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        raise ModelError(
            "the installed torchvision does not fit torch, so transformers cannot be imported",
            "dycoke does not need it: run `pip uninstall torchvision`, or install the build made for your torch",
        ) from error
