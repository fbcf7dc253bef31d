"""Where settings are kept between runs: `dycoke.yaml` of a folder or its parents, and one of the user."""

from pathlib import Path
from typing import Any

import yaml

from dycoke_cli.errors import UsageError
from dycoke_cli.system.text_file import read_text

FILE_NAME = "dycoke.yaml"


def user_file() -> Path:
    """Say where a user's own settings live."""
    import typer

    return Path(typer.get_app_dir("dycoke")) / FILE_NAME


def nearest_file(folder: Path) -> Path | None:
    """Find the settings file of a folder, or of the nearest parent that has one."""
    return next((path / FILE_NAME for path in (folder, *folder.parents) if (path / FILE_NAME).is_file()), None)


def read_file(path: Path) -> dict[str, Any]:
    """Read the settings of a YAML file as they stand; dashes in keys count as underscores.

    Raises UsageError naming the file where it cannot be read or is no mapping.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "Check its path and its permissions") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not YAML: {_place(error)}", "Correct it, or move it away") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings", "Write one `key: value` a line")
    settings = {str(key).replace("-", "_"): value for key, value in content.items()}
    if isinstance(settings.get("options"), dict):
        settings["options"] = {str(key): str(value) for key, value in settings["options"].items()}
    return settings


def _place(error: Exception) -> str:
    """Give what YAML says is wrong, and in which line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error).splitlines()[0]
    return f"line {mark.line + 1}, {getattr(error, 'problem', None) or 'it breaks off'}"
