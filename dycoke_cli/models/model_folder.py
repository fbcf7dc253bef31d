"""Validate a model's folder before the model is built; return the remedy for damaged files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dycoke_cli.errors import ModelError
from dycoke_cli.models.config_limits import refuse_integer_weights, refuse_sizes
from dycoke_cli.models.model_file import damaged, file_size, read_object
from dycoke_cli.models.names import DEMO
from dycoke_cli.models.weight_files import stored_weights

# Optional files beside the weights that transformers or dycoke read.
SETTINGS = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
# All files that are read, by transformers or for a fingerprint.
READ = ("*.json", "*.safetensors", "merges.txt", "*.jinja")
FILE_KEYS = ("fast_tokenizer_files", "gguf_file")  # of tokenizer_config.json: transformers would read the named files


def validate_folder(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ModelError for files that are missing, damaged, or do not belong together."""
    _refuse_special_files(folder)
    weights = stored_weights(folder)
    refuse_sizes(config, weights)
    refuse_integer_weights(config, weights)
    if not isinstance(config.get("quantization_config") or {}, dict):
        raise damaged(folder / "config.json", "its quantization_config is not a JSON object")
    settings = {name: read_object(folder / name) for name in SETTINGS if (folder / name).exists()}
    for key in FILE_KEYS:
        if key in settings.get("tokenizer_config.json", {}):
            raise damaged(folder / "tokenizer_config.json", f"its {key} names other files, which are not read")
    if not (folder / "tokenizer.json").exists():
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).exists():
                raise ModelError(f"{str(folder)!r} holds no tokenizer: neither tokenizer.json nor {name}")


def _refuse_special_files(folder: Path) -> None:
    """Raise ModelError for a file that is not regular: reading a pipe can block, and reading a device may not end."""
    for path in sorted(path for pattern in READ for path in folder.glob(pattern)):
        try:
            file_size(path)
        except FileNotFoundError:
            raise damaged(path, "it is a link to a missing file") from None


def restore_remedy(folder: Path) -> str:
    """Return the remedy for damaged files, by where the folder came from: the package, the hub, or a copy."""
    if folder == DEMO:
        return "Install dycoke again: the demo comes with it"
    if folder.parent.name == "snapshots":
        hub_id = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        return f"Fetch the model again: dycoke models pull {hub_id}"
    return "Copy the model's files again from their source"


@contextmanager
def adding_remedy(folder: Path) -> Iterator[None]:
    """Add `restore_remedy` to a ModelError without a remedy, and convert OSError to ModelError."""
    try:
        yield
    except ModelError as error:
        if error.remedy:
            raise
        raise ModelError(error.message, restore_remedy(folder)) from error.__cause__
    except OSError as error:
        message = f"{str(folder)!r} cannot be read: {error.strerror or error}"
        raise ModelError(message, "Check the permissions of the folder and its files") from None
