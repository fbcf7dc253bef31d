"""Names become files, files become a loaded model."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import ModelError, UsageError

if TYPE_CHECKING:
    import torch

    from dycoke_cli.families.family import Family
    from dycoke_cli.families.llava import Llava

DEMO = Path(__file__).parent / "demo"
HUB_IDS = {
    "llava-video-7b": "lmms-lab/LLaVA-Video-7B-Qwen2",
    "llava-video-72b": "lmms-lab/LLaVA-Video-72B-Qwen2",
    "llava-ov-0.5b": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
    "llava-ov-7b": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
    "llava-ov-72b": "llava-hf/llava-onevision-qwen2-72b-ov-hf",
}
NAMES = ("demo", *HUB_IDS)
# By the model_type of config.json: the file of `families` and its class.
FAMILIES = {
    "qwen2_5_vl": ("qwen2_5_vl", "Qwen25VL"),
    "qwen3_vl": ("qwen3_vl", "Qwen3VL"),
    "internvl": ("internvl", "InternVL"),
    "llava_next_video": ("llava_next_video", "LlavaNextVideo"),
}
FILES = ["*.json", "*.safetensors", "merges.txt", "vocab.json"]
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
    return _cached_folder(HUB_IDS.get(name, name)) is not None


def load(checkpoint: Checkpoint, device: "torch.device", dtype: "torch.dtype", **layout: Any) -> "Family":
    """Load a model of any family, LLaVA in either format.

    layout: fields of VideoLayout to use instead of the checkpoint's own; LLaVA alone has a choice of layouts.
    Raises ModelError for an unsupported architecture, and for any weight missing or left over, naming them.
    """
    if checkpoint.config.get("model_type") not in FAMILIES:
        return load_llava(checkpoint, device, dtype, **layout)
    for name in layout:
        raise UsageError(
            f"--{name.replace('_', '-')} is for LLaVA models, which {checkpoint.name!r} is not", "Leave it out"
        )
    file, name = FAMILIES[checkpoint.config["model_type"]]
    kind = getattr(import_module(f"dycoke_cli.families.{file}"), name)
    model, tokenizer = _read(checkpoint, kind.architecture, dtype)
    family: Family = kind.opened(model.to(device), tokenizer, checkpoint.folder)
    return family


def load_llava(checkpoint: Checkpoint, device: "torch.device", dtype: "torch.dtype", **layout: Any) -> "Llava":
    """Load a LLaVA-OneVision or LLaVA-Video model in either format; see `load`."""
    from dycoke_cli.families import original_llava
    from dycoke_cli.families.layout import VideoLayout
    from dycoke_cli.families.llava import Llava

    config = checkpoint.config
    if original_llava.is_original(config):
        built, video_layout = original_llava.model_config(config), original_llava.video_layout(config)
        options: dict[str, Any] = {"config": built, "key_mapping": original_llava.KEY_MAPPING}
    elif config.get("model_type") == "llava_onevision":
        video_layout = VideoLayout("grid", time_instruction=True) if checkpoint.is_llava_video else VideoLayout()
        options = {}
    else:
        kind = config.get("model_type") or config.get("architectures")
        raise ModelError(
            f"{checkpoint.name!r} is a {kind!r} model, which dycoke cannot run",
            "Use a LLaVA-OneVision or LLaVA-Video checkpoint, in transformers or lmms-lab format, or a Qwen2.5-VL, "
            "Qwen3-VL, InternVL3 or LLaVA-NeXT-Video one in transformers format",
        )
    model, tokenizer = _read(checkpoint, "LlavaOnevisionForConditionalGeneration", dtype, **options)
    return Llava(model.to(device), tokenizer, replace(video_layout, **layout))


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
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{checkpoint.name!r} cannot be loaded: {reason}", "Fetch the model again") from error
    _refuse_gaps(checkpoint.name, report)
    _refuse_windows(checkpoint.name, model.config.text_config)
    return model.eval(), tokenizer


def _refuse_windows(name: str, config: Any) -> None:
    """The engine lets every layer read everything; a model trained to read a window would answer something else."""
    kinds = getattr(config, "layer_types", None)
    windowed = any(kind != "full_attention" for kind in kinds) if kinds else getattr(config, "sliding_window", None)
    if windowed:
        raise ModelError(
            f"{name!r} has layers that read a sliding window, which dycoke cannot run", "Use a model without them"
        )


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
    if name == "demo":
        return DEMO
    if Path(name).is_dir():
        return Path(name)
    hub_id = HUB_IDS.get(name, name)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", hub_id) or name.startswith((".", "/", "~")):
        raise ModelError(f"no model is called {name!r}", f"Choose {', '.join(NAMES)}, a folder, or a hub id owner/name")
    return _cached_folder(hub_id) or _download(hub_id)


def _cached_folder(hub_id: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=FILES, local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        return None
    # A download that was cut short leaves a folder without its weights.
    return folder if _complete(folder) else None


def _complete(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return all((folder / shard).exists() for shard in shards)
    return (folder / "model.safetensors").exists()


def _download(hub_id: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"{hub_id!r} is not on this disk, and HF_HUB_OFFLINE forbids fetching it", "Unset HF_HUB_OFFLINE"
        )
    try:
        return Path(snapshot_download(hub_id, allow_patterns=FILES))
    except RepositoryNotFoundError:
        raise ModelError(f"the hub has no model {hub_id!r}", "Check the name; a private one needs HF_TOKEN") from None
    except Exception as error:  # the hub client raises whatever its HTTP library does
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{hub_id!r} cannot be fetched: {reason}", "Check the network, or use --model demo") from error


def _cuda_room() -> int:
    """Free bytes of the first CUDA device, 0 without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return 0
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0
