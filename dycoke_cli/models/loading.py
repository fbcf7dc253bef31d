"""Files become a loaded model: of the right family, in the right place, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import DyCokeError, ModelError, OutOfMemoryError, UsageError
from dycoke_cli.models.checkpoints import Checkpoint, architecture, family_class, not_loaded, quiet, video_layout
from dycoke_cli.models.model_folder import again, remedied

if TYPE_CHECKING:
    import torch

    from dycoke_cli.models.families.family import Family
    from dycoke_cli.models.families.llava import Llava


def load(
    checkpoint: Checkpoint,
    device: "torch.device",
    dtype: "torch.dtype",
    quantize: str | None = None,
    spread: bool = False,
    **layout: Any,
) -> "Family":
    """Load a model of any family, LLaVA in either format.

    quantize: int8 or int4, for the language model's matrices. spread: over all CUDA devices. layout: fields of
    VideoLayout to use instead of the checkpoint's own. All three are for LLaVA alone.
    Raises ModelError for an unsupported architecture, and for any weight missing or left over, naming them.
    """
    if checkpoint.family is None:
        return _llava(checkpoint, device, dtype, quantize, spread, **layout)
    _refuse_what_is_for_llava(checkpoint.name, quantize, spread, layout)
    kind = family_class(checkpoint)
    model, tokenizer = _read(checkpoint, dtype, config=checkpoint.model_config)
    with remedied(checkpoint.folder):
        family: Family = kind.opened(model.to(device), tokenizer, checkpoint.folder)
    return family


def _llava(
    checkpoint: Checkpoint,
    device: "torch.device",
    dtype: "torch.dtype",
    quantize: str | None,
    spread: bool,
    **layout: Any,
) -> "Llava":
    """Load a LLaVA-OneVision or LLaVA-Video model in either format; see `load`."""
    from dycoke_cli.models.families import original_llava
    from dycoke_cli.models.families.llava import Llava
    from dycoke_cli.models.quantization import quantization_config

    options: dict[str, Any] = {"config": checkpoint.model_config}
    if checkpoint.is_original:
        options["key_mapping"] = original_llava.KEY_MAPPING
    if quantize is not None:
        options["quantization_config"] = quantization_config(quantize, checkpoint.config, dtype)
    options |= _placing(device, quantize, spread)
    model, tokenizer = _read(checkpoint, dtype, **options)
    if spread:
        _refuse_spill(checkpoint.name, model)
    elif "device_map" not in options:
        model = model.to(device)
    return Llava(model, tokenizer, replace(video_layout(checkpoint), **layout))


def _refuse_what_is_for_llava(name: str, quantize: str | None, spread: bool, layout: dict[str, Any]) -> None:
    """Nobody has tried the first two with other families, and these have no choice of layouts."""
    flags = {"quantize": quantize is not None, "device-map": spread, **dict.fromkeys(layout, True)}
    for flag in (flag.replace("_", "-") for flag, given in flags.items() if given):
        raise UsageError(f"--{flag} is for LLaVA-OneVision and LLaVA-Video, which {name!r} is not", "Leave it out")


def _read(checkpoint: Checkpoint, dtype: "torch.dtype", **options: Any) -> tuple[Any, Any]:
    """Load model and tokenizer of a folder, whole or not at all."""
    import transformers

    remedy = "Try it without --quantize" if "quantization_config" in options else again(checkpoint.folder)
    with quiet(), _explained(checkpoint.name, remedy):
        tokenizer = _tokenizer(checkpoint.folder)
        # Weights of another shape are let through here, to be refused by name below.
        model, report = getattr(transformers, architecture(checkpoint)).from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    _refuse_gaps(checkpoint, report)
    _refuse_windows(checkpoint.name, model.config.text_config)
    return model.eval(), tokenizer


@contextmanager
def _explained(name: str, remedy: str) -> Iterator[None]:
    """Turn what reading a model's files raises into a ModelError, but for memory that runs out."""
    from dycoke_cli.system.device import out_of_memory_explained

    try:
        with out_of_memory_explained():
            yield
    except DyCokeError:
        raise
    except Exception as error:  # whatever transformers, safetensors and tokenizers raise for files that are damaged
        raise not_loaded(name, error, remedy) from error


def _refuse_windows(name: str, config: Any) -> None:
    """The engine lets every layer read everything; a model trained to read a window would answer something else."""
    kinds = getattr(config, "layer_types", None)
    windowed = any(kind != "full_attention" for kind in kinds) if kinds else getattr(config, "sliding_window", None)
    if windowed:
        raise ModelError(
            f"{name!r} has layers that read a sliding window, which dycoke cannot run", "Use a model without them"
        )


def _placing(device: "torch.device", quantize: str | None, spread: bool) -> dict[str, Any]:
    """Say where the weights go while they are loaded; without a word they go through the host's memory."""
    if spread:
        from dycoke_cli.models.quantization import require_accelerate

        require_accelerate("--device-map auto")
        if device.type != "cuda":
            raise UsageError(
                "--device-map auto spreads layers over CUDA devices, and the run is on a CPU", "Leave it out"
            )
        return {"device_map": "auto"}
    return {"device_map": {"": str(device)}} if quantize and device.type == "cuda" else {}


def _refuse_spill(name: str, model: Any) -> None:
    """Raise OutOfMemoryError where layers were put aside on the host or the disk: each step would fetch them again."""
    places = {str(place) for place in model.hf_device_map.values()}
    if places & {"cpu", "disk"}:
        raise OutOfMemoryError(f"{name!r} does not fit the CUDA devices together", "Use --quantize int8, or int4")


def _tokenizer(folder: Path) -> Any:
    """Load the tokenizer exactly as its file says; the family's own class would put Qwen2's rules in place of it.

    It is tried, because some of its settings are looked at only when it is used.
    """
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else Qwen2Tokenizer
    tokenizer = kind.from_pretrained(folder, local_files_only=True)
    tokenizer.decode(tokenizer("a", add_special_tokens=False)["input_ids"], skip_special_tokens=True)
    return tokenizer


def _refuse_gaps(checkpoint: Checkpoint, report: dict[str, Any]) -> None:
    """A layer left at random, or a weight left unused, would answer nonsense without a word."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Mismatched ones come with their shapes.
        keys = sorted(key if isinstance(key, str) else key[0] for key in report.get(kind) or ())
        if keys:
            shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            what = kind.replace("_keys", "")
            told = f"{checkpoint.name!r} does not fit its config.json, {what} weights: {shown}"
            raise ModelError(told, again(checkpoint.folder))


def refuse_broken_torchvision() -> None:
    """Raise ModelError for a torchvision that does not fit torch: transformers' models cannot be imported beside it."""
    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        raise ModelError(
            "the installed torchvision does not fit torch, and keeps transformers from working",
            "dycoke does not need it: run `pip uninstall torchvision`, or install the build made for your torch",
        ) from error
