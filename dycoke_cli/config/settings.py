"""The settings of a run: their types, and merging them from all sources with the origin of each value."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dycoke_cli.config.presets import DEFAULT_METHOD, PRESETS
from dycoke_cli.config.settings_file import nearest_file, read_file
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.parsing import check_method, nearest, parse_options

PREFIX = "DYCOKE_"
ENVIRONMENT, FLAG = "environment", "flag"
UNREPEATED = {"options", "preset", "cache", "cache_size"}  # written in another form, or without effect on answers


class Settings(BaseModel):
    """The settings of `dycoke ask`, validated and frozen. None leaves the choice to the model or the method."""

    # YAML parses the times 90 and 1:30 (base 60) as numbers of seconds, which mean the same times.
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    preset: Literal["none", "fast", "faithful", "paper"] = "none"
    model: str = "auto"
    method: str = DEFAULT_METHOD
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
    compile: bool = False
    newline: Literal["one_token", "grid", "frame", "no_token"] | None = None
    pooling: Literal["bilinear", "average", "max"] | None = None
    row_newlines: Literal["complete", "present", "all"] | None = None
    cache: bool = True
    cache_size: float = Field(10.0, ge=0)

    def as_flags(self) -> list[str]:
        """Return the settings that differ from the defaults as flags, which repeat a run without files or variables."""
        flags = []
        for key, value in self.model_dump(exclude_defaults=True, exclude=UNREPEATED).items():
            flag = f"--{key.replace('_', '-')}"
            flags += [flag] if value is True else [flag, str(value)]
        for key, value in self.options.items():
            flags += ["-o", f"{key}={value}"]
        return flags

    def as_command(self, command: str, arguments: Sequence[str], flags: Sequence[str] = ()) -> str:
        """Return the shell command that repeats a run with further `flags`, without files or variables."""
        end = ["--"] if any(argument.startswith("-") for argument in arguments) else []
        return shlex.join(["dycoke", command, *self.as_flags(), *flags, *end, *arguments])


def choices(key: str) -> tuple[str, ...]:
    """Return the words that a setting accepts, or () if it accepts other values."""
    annotation = Settings.model_fields[key].annotation
    kinds = get_args(annotation) if type(None) in get_args(annotation) else (annotation,)
    return tuple(word for kind in kinds for word in get_args(kind) if isinstance(word, str))


def merge_settings(
    flags: Mapping[str, Any],
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user_file: Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Merge the settings of all sources, later ones over earlier; a preset ranks directly below its source.

    Sources: defaults, `user_file`, `config_file` or else dycoke.yaml of `folder` or its nearest parent, DYCOKE_*
    variables, flags that are not None.

    Returns the settings, and the origin of each value by key, "options.NAME" for options of the method: "default", a
    file's path, a variable's name, "preset NAME" or "flag". Raises UsageError with the key, the value and the source.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if user_file is not None and user_file.is_file():
        layers.append((str(user_file), read_file(user_file)))
    found = config_file or nearest_file(folder or Path.cwd())
    if found is not None:
        layers.append((str(found), read_file(found)))
    layers.append((ENVIRONMENT, _from_environment(os.environ if environment is None else environment)))
    layers.append((FLAG, {key: value for key, value in flags.items() if value is not None}))
    for source, layer in layers:
        _refuse_unknown(source, layer)
    layers = _insert_preset(layers)
    values, origins = _overlay(layers)
    # frames and fps exclude each other: the one from the stronger source wins.
    rank = {_origin(source, key): place for place, (source, layer) in enumerate(layers) for key in layer}
    if values.get("frames") is not None and values.get("fps") is not None and origins["frames"] != origins["fps"]:
        weaker = min(("frames", "fps"), key=lambda key: rank[origins[key]])
        del values[weaker]
        origins[weaker] = "default"
    settings = _validate(values, origins)
    _check_method(settings, origins)
    return settings, origins


def _insert_preset(layers: list[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Insert the preset directly below the strongest source that names one; presets of weaker sources are ignored."""
    for place in reversed(range(len(layers))):
        name = layers[place][1].get("preset")
        if name in PRESETS:
            return [*layers[:place], (f"preset {name}", PRESETS[name]), *layers[place:]]
        if name is not None:
            break  # "none", or an unknown word, which `_validate` refuses
    return layers


def _overlay(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of all sources, later ones over earlier, and the origin of each."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for source, layer in layers:
        method = values.get("method", DEFAULT_METHOD)
        other_method = layer.get("method", method) != method
        if other_method or source.startswith("preset "):
            # The options so far belong to the replaced method; a preset replaces all options.
            origins = {key: "default" if key == "options" else origins[key] for key in origins if "." not in key}
            values.pop("options", None)
        for key, value in layer.items():
            origins[key] = _origin(source, key)
            if key == "options" and isinstance(value, dict):
                origins.update({f"options.{name}": origins[key] for name in value})
                value = {**values.get(key, {}), **value}
            values[key] = value
    return values, origins


def _origin(source: str, key: str) -> str:
    return f"{PREFIX}{key.upper()}" if source == ENVIRONMENT else source


def _refuse_unknown(source: str, layer: Mapping[str, Any]) -> None:
    for key in layer:
        if key in Settings.model_fields:
            continue
        if source == ENVIRONMENT:
            variable, known = _origin(source, key), [_origin(source, field) for field in Settings.model_fields]
            raise UsageError(f"{variable} is set, but is not a setting", nearest(variable, known))
        raise UsageError(f"{source} sets {key!r}, which is not a setting", nearest(key, Settings.model_fields))


def _validate(values: dict[str, Any], origins: dict[str, str]) -> Settings:
    for key, value in values.items():
        # YAML parses yes and no as booleans, which pydantic would accept as the numbers 1 and 0.
        if isinstance(value, bool) and Settings.model_fields[key].annotation is not bool:
            raise UsageError(f"{key} is {value} (from {origins[key]}): it does not take yes or no", _help_for(key))
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key, problem = str(first["loc"][0]), first["msg"].split(",")[0].lower()
        remedy = nearest(str(first["input"]), choices(key)) if choices(key) else _help_for(key)
        raise UsageError(f"{key} is {first['input']!r} (from {origins[key]}): {problem}", remedy) from None


def _check_method(settings: Settings, origins: Mapping[str, str]) -> None:
    """Raise UsageError for an unknown method or option, before any heavy import."""
    for key, options in (("method", {}), ("options", settings.options)):
        try:
            check_method(settings.method, options)
        except UsageError as error:
            source = "" if origins[key] in ("default", FLAG) else f" (from {origins[key]})"
            raise UsageError(f"{error.message}{source}", error.remedy) from None


def _help_for(key: str) -> str:
    if key == "options":
        return "Write it like options: {k: 0.5}"
    return f"See what --{key.replace('_', '-')} takes with: dycoke ask --help"


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in environment.items():
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX).lower()
            found[key] = parse_options(text.replace(",", " ").split()) if key == "options" else text
    return found
