"""Flags over variables over files over defaults, each value with its origin."""

from pathlib import Path

import pytest

from dycoke_cli.errors import UsageError
from dycoke_cli.settings import merged, parse_options


def test_precedence_and_origins(tmp_path: Path) -> None:
    """The strongest source wins for each key, and is named; options merge key by key."""
    user, project = tmp_path / "user.yaml", tmp_path / "dycoke.yaml"
    user.write_text("frames: 4\nseed: 1\ntop-p: 0.5\noptions: {k: 0.3, l: 2}\n")
    project.write_text("frames: 8\nseed: 2\noptions:\n  k: 0.5\n")
    nested = tmp_path / "a" / "b"
    nested.mkdir(parents=True)
    environment = {"DYCOKE_FRAMES": "16", "DYCOKE_OPTIONS": "p=0.9", "HOME": "/"}
    settings, origins = merged({"frames": 32, "model": None}, None, environment, nested, user)
    assert (settings.frames, settings.seed, settings.top_p, settings.model) == (32, 2, 0.5, "auto")
    assert settings.options == {"k": "0.5", "l": "2", "p": "0.9"}
    assert (origins["frames"], origins["seed"], origins["top_p"], origins["model"]) == (
        "flag",
        str(project),
        str(user),
        "default",
    )


def test_options_stay_with_their_method(tmp_path: Path) -> None:
    """A file's options for dycoke do not reach the method that a flag puts in its place."""
    (tmp_path / "dycoke.yaml").write_text("method: dycoke\noptions: {k: 0.5}")
    assert merged({"method": "full"}, None, {}, tmp_path)[0].options == {}
    assert merged({"method": "dycoke"}, None, {}, tmp_path)[0].options == {"k": "0.5"}
    (tmp_path / "dycoke.yaml").write_text("options: {k: 0.5}")
    assert merged({"method": "full"}, None, {}, tmp_path)[0].options == {}


def test_a_named_file_replaces_the_found_one(tmp_path: Path) -> None:
    """--config FILE is read instead of ./dycoke.yaml."""
    (tmp_path / "dycoke.yaml").write_text("seed: 1")
    other = tmp_path / "other.yaml"
    other.write_text("frames: 3")
    settings, _ = merged({}, other, {}, tmp_path)
    assert (settings.seed, settings.frames) == (0, 3)


def test_the_stronger_of_frames_and_fps_wins(tmp_path: Path) -> None:
    """--fps on the command line beats frames in a file, although the two exclude each other."""
    (tmp_path / "dycoke.yaml").write_text("frames: 8")
    settings, _ = merged({"fps": 2.0}, None, {}, tmp_path)
    assert (settings.frames, settings.fps) == (None, 2.0)
    settings, _ = merged({"frames": 4}, None, {"DYCOKE_FPS": "1"}, tmp_path)
    assert (settings.frames, settings.fps) == (4, None)


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("frame: 3", "'frame', which is no setting", "Did you mean 'frames'?"),
        ("frames: none of them", "frames is 'none of them'", "--help"),
        ("frames: 0", "frames is 0", "--help"),
        ("dtype: int8", "dtype is 'int8'", "--help"),
        ("- a list", "holds no settings", "key: value"),
        ("a: [", "is not YAML", "Correct it"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    """The key, the value and the file are named."""
    (tmp_path / "dycoke.yaml").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        merged({}, None, {}, tmp_path)
    assert remedy in caught.value.remedy
    assert "dycoke.yaml" in caught.value.message


def test_a_missing_named_file_is_refused(tmp_path: Path) -> None:
    """A typo in --config must not be silence."""
    with pytest.raises(UsageError, match="No such file"):
        merged({}, tmp_path / "absent.yaml", {}, tmp_path)


@pytest.mark.parametrize("pair", ["k", "=1", "k="])
def test_options_are_pairs(pair: str) -> None:
    """-o takes key=value and nothing else."""
    with pytest.raises(UsageError, match="not key=value"):
        parse_options([pair])
