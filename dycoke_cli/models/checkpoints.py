"""Names become files, and files tell what model they are."""

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
from dycoke_cli.models.config_limits import harmless, refuse_larger, refuse_other_parts
from dycoke_cli.models.hub.cache import FILES as FILES
from dycoke_cli.models.hub.cache import cached_folder
from dycoke_cli.models.model_file import read_object
from dycoke_cli.models.model_folder import look_through, remedied
from dycoke_cli.models.names import DEMO as DEMO
from dycoke_cli.models.names import HUB_IDS as HUB_IDS
from dycoke_cli.models.names import NAMES as NAMES
from dycoke_cli.models.names import address, fetch, find
from dycoke_cli.models.weight_files import stored_weights

if TYPE_CHECKING:
    from dycoke_cli.models.families.family import Outline
    from dycoke_cli.models.families.layout import VideoLayout

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

    @property
    def is_original(self) -> bool:
        """Recognise the lmms-lab format by what is in it: `model_type` there says "llava", "llava_qwen" or "qwen2"."""
        return "mm_vision_tower" in self.config or self.config.get("architectures") == ["LlavaQwenForCausalLM"]

    @property
    def family(self) -> str | None:
        """The `model_type` of a family that is not LLaVA-OneVision's or LLaVA-Video's; None for these."""
        kind = self.config.get("model_type")
        return kind if isinstance(kind, str) and kind in FAMILIES and not self.is_original else None

    @cached_property
    def model_config(self) -> Any:
        """The transformers configuration with its defaults, no larger than the weights. Raises ModelError."""
        return _model_config(self)


def locate(name: str) -> Checkpoint:
    """Find the files of a model: `demo`, a known name, a local folder or a hub id; download what is not on disk.

    The files are looked through, not read: that all are there, whole, and belong together as far as their headers say.
    Raises ModelError when there is no such model, it cannot be fetched, it is no model or one that dycoke cannot run,
    and for damaged files.
    """
    folder = _folder(name)
    with remedied(folder):
        try:
            checkpoint = Checkpoint(name, folder, read_object(folder / "config.json"))
        except FileNotFoundError:
            told = f"{str(folder)!r} has no config.json, so it is no model"
            raise ModelError(told, "Name a model's folder") from None
        _refuse_unknown(checkpoint)
        look_through(folder, checkpoint.config)
    return checkpoint


def choose() -> str:
    """Pick the model for `auto`: the best real one that is on this disk, else the bundled demo."""
    if on_disk("llava-video-7b") and _cuda_room() >= ROOM_FOR_7B:
        return "llava-video-7b"
    return "llava-ov-0.5b" if on_disk("llava-ov-0.5b") else "demo"


def on_disk(name: str) -> bool:
    """Say whether a hub model can be loaded without a download."""
    return cached_folder(*address(name)) is not None


def _model_config(checkpoint: Checkpoint) -> Any:
    """Build the transformers configuration of a checkpoint. Raises ModelError for one that is damaged."""
    import transformers

    from dycoke_cli.models.families import original_llava

    config = harmless(checkpoint.config)
    original = checkpoint.is_original
    with remedied(checkpoint.folder), quiet():
        try:
            made = (
                original_llava.model_config(config)
                if original
                else transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config)
            )
            refuse_other_parts(made)
            refuse_larger(getattr(transformers, architecture(checkpoint)), made, stored_weights(checkpoint.folder))
        except (ModelError, MemoryError):
            raise
        except Exception as error:  # whatever the checks and the arithmetic of transformers raise
            told = f"config.json of {str(checkpoint.folder)!r} describes no model: {_reason(error)}"
            raise ModelError(told) from error
    return made


def architecture(checkpoint: Checkpoint) -> str:
    """Name the transformers class of a checkpoint's model."""
    if checkpoint.family is not None:
        return str(family_class(checkpoint).architecture)
    return "LlavaOnevisionForConditionalGeneration"


def _refuse_unknown(checkpoint: Checkpoint) -> None:
    """Raise ModelError for an architecture that no family runs."""
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
    """Make of a checkpoint's configuration, and nothing else, what can be counted before anything is loaded.

    layout: as in `loading.load`; left out where a family has no choice. Raises ModelError for an unsupported
    architecture.
    """
    config = checkpoint.model_config
    if checkpoint.family is not None:
        with remedied(checkpoint.folder):
            counted: Outline = family_class(checkpoint).outlined(config, checkpoint.folder)
        return counted
    from dycoke_cli.models.families.llava import Llava

    return Llava(SimpleNamespace(config=config), None, replace(video_layout(checkpoint), **layout))


def family_class(checkpoint: Checkpoint) -> Any:
    """Give the class of a family that is not LLaVA-OneVision's or LLaVA-Video's."""
    file, name = FAMILIES[checkpoint.config["model_type"]]
    return getattr(import_module(f"dycoke_cli.models.families.{file}"), name)


def video_layout(checkpoint: Checkpoint) -> "VideoLayout":
    """Say how a LLaVA model was taught to see a video laid out. Raises ModelError."""
    from dycoke_cli.models.families import original_llava
    from dycoke_cli.models.families.layout import VideoLayout

    if checkpoint.is_original:
        return original_llava.video_layout(checkpoint.config)
    return VideoLayout("grid", time_instruction=True) if checkpoint.is_llava_video else VideoLayout()


def not_loaded(name: str, error: Exception, remedy: str) -> ModelError:
    """Say in one line why a model cannot be loaded."""
    return ModelError(f"{name!r} cannot be loaded: {_reason(error)}", remedy)


@contextmanager
def quiet() -> Iterator[None]:
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


def _reason(error: Exception) -> str:
    """Give an error's first line; strict configurations have theirs in what caused them."""
    for told in (str(error.__cause__ or ""), str(error)):
        if told.strip():
            return told.strip().splitlines()[0]
    return type(error).__name__


def _folder(name: str) -> Path:
    found = find(name)
    if found is not None:
        return found
    return fetch(name).folder


def _cuda_room() -> int:
    """Free bytes of the first CUDA device, 0 without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return 0
    import torch

    from dycoke_cli.system.free_memory import free_bytes

    return free_bytes(torch.device("cuda")) if torch.cuda.is_available() else 0
