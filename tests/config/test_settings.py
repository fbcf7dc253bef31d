"""Settings merge by precedence (flags, variables, files, defaults), and each value has its origin."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from dycoke_cli.config.presets import PRESETS
from dycoke_cli.config.settings import Settings, choices, merge_settings
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.parsing import parse_options
from dycoke_cli.video.sampling import parse_time


def test_precedence_and_origins(tmp_path: Path) -> None:
    """The strongest source wins for each key and is the origin; options merge key by key."""
    user, project = tmp_path / "user.yaml", tmp_path / "dycoke.yaml"
    user.write_text("frames: 4\nseed: 1\ntop-p: 0.5\noptions: {k: 0.3, l: 2}\n")
    project.write_text("frames: 8\nseed: 2\noptions:\n  k: 0.5\n")
    nested = tmp_path / "a" / "b"
    nested.mkdir(parents=True)
    environment = {"DYCOKE_FRAMES": "16", "DYCOKE_OPTIONS": "p=0.9", "HOME": "/"}
    settings, origins = merge_settings({"frames": 32, "model": None}, None, environment, nested, user)
    assert (settings.frames, settings.seed, settings.top_p, settings.model) == (32, 2, 0.5, "auto")
    assert settings.options == {"k": "0.5", "l": "2", "p": "0.9"}
    assert (origins["frames"], origins["seed"], origins["top_p"], origins["model"]) == (
        "flag",
        str(project),
        str(user),
        "default",
    )


def test_compile_is_set_by_flag_variable_and_file(tmp_path: Path) -> None:
    """Like every setting; as_flags writes it as a flag without a value."""
    (tmp_path / "dycoke.yaml").write_text("compile: true")
    settings, origins = merge_settings({}, None, {}, tmp_path)
    assert (settings.compile, origins["compile"]) == (True, str(tmp_path / "dycoke.yaml"))
    assert settings.as_flags() == ["--compile"]
    settings, origins = merge_settings({}, None, {"DYCOKE_COMPILE": "0"}, tmp_path)
    assert (settings.compile, origins["compile"]) == (False, "DYCOKE_COMPILE")
    assert merge_settings({"compile": True}, None, {"DYCOKE_COMPILE": "0"}, tmp_path)[0].compile
    with pytest.raises(UsageError, match="compile is 'fast'"):
        merge_settings({}, None, {"DYCOKE_COMPILE": "fast"}, tmp_path)


def test_options_stay_with_their_method(tmp_path: Path) -> None:
    """A file's options for dycoke do not apply to another method that a flag selects."""
    (tmp_path / "dycoke.yaml").write_text("method: dycoke\noptions: {k: 0.5}")
    assert merge_settings({"method": "full"}, None, {}, tmp_path)[0].options == {}
    assert merge_settings({"method": "dycoke"}, None, {}, tmp_path)[0].options == {"k": "0.5"}
    (tmp_path / "dycoke.yaml").write_text("options: {k: 0.5}")
    assert merge_settings({"method": "full"}, None, {}, tmp_path)[0].options == {}


def test_a_named_file_replaces_the_found_one(tmp_path: Path) -> None:
    """--config FILE is read instead of ./dycoke.yaml."""
    (tmp_path / "dycoke.yaml").write_text("seed: 1")
    other = tmp_path / "other.yaml"
    other.write_text("frames: 3")
    settings, _ = merge_settings({}, other, {}, tmp_path)
    assert (settings.seed, settings.frames) == (0, 3)


