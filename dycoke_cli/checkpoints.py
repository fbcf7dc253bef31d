"""Names become files, and files tell what model they are."""

import json
import os
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import ModelError
from dycoke_cli.hub.cache import FILES as FILES
from dycoke_cli.hub.cache import cached_folder
from dycoke_cli.models import DEMO as DEMO
from dycoke_cli.models import HUB_IDS as HUB_IDS
from dycoke_cli.models import NAMES as NAMES
from dycoke_cli.models import address, find

if TYPE_CHECKING:
    from dycoke_cli.families.family import Outline
    from dycoke_cli.families.layout import VideoLayout

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
    if pipes := [path.name for path in folder.glob("*") if path.is_fifo()]:
        raise ModelError(f"{pipes[0]} in {str(folder)!r} is a pipe, not a file", "Name a model's folder")
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
            raise not_loaded(checkpoint.name, error, "Fetch the model again") from error
    kind = config.get("model_type") or config.get("architectures")
    raise ModelError(
        f"{checkpoint.name!r} is a {kind!r} model, which dycoke cannot run",
        "Use a LLaVA-OneVision or LLaVA-Video checkpoint, in transformers or lmms-lab format, or a Qwen2.5-VL, "
        "Qwen3-VL, InternVL3 or LLaVA-NeXT-Video one in transformers format",
    )


def outline(checkpoint: Checkpoint, **layout: Any) -> "Outline":
    """Make of a checkpoint's configuration, and nothing else, what can be counted before anything is loaded.

    layout: as in `loading.load`; left out where a family has no choice. Raises ModelError for an unsupported
    architecture.
    """
    config = model_config(checkpoint)
    if checkpoint.config.get("model_type") in FAMILIES:
        counted: Outline = family_class(checkpoint).outlined(config, checkpoint.folder)
        return counted
    from dycoke_cli.families.llava import Llava

    return Llava(SimpleNamespace(config=config), None, replace(video_layout(checkpoint), **layout))


def family_class(checkpoint: Checkpoint) -> Any:
    """Give the class of a family that is not LLaVA-OneVision's or LLaVA-Video's."""
    file, name = FAMILIES[checkpoint.config["model_type"]]
    return getattr(import_module(f"dycoke_cli.families.{file}"), name)


def video_layout(checkpoint: Checkpoint) -> "VideoLayout":
    """Say how a LLaVA model was taught to see a video laid out. Raises ModelError."""
    from dycoke_cli.families import original_llava
    from dycoke_cli.families.layout import VideoLayout

    if original_llava.is_original(checkpoint.config):
        return original_llava.video_layout(checkpoint.config)
    return VideoLayout("grid", time_instruction=True) if checkpoint.is_llava_video else VideoLayout()


def not_loaded(name: str, error: Exception, remedy: str) -> ModelError:
    """Say in one line why a model cannot be loaded."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelError(f"{name!r} cannot be loaded: {reason}", remedy)


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
