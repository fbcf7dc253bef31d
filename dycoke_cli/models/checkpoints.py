"""Locate a model's checkpoint by name, and determine its family, configuration and video layout."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import ModelError
from dycoke_cli.models.config_limits import refuse_oversized, refuse_unsupported_parts, without_code
from dycoke_cli.models.hub.cache import cached_folder
from dycoke_cli.models.model_file import read_object
from dycoke_cli.models.model_folder import adding_remedy, validate_folder
from dycoke_cli.models.names import DEMO, address, fetch, find
from dycoke_cli.models.weight_files import stored_weights

if TYPE_CHECKING:
    from dycoke_cli.models.families.family import Outline
    from dycoke_cli.models.families.layout import VideoLayout

# model_type of config.json, which is also the module in `families` -> class.
FAMILIES = {
    "qwen2_5_vl": "Qwen25VL",
    "qwen3_vl": "Qwen3VL",
    "internvl": "InternVL",
    "llava_next_video": "LlavaNextVideo",
}
ROOM_FOR_7B = 20 * 2**30  # bytes: 16 GB of bfloat16 weights, and a run of 64 frames

DEMO_NOTICE = (
    "Answering with the bundled demo model, trained on drawn shapes: about real footage its answers mean nothing. "
    "For a real model add --model llava-ov-0.5b (downloads 1.8 GB once), or --model llava-video-7b on a GPU (16 GB)."
)


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder on this disk, and its parsed config.json."""

    name: str
    folder: Path
    config: dict[str, Any]

    @property
    def default_frames(self) -> int:
        """Return the default number of sampled frames: 64 for LLaVA-Video, 16 for the demo, 32 for others.

        16 for LLaVA-NeXT-Video too: no more fit its context of 4096 positions.
        """
        if self.folder == DEMO or self.config.get("model_type") == "llava_next_video":
            return 16
        return 64 if self.is_llava_video else 32

    @property
    def is_llava_video(self) -> bool:
        """Return whether this is a LLaVA-Video model.

        The original format has `add_time_instruction`. A transformers configuration has no such field, so a conversion
        is recognised by its name.
        """
        known_by_name = "llava-video" in f"{self.name} {self.config.get('_name_or_path', '')}".lower()
        return bool(self.config.get("add_time_instruction")) or known_by_name

    @property
    def is_original(self) -> bool:
        """Return whether the checkpoint is in the lmms-lab format.

        `model_type` does not identify it: there it is "llava", "llava_qwen" or "qwen2".
        """
        return "mm_vision_tower" in self.config or self.config.get("architectures") == ["LlavaQwenForCausalLM"]

    @property
    def family(self) -> str | None:
        """Return the `model_type`; None for LLaVA-OneVision and LLaVA-Video, which have no entry in `FAMILIES`."""
        kind = self.config.get("model_type")
        return kind if isinstance(kind, str) and kind in FAMILIES and not self.is_original else None

    @cached_property
    def model_config(self) -> Any:
        """The transformers configuration with its defaults, checked against the weights. Raises ModelError."""
        import transformers

        from dycoke_cli.models.families import original_llava

        config = without_code(self.config)
        with adding_remedy(self.folder), quiet():
            try:
                made = (
                    original_llava.model_config(config)
                    if self.is_original
                    else transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config)
                )
                refuse_unsupported_parts(made)
                refuse_oversized(getattr(transformers, architecture(self)), made, stored_weights(self.folder))
            except (ModelError, MemoryError):
                raise
            except Exception as error:  # transformers' checks and arithmetic raise errors of any type
                message = f"config.json of {str(self.folder)!r} describes no valid model: {reason_of(error)}"
                raise ModelError(message) from error
        return made


