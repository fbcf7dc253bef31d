"""Every setting of a run, merged from defaults, files, presets, the environment and flags, each with its origin."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dycoke_cli.config.presets import DEFAULT_METHOD, PRESETS
from dycoke_cli.config.settings_file import nearest_file, read_file, user_file
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.parsing import check_method, nearest
from dycoke_cli.methods.parsing import parse_options as parse_options

PREFIX = "DYCOKE_"
DEFAULT = DEFAULT_METHOD
ENVIRONMENT, FLAG = "environment", "flag"
UNREPEATED = {"options", "preset", "cache", "cache_size"}  # written otherwise, or without a say in the answer

__all__ = ["DEFAULT", "Settings", "choices", "merged", "parse_options", "user_file"]


class Settings(BaseModel):
    """The settings of `dycoke ask`, checked and frozen. None means: what suits the model."""

    # YAML makes numbers of 90 and of 1:30 (in seconds); as times they are meant just so.
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    preset: Literal["none", "fast", "faithful", "paper"] = "none"
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
    compile: bool = False
    newline: Literal["one_token", "grid", "frame", "no_token"] | None = None
    pooling: Literal["bilinear", "average", "max"] | None = None
    row_newlines: Literal["complete", "present", "all"] | None = None
    cache: bool = True
    cache_size: float = Field(10.0, ge=0)

    def as_flags(self) -> list[str]:
        """Write what differs from the defaults as flags, so that a command can be repeated wherever it came from."""
        flags = []
        for key, value in self.model_dump(exclude_defaults=True, exclude=UNREPEATED).items():
            flag = f"--{key.replace('_', '-')}"
            flags += [flag] if value is True else [flag, str(value)]
        for key, value in self.options.items():
            flags += ["-o", f"{key}={value}"]
        return flags


def choices(key: str) -> tuple[str, ...]:
    """Give the words that a setting takes, none where it takes anything else than certain words."""
    annotation = Settings.model_fields[key].annotation
    kinds = get_args(annotation) if type(None) in get_args(annotation) else (annotation,)
    return tuple(word for kind in kinds for word in get_args(kind) if isinstance(word, str))


def merged(
    flags: Mapping[str, Any],
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user_file: Path | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Merge all sources, later ones over earlier: defaults, user file, dycoke.yaml of `folder` or a parent (or
    `config_file` instead), DYCOKE_* variables, flags that are not None. A preset stands right below its source.

    Returns the settings, and where each value comes from: "default", a file's path, a variable's name, "preset NAME" or
    "flag"; those of options under "options.NAME". Raises UsageError naming the key, the value and the source.
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
    layers = _with_preset(layers)
    values, origins = _laid_over(layers)
    # frames and fps exclude each other: the one from the stronger source wins over the other's weaker one.
    rank = {_origin(source, key): place for place, (source, layer) in enumerate(layers) for key in layer}
    if values.get("frames") is not None and values.get("fps") is not None and origins["frames"] != origins["fps"]:
        weaker = min(("frames", "fps"), key=lambda key: rank[origins[key]])
        del values[weaker]
        origins[weaker] = "default"
    settings = _validated(values, origins)
    _refuse_no_method(settings, origins)
    return settings, origins


def _with_preset(layers: list[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Put the preset that the strongest source names right below it; those of weaker sources do not count."""
    for place in reversed(range(len(layers))):
        name = layers[place][1].get("preset")
        if name in PRESETS:
            return [*layers[:place], (f"preset {name}", PRESETS[name]), *layers[place:]]
        if name is not None:
            break  # "none", or a word that is refused with the other values
    return layers


def _laid_over(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay each source over the weaker ones before it -> values, and the origin of each."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for source, layer in layers:
        another = layer.get("method", values.get("method", DEFAULT)) != values.get("method", DEFAULT)
        if another or source.startswith("preset "):
            # Options belong to the method that this source replaces; a preset brings all of its own.
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
            known = [_origin(source, field) for field in Settings.model_fields]
            raise UsageError(f"{_origin(source, key)} is set, and is no setting", nearest(_origin(source, key), known))
        raise UsageError(f"{source} sets {key!r}, which is no setting", nearest(key, Settings.model_fields))


def _validated(values: dict[str, Any], origins: dict[str, str]) -> Settings:
    for key, value in values.items():
        # YAML's yes and no; as numbers they would be 1 and 0 without a word.
        if isinstance(value, bool) and Settings.model_fields[key].annotation is not bool:
            raise UsageError(f"{key} is {value} (from {origins[key]}): it is no yes or no", _help_for(key))
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key, problem = str(first["loc"][0]), first["msg"].split(",")[0].lower()
        remedy = nearest(str(first["input"]), choices(key)) if choices(key) else _help_for(key)
        raise UsageError(f"{key} is {first['input']!r} (from {origins[key]}): {problem}", remedy) from None


def _refuse_no_method(settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse a method or an option that does not exist before anything heavy is imported for it."""
    for key, options in (("method", {}), ("options", settings.options)):
        try:
            check_method(settings.method, options)
        except UsageError as error:
            elsewhere = "" if origins[key] in ("default", FLAG) else f" (from {origins[key]})"
            raise UsageError(f"{error.message}{elsewhere}", error.remedy) from None


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
