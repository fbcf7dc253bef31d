"""A model's folder, looked through before anything is built: what is in it, and how whole files get there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dycoke_cli.errors import ModelError
from dycoke_cli.models.config_limits import refuse_other_numbers, refuse_sizes
from dycoke_cli.models.model_file import damaged, file_size, read_object
from dycoke_cli.models.names import DEMO
from dycoke_cli.models.weight_files import stored_weights

# Files beside the weights that transformers or dycoke read where they are there.
SETTINGS = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
# What is read of a model anywhere, by transformers or for a fingerprint; long ones once is enough.
READ = ("*.json", "*.safetensors", "merges.txt", "*.jinja")
OTHER_FILES = ("fast_tokenizer_files", "gguf_file")  # of tokenizer_config.json: names of files to read besides


def look_through(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ModelError for files that are missing, damaged, or do not belong together."""
    _refuse_what_is_no_file(folder)
    weights = stored_weights(folder)
    refuse_sizes(config, weights)
    refuse_other_numbers(config, weights)
    if not isinstance(config.get("quantization_config") or {}, dict):
        raise damaged(folder / "config.json", "its quantization_config is no JSON object")
    settings = {name: read_object(folder / name) for name in SETTINGS if (folder / name).exists()}
    for key in OTHER_FILES:
        if key in settings.get("tokenizer_config.json", {}):
            raise damaged(folder / "tokenizer_config.json", f"its {key} names other files, which are not read")
    if not (folder / "tokenizer.json").exists():
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).exists():
                raise ModelError(f"{str(folder)!r} holds no tokenizer: neither tokenizer.json nor {name}")


def _refuse_what_is_no_file(folder: Path) -> None:
    """A pipe would be waited for, and a device read without end."""
    for path in sorted(path for pattern in READ for path in folder.glob(pattern)):
        try:
            file_size(path)
        except FileNotFoundError:
            raise damaged(path, "it is a link to a file that is not there") from None


def again(folder: Path) -> str:
    """Say how whole files get to where damaged ones are."""
    if folder == DEMO:
        return "Install dycoke again: the demo comes with it"
    if folder.parent.name == "snapshots":
        hub_id = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        return f"Fetch the model again: dycoke models pull {hub_id}"
    return "Copy the model's files again from where they came"


@contextmanager
def remedied(folder: Path) -> Iterator[None]:
    """Add to what is said about damaged files how to get whole ones."""
    try:
        yield
    except ModelError as error:
        if error.remedy:
            raise
        raise ModelError(error.message, again(folder)) from error.__cause__
    except OSError as error:
        told = f"{str(folder)!r} cannot be read: {error.strerror or error}"
        raise ModelError(told, "Check the rights of the folder and of its files") from None