def locate(name: str) -> Checkpoint:
    """Locate a model: `demo`, a known name, a local folder or a hub id; download it if it is not on disk.

    Only config.json, the settings files and the headers of the weights are read, to check that all files exist, are
    complete and belong together. Raises ModelError when there is no such model, it cannot be fetched, its files are
    damaged, or dycoke cannot run it.
    """
    folder = find(name) or fetch(name).folder
    with adding_remedy(folder):
        try:
            checkpoint = Checkpoint(name, folder, read_object(folder / "config.json"))
        except FileNotFoundError:
            message = f"{str(folder)!r} has no config.json, so it is not a model"
            raise ModelError(message, "Name a model's folder") from None
        _refuse_unknown(checkpoint)
        validate_folder(folder, checkpoint.config)
    return checkpoint


def choose_auto() -> str:
    """Return the model name for `auto`: the best released model on this disk, else the bundled demo."""
    if on_disk("llava-video-7b") and _free_cuda_bytes() >= ROOM_FOR_7B:
        return "llava-video-7b"
    return "llava-ov-0.5b" if on_disk("llava-ov-0.5b") else "demo"


def on_disk(name: str) -> bool:
    """Return whether a hub model can be loaded without a download."""
    return cached_folder(*address(name)) is not None


def architecture(checkpoint: Checkpoint) -> str:
    """Return the name of the transformers class of a checkpoint's model."""
    if checkpoint.family is not None:
        return str(family_class(checkpoint).architecture)
    return "LlavaOnevisionForConditionalGeneration"


def _refuse_unknown(checkpoint: Checkpoint) -> None:
    """Raise ModelError for an architecture that no family supports."""
    kind = checkpoint.config.get("model_type")
    if checkpoint.is_original or checkpoint.family or kind == "llava_onevision":
        return
    kind = kind or checkpoint.config.get("architectures")
    raise ModelError(
        f"{checkpoint.name!r} is a {str(kind)[:80]!r} model, which dycoke cannot run",
        "Use a LLaVA-OneVision or LLaVA-Video checkpoint, in transformers or lmms-lab format, or a Qwen2.5-VL, "
        "Qwen3-VL, InternVL3 or LLaVA-NeXT-Video one in transformers format",
    )


def outline(checkpoint: Checkpoint, **layout: Any) -> "Outline":
    """Build an `Outline` from a checkpoint's configuration alone: token and patch counts, without loading the model.

    layout: as in `loading.load`; ignored by families with one layout. Raises ModelError for an invalid configuration.
    """
    config = checkpoint.model_config
    if checkpoint.family is not None:
        with adding_remedy(checkpoint.folder):
            return family_class(checkpoint).from_config(config, checkpoint.folder)
    from dycoke_cli.models.families.llava import Llava

    return Llava(SimpleNamespace(config=config), None, replace(video_layout(checkpoint), **layout))


def family_class(checkpoint: Checkpoint) -> Any:
    """Import and return the class of a family in `FAMILIES`."""
    kind = checkpoint.config["model_type"]
    return getattr(import_module(f"dycoke_cli.models.families.{kind}"), FAMILIES[kind])


def video_layout(checkpoint: Checkpoint) -> "VideoLayout":
    """Return the video layout that a LLaVA model was trained with. Raises ModelError for an unsupported one."""
    from dycoke_cli.models.families import original_llava
    from dycoke_cli.models.families.layout import VideoLayout

    if checkpoint.is_original:
        return original_llava.video_layout(checkpoint.config)
    return VideoLayout("grid", time_instruction=True) if checkpoint.is_llava_video else VideoLayout()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress transformers' progress bars and warnings; dycoke reports failures as ModelError."""
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


def reason_of(error: Exception) -> str:
    """Return the first line of an error's cause, where strict configurations put the reason, else of the error."""
    for text in (str(error.__cause__ or ""), str(error)):
        if text.strip():
            return text.strip().splitlines()[0]
    return type(error).__name__


def _free_cuda_bytes() -> int:
    """Return the free bytes of the first CUDA device, 0 without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return 0
    import torch

    from dycoke_cli.system.free_memory import free_bytes

    return free_bytes(torch.device("cuda")) if torch.cuda.is_available() else 0
