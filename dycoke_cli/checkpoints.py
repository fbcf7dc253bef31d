"""Names become files, files become a loaded model."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import ModelError, OutOfMemoryError, UsageError
from dycoke_cli.hub.cache import FILES as FILES
from dycoke_cli.hub.cache import cached_folder
from dycoke_cli.models import DEMO as DEMO
from dycoke_cli.models import HUB_IDS as HUB_IDS
from dycoke_cli.models import NAMES as NAMES
from dycoke_cli.models import address, find

if TYPE_CHECKING:
    import torch

    from dycoke_cli.families.family import Family, Outline
    from dycoke_cli.families.layout import VideoLayout
    from dycoke_cli.families.llava import Llava

# By the model_type of config.json: the file of `families` and its class.
FAMILIES = {
    "qwen2_5_vl": ("qwen2_5_vl", "Qwen25VL"),
    "qwen3_vl": ("qwen3_vl", "Qwen3VL"),
    "internvl": ("internvl", "InternVL"),
    "llava_next_video": ("llava_next_video", "LlavaNextVideo"),
}
ROOM_FOR_7B = 20 * 2**30  # bytes: 16 GB of bfloat16 weights and a run of 64 frames

DEMO_NOTICE = (
    "Answering with the bundled demo model, trained on drawn shapes: about real footage its answers mean nothing. "
    "For a real model add --model llava-ov-0.5b (downloads 1.8 GB once), or --model llava-video-7b on a GPU (16 GB)."
)


@dataclass(frozen=True)
class Checkpoint:
    """A model's files on this disk, and what its config.json says."""

    name: str
    folder: Path
    config: dict[str, Any]

    @property
    def default_frames(self) -> int:
        """How many frames the model was made for: 64 for LLaVA-Video, 16 for the demo, 32 for others.

        LLaVA-NeXT-Video has room for 16 in its context of 4096.
        """
        if self.folder == DEMO or self.config.get("model_type") == "llava_next_video":
            return 16
        return 64 if self.is_llava_video else 32

    @property
    def is_llava_video(self) -> bool:
        """Say whether this is a LLaVA-Video model.

        The original format says so. Conversions lose what no transformers configuration can say: their name is all
        that is left.
        """
        known_by_name = "llava-video" in f"{self.name} {self.config.get('_name_or_path', '')}".lower()
        return bool(self.config.get("add_time_instruction")) or known_by_name


def locate(name: str) -> Checkpoint:
    """Find the files of a model: `demo`, a known name, a local folder or a hub id; download what is not on disk.

    Raises ModelError when there is no such model, it cannot be fetched, or it is no model.
    """
    folder = _folder(name)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{str(folder)!r} has no config.json, so it is no model", "Name a model's folder") from None
    except ValueError as error:
        raise ModelError(f"config.json of {name!r} is damaged: {error}", "Fetch the model again") from None
    return Checkpoint(name, folder, config)


def choose() -> str:
    """Pick the model for `auto`: the best real one that is on this disk, else the bundled demo."""
    if on_disk("llava-video-7b") and _cuda_room() >= ROOM_FOR_7B:
        return "llava-video-7b"
    return "llava-ov-0.5b" if on_disk("llava-ov-0.5b") else "demo"


def on_disk(name: str) -> bool:
    """Say whether a hub model can be loaded without a download."""
    return cached_folder(*address(name)) is not None


def model_config(checkpoint: Checkpoint) -> Any:
    """Build the transformers configuration of a supported checkpoint, with its defaults filled in.

    Raises ModelError for an unsupported architecture, and for a damaged config.json.
    """
    from transformers import CONFIG_MAPPING

    from dycoke_cli.families import original_llava

    config = checkpoint.config
    if original_llava.is_original(config):
        return original_llava.model_config(config)
    if config.get("model_type") in ("llava_onevision", *FAMILIES):
        try:
            return CONFIG_MAPPING[config["model_type"]].from_dict(config)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _not_loaded(checkpoint.name, error, "Fetch the model again") from error
    kind = config.get("model_type") or config.get("architectures")
    raise ModelError(
        f"{checkpoint.name!r} is a {kind!r} model, which dycoke cannot run",
        "Use a LLaVA-OneVision or LLaVA-Video checkpoint, in transformers or lmms-lab format, or a Qwen2.5-VL, "
        "Qwen3-VL, InternVL3 or LLaVA-NeXT-Video one in transformers format",
    )


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
    if checkpoint.config.get("model_type") not in FAMILIES:
        return load_llava(checkpoint, device, dtype, quantize, spread, **layout)
    _refuse_what_is_for_llava(checkpoint.name, quantize, spread, layout)
    kind = _kind(checkpoint)
    model, tokenizer = _read(checkpoint, kind.architecture, dtype, config=model_config(checkpoint))
    family: Family = kind.opened(model.to(device), tokenizer, checkpoint.folder)
    return family


