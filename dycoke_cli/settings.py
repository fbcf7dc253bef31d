"""Every setting of a run, merged from defaults, files, the environment and flags, each with its origin."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dycoke_cli.errors import UsageError

FILE_NAME = "dycoke.yaml"
PREFIX = "DYCOKE_"
DEFAULT = "dycoke"  # the method


class Settings(BaseModel):
    """The settings of `dycoke ask`, checked and frozen. None means: what suits the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "auto"
    method: str = DEFAULT
    options: dict[str, str] = Field(default_factory=dict)
    retain: float | None = Field(None, gt=0, le=1)
    frames: int | None = Field(None, ge=1)
    fps: float | None = Field(None, gt=0)
    max_frames: int | None = Field(None, ge=1)
    start: str | None = None
    end: str | None = None
    sample: Literal["time", "index"] = "time"
    decoder: Literal["auto", "decord", "pyav"] = "auto"
    video_timeout: float = Field(120.0, gt=0)
    max_new_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = 0
    repetition_penalty: float = Field(1.0, gt=0)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantize: Literal["int8", "int4"] | None = None
    device_map: Literal["auto"] | None = None
    memory: Literal["check", "ignore"] = "check"
    newline: Literal["one_token", "grid", "frame", "no_token"] | None = None
    pooling: Literal["bilinear", "average", "max"] | None = None
    row_newlines: Literal["complete", "present", "all"] | None = None

    def as_flags(self) -> list[str]:
        """Write what differs from the defaults as flags, so that a command can be repeated wherever it came from."""
        flags = []
        for key, value in self.model_dump(exclude_defaults=True, exclude={"options"}).items():
            flags += [f"--{key.replace('_', '-')}", str(value)]
        for key, value in self.options.items():
            flags += ["-o", f"{key}={value}"]
        return flags


def merged(
    flags: Mapping[str, Any],
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user_file: Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Merge all sources, later ones over earlier: defaults, user file, dycoke.yaml of `folder` or a parent (or
    `config_file` instead), DYCOKE_* variables, flags that are not None.

    Returns the settings, and where each value comes from. Raises UsageError naming the key, the value and the source.
    """
    environment = os.environ if environment is None else environment
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if user_file is not None and user_file.is_file():
        layers.append((str(user_file), _read(user_file)))
    found = config_file or _nearest_file(folder or Path.cwd())
    if found is not None:
        layers.append((str(found), _read(found)))
    layers.append(("environment", _from_environment(environment)))
    layers.append(("flag", {key: value for key, value in flags.items() if value is not None}))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for source, layer in layers:
        if layer.get("method", values.get("method", DEFAULT)) != values.get("method", DEFAULT):
            values.pop("options", None)  # they belong to the method that this layer replaces
        for key, value in layer.items():
            if key not in Settings.model_fields:
                raise UsageError(f"{source} sets {key!r}, which is no setting", _suggest(key))
            values[key] = {**values.get(key, {}), **value} if key == "options" else value
            origins[key] = source
    # frames and fps exclude each other: the one from the stronger source wins over the other's weaker one.
    strength = {source: place for place, (source, _) in enumerate(layers)}
    if values.get("frames") is not None and values.get("fps") is not None and origins["frames"] != origins["fps"]:
        del values[min(("frames", "fps"), key=lambda key: strength[origins[key]])]
    return _validated(values, origins), origins


def _validated(values: dict[str, Any], origins: dict[str, str]) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key, problem = str(first["loc"][0]), first["msg"].split(",")[0].lower()
        raise UsageError(
            f"{key} is {first['input']!r} (from {origins[key]}): {problem}",
            f"See what --{key.replace('_', '-')} takes with: dycoke ask --help",
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "Check the path given to --config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {str(error).splitlines()[0]}", "Correct it, or move it away") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings", "Write one `key: value` a line")
    settings = {str(key).replace("-", "_"): value for key, value in content.items()}
    if isinstance(settings.get("options"), dict):
        settings["options"] = {str(key): str(value) for key, value in settings["options"].items()}
    return settings


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in environment.items():
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX).lower()
            found[key] = parse_options(text.replace(",", " ").split()) if key == "options" else text
    return found


def parse_options(pairs: list[str]) -> dict[str, str]:
    """Read `key=value` pairs. Raises UsageError for anything else."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise UsageError(f"option {pair!r} is not key=value", "Write it like -o k=0.7")
        options[key.strip()] = value.strip()
    return options


def user_file() -> Path:
    """Say where a user's own settings live."""
    import typer

    return Path(typer.get_app_dir("dycoke")) / FILE_NAME


def _nearest_file(folder: Path) -> Path | None:
    return next((path / FILE_NAME for path in (folder, *folder.parents) if (path / FILE_NAME).is_file()), None)


def _suggest(key: str) -> str:
    close = difflib.get_close_matches(key, Settings.model_fields, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(sorted(Settings.model_fields))}"