def test_the_stronger_of_frames_and_fps_wins(tmp_path: Path) -> None:
    """--fps on the command line beats frames in a file, although the two exclude each other."""
    (tmp_path / "dycoke.yaml").write_text("frames: 8")
    settings, _ = merge_settings({"fps": 2.0}, None, {}, tmp_path)
    assert (settings.frames, settings.fps) == (None, 2.0)
    settings, _ = merge_settings({"frames": 4}, None, {"DYCOKE_FPS": "1"}, tmp_path)
    assert (settings.frames, settings.fps) == (4, None)


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("frame: 3", "'frame', which is not a setting", "Did you mean 'frames'?"),
        ("frames: none of them", "frames is 'none of them'", "--help"),
        ("frames: 0", "frames is 0", "--help"),
        ("dtype: int8", "dtype is 'int8'", "Choose from auto, bfloat16"),
        ("dtype: bfloat", "dtype is 'bfloat'", "Did you mean 'bfloat16'?"),
        ("preset: fats", "preset is 'fats'", "Did you mean 'fast'?"),
        ("frames: yes", "frames is True", "--frames"),
        ("options: k=0.5", "options is 'k=0.5'", "options: {k: 0.5}"),
        ("seed: 1\nframes: [", "line 2", "Correct it"),
        ("- a list", "contains no settings", "key: value"),
        ("a: [", "is not YAML", "Correct it"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    """The message contains the key, the value and the file."""
    (tmp_path / "dycoke.yaml").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        merge_settings({}, None, {}, tmp_path)
    assert remedy in caught.value.remedy
    assert "dycoke.yaml" in caught.value.message


@pytest.mark.parametrize(
    ("name", "text", "message", "remedy"),
    [
        ("DYCOKE_FRAME", "3", "DYCOKE_FRAME is set, but is not a setting", "Did you mean 'DYCOKE_FRAMES'?"),
        ("DYCOKE_FRAMES", "many", r"frames is 'many' \(from DYCOKE_FRAMES\)", "--frames"),
        ("DYCOKE_OPTIONS", "k", "'k' is not key=value", "k=0.7"),
    ],
)
def test_wrong_variables_are_refused(tmp_path: Path, name: str, text: str, message: str, remedy: str) -> None:
    """The message contains the full name of the variable."""
    with pytest.raises(UsageError, match=message) as caught:
        merge_settings({}, None, {name: text}, tmp_path)
    assert remedy in caught.value.remedy


def test_every_option_has_an_origin_of_its_own(tmp_path: Path) -> None:
    """Options merge key by key, each with its own origin; options of a replaced method have no origin left."""
    file = tmp_path / "dycoke.yaml"
    file.write_text("options: {k: 0.5, l: 2}")
    environment = {"DYCOKE_OPTIONS": "p=0.9,l=1"}
    settings, origins = merge_settings({"options": {"k": "0.3"}}, None, environment, tmp_path)
    assert settings.options == {"k": "0.3", "l": "1", "p": "0.9"}
    assert {name: origins[f"options.{name}"] for name in "klp"} == {
        "k": "flag",
        "l": "DYCOKE_OPTIONS",
        "p": "DYCOKE_OPTIONS",
    }
    _, origins = merge_settings({"method": "full"}, None, environment, tmp_path)
    assert (origins["method"], origins["options"]) == ("flag", "default")
    assert not any(key.startswith("options.") for key in origins)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("'1:30'", 90)])
def test_times_in_a_file_mean_what_they_mean_on_the_command_line(tmp_path: Path, text: str, seconds: float) -> None:
    """YAML parses some of them as numbers in base 60, which are the same number of seconds."""
    (tmp_path / "dycoke.yaml").write_text(f"start: {text}")
    start = merge_settings({}, None, {}, tmp_path)[0].start
    assert start is not None
    assert parse_time(start) == seconds


SOURCES = ("user", "project", "environment", "flag")


def _from(tmp_path: Path, **sources: dict[str, str]) -> tuple[Settings, dict[str, str]]:
    """Merge sources, each given as text by key."""
    user, project = tmp_path / "user.yaml", tmp_path / "dycoke.yaml"
    for name, file in (("user", user), ("project", project)):
        file.write_text("".join(f"{key}: {value}\n" for key, value in sources.get(name, {}).items()))
    environment = {f"DYCOKE_{key.upper()}": value for key, value in sources.get("environment", {}).items()}
    return merge_settings(sources.get("flag", {}), None, environment, tmp_path, user)


