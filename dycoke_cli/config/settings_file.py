"""Settings files: `dycoke.yaml` of a folder or its nearest parent, and one for each user."""

from pathlib import Path
from typing import Any

import yaml

from dycoke_cli.errors import UsageError
from dycoke_cli.system.files import read_text

FILE_NAME = "dycoke.yaml"


def user_file() -> Path:
    """Return the path of the user's own settings file, which may not exist."""
    import typer

    return Path(typer.get_app_dir("dycoke")) / FILE_NAME


def nearest_file(folder: Path) -> Path | None:
    """Return the settings file of a folder or of its nearest parent that has one, or None."""
    return next((path / FILE_NAME for path in (folder, *folder.parents) if (path / FILE_NAME).is_file()), None)


def read_file(path: Path) -> dict[str, Any]:
    """Parse a YAML settings file without validating its values; dashes in keys become underscores.

    Raises UsageError with the path if the file cannot be read, is not YAML or is not a mapping.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "Check its path and its permissions") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not YAML: {_yaml_problem(error)}", "Correct it, or move it away") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} contains no settings", "Write one `key: value` per line")
    settings = {str(key).replace("-", "_"): value for key, value in content.items()}
    if isinstance(settings.get("options"), dict):
        settings["options"] = {str(key): str(value) for key, value in settings["options"].items()}
    return settings


def _yaml_problem(error: Exception) -> str:
    """Return the line and the cause of a YAML error."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error).splitlines()[0]
    return f"line {mark.line + 1}, {getattr(error, 'problem', None) or 'invalid syntax'}"