def outline(checkpoint: Checkpoint, **layout: Any) -> "Outline":
    """Make of a checkpoint's configuration, and nothing else, what can be counted before anything is loaded.

    layout: as in `load`; left out where a family has no choice. Raises ModelError for an unsupported architecture.
    """
    config = model_config(checkpoint)
    if checkpoint.config.get("model_type") in FAMILIES:
        counted: Outline = _kind(checkpoint).outlined(config, checkpoint.folder)
        return counted
    from dycoke_cli.families.llava import Llava

    return Llava(SimpleNamespace(config=config), None, replace(_video_layout(checkpoint), **layout))


def _kind(checkpoint: Checkpoint) -> Any:
    """Give the class of a family that is not LLaVA-OneVision's or LLaVA-Video's."""
    file, name = FAMILIES[checkpoint.config["model_type"]]
    return getattr(import_module(f"dycoke_cli.families.{file}"), name)


def load_llava(
    checkpoint: Checkpoint,
    device: "torch.device",
    dtype: "torch.dtype",
    quantize: str | None = None,
    spread: bool = False,
    **layout: Any,
) -> "Llava":
    """Load a LLaVA-OneVision or LLaVA-Video model in either format; see `load`."""
    from dycoke_cli.families import original_llava
    from dycoke_cli.families.llava import Llava
    from dycoke_cli.quantization import quantization_config

    options: dict[str, Any] = {"config": model_config(checkpoint)}
    if original_llava.is_original(checkpoint.config):
        options["key_mapping"] = original_llava.KEY_MAPPING
    if quantize is not None:
        options["quantization_config"] = quantization_config(quantize, checkpoint.config, dtype)
    options |= _placing(device, quantize, spread)
    model, tokenizer = _read(checkpoint, "LlavaOnevisionForConditionalGeneration", dtype, **options)
    if spread:
        _refuse_spill(checkpoint.name, model)
    elif "device_map" not in options:
        model = model.to(device)
    return Llava(model, tokenizer, replace(_video_layout(checkpoint), **layout))


def _video_layout(checkpoint: Checkpoint) -> "VideoLayout":
    """Say how a LLaVA model was taught to see a video laid out. Raises ModelError."""
    from dycoke_cli.families import original_llava
    from dycoke_cli.families.layout import VideoLayout

    if original_llava.is_original(checkpoint.config):
        return original_llava.video_layout(checkpoint.config)
    return VideoLayout("grid", time_instruction=True) if checkpoint.is_llava_video else VideoLayout()


def _refuse_what_is_for_llava(name: str, quantize: str | None, spread: bool, layout: dict[str, Any]) -> None:
    """Nobody has tried the first two with other families, and these have no choice of layouts."""
    flags = {"quantize": quantize is not None, "device-map": spread, **dict.fromkeys(layout, True)}
    for flag in (flag.replace("_", "-") for flag, given in flags.items() if given):
        raise UsageError(f"--{flag} is for LLaVA-OneVision and LLaVA-Video, which {name!r} is not", "Leave it out")


def _read(checkpoint: Checkpoint, architecture: str, dtype: "torch.dtype", **options: Any) -> tuple[Any, Any]:
    """Load model and tokenizer of a folder, whole or not at all."""
    import transformers

    with _quiet():
        try:
            # Weights of another shape are let through here, to be refused by name below.
            model, report = getattr(transformers, architecture).from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                output_loading_info=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                **options,
            )
            tokenizer = _tokenizer(checkpoint.folder)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            quantized = "quantization_config" in options
            remedy = "Try it without --quantize" if quantized else "Fetch the model again"
            raise _not_loaded(checkpoint.name, error, remedy) from error
    _refuse_gaps(checkpoint.name, report)
    _refuse_windows(checkpoint.name, model.config.text_config)
    return model.eval(), tokenizer


def _not_loaded(name: str, error: Exception, remedy: str) -> ModelError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelError(f"{name!r} cannot be loaded: {reason}", remedy)


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
        from dycoke_cli.quantization import require_accelerate

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
    """Load the tokenizer exactly as its file says; the family's own class would put Qwen2's rules in place of it."""
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else Qwen2Tokenizer
    return kind.from_pretrained(folder, local_files_only=True)


def _refuse_gaps(name: str, report: dict[str, Any]) -> None:
    """A layer left at random, or a weight left unused, would answer nonsense without a word."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Mismatched ones come with their shapes.
        keys = sorted(key if isinstance(key, str) else key[0] for key in report.get(kind) or ())
        if keys:
            shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            what = kind.replace("_keys", "")
            raise ModelError(f"{name!r} does not fit its config.json, {what} weights: {shown}", "Fetch the model again")


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' own bars and reports off the terminal; what matters is raised as ModelError."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _folder(name: str) -> Path:
    found = find(name)
    if found is not None:
        return found
    from dycoke_cli.hub.pull import pull

    return pull(*address(name)).folder


def _cuda_room() -> int:
    """Free bytes of the first CUDA device, 0 without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return 0
    import torch

    from dycoke_cli.memory import free_bytes

    return free_bytes(torch.device("cuda")) if torch.cuda.is_available() else 0