@given(
    named=st.sampled_from(SOURCES),
    preset=st.sampled_from(sorted(PRESETS)),
    setters=st.dictionaries(st.sampled_from(SOURCES), st.integers(1, 99), max_size=4),
)
@settings_of_hypothesis(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
def test_a_preset_ranks_directly_below_its_source(
    tmp_path: Path, named: str, preset: str, setters: dict[str, int]
) -> None:
    """For any source that names it: frames come from the strongest source not below it, else from the preset."""
    sources = {source: {"frames": str(count)} for source, count in setters.items()}
    sources.setdefault(named, {})["preset"] = preset
    settings, origins = _from(tmp_path, **sources)
    assert settings.preset == preset
    above = [source for source in SOURCES[SOURCES.index(named) :] if source in setters]
    below = [source for source in SOURCES[: SOURCES.index(named)] if source in setters]
    if above or "frames" not in PRESETS[preset]:
        setter = (above or below or [None])[-1]
        assert settings.frames == (setters[setter] if setter else None)
    else:
        assert settings.frames == PRESETS[preset]["frames"]
        assert origins["frames"] == f"preset {preset}"


def test_one_preset_applies_and_none_is_a_preset(tmp_path: Path) -> None:
    """The preset of the strongest source applies; --preset none cancels the preset of a file."""
    settings, _ = _from(tmp_path, user={"preset": "paper"}, environment={"preset": "fast"})
    assert (settings.method, settings.frames, settings.sample) == ("uniform", None, "time")
    settings, origins = _from(tmp_path, project={"preset": "paper"}, flag={"preset": "none"})
    assert settings == Settings()
    assert origins["preset"] == "flag"


def test_a_preset_replaces_all_options(tmp_path: Path) -> None:
    """Options of a weaker source would change the preset, so they are dropped; those of a stronger source apply."""
    weak = {"options": "{select: once, k: 0.1}", "retain": "0.4", "fps": "2"}
    settings, origins = _from(tmp_path, project=weak, flag={"preset": "paper"})
    assert settings.options == PRESETS["paper"]["options"]
    assert (settings.retain, settings.fps, settings.frames) == (None, None, 32)
    settings, origins = _from(tmp_path, project={"preset": "paper", "options": "{k: 0.1}"})
    assert settings.options == {**PRESETS["paper"]["options"], "k": "0.1"}
    assert (origins["options.k"], origins["options.p"]) == (str(tmp_path / "dycoke.yaml"), "preset paper")
    settings, _ = merge_settings({"preset": "paper", "method": "full"}, None, {}, tmp_path)
    assert settings.options == {}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_made_of_settings_and_methods(tmp_path: Path, name: str) -> None:
    """Each passes the checks of its method; every preset is accepted by name; as_flags does not need --preset."""
    assert set(choices("preset")) == {"none", *PRESETS}
    settings, _ = merge_settings({"preset": name}, None, {}, tmp_path)
    make_method(settings.method, settings.options)
    assert "--preset" not in settings.as_flags()


def test_paper_and_faithful_are_dycoke_as_published(tmp_path: Path) -> None:
    """The numbers of the paper, greedy, and the two variants of the method."""
    for name, frames, variant in (("paper", 32, "paper"), ("faithful", None, "official")):
        settings, _ = merge_settings({"preset": name}, None, {}, tmp_path)
        made = make_method(settings.method, settings.options)
        assert isinstance(made, Dycoke)
        assert (made.k, made.p, made.l, made.variant, made.select) == (0.7, 0.7, 3, variant, "dynamic")
        assert (settings.frames, settings.temperature, settings.sample) == (frames, 0, "index")


def test_a_missing_named_file_is_refused(tmp_path: Path) -> None:
    """A misspelt --config is an error, not an ignored file."""
    with pytest.raises(UsageError, match="No such file"):
        merge_settings({}, tmp_path / "absent.yaml", {}, tmp_path)


@pytest.mark.parametrize("pair", ["k", "=1", "k="])
def test_options_are_pairs(pair: str) -> None:
    """-o takes key=value and nothing else."""
    with pytest.raises(UsageError, match="not key=value"):
        parse_options([pair])
