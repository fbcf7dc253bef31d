"""`dycoke models`: the table, the object, and what is not there."""

import json
from pathlib import Path

import pytest

from dycoke_cli.cli.app import run
from dycoke_cli.models.names import NAMES
from dycoke_cli.models.sizes import KNOWN


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the hub is on this disk."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.smoke
def test_the_list_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    """As one object: sizes by arithmetic, the demo alone on this disk; as a table: the same names, no line too long."""
    assert run(["models", "list", "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert set(models) == set(NAMES)
    assert [name for name, model in models.items() if model["on_disk"]] == ["demo"]
    seven = models["llava-ov-7b"]
    assert seven["parameters"] == KNOWN["llava-ov-7b"].parameters
    assert seven["weight_bytes"]["bf16"] == 2 * seven["parameters"]
    assert run(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.split()[:1] == [name] for line in lines) for name in NAMES)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["path", "llava-ov-7b"], 4, "'llava-ov-7b' is not on this disk"),
        (["path", "nope"], 4, "no model is called 'nope'"),
        (["path", "owner/model@../../x"], 4, "no model is called"),
        (["path", "owner/model@"], 4, "no model is called"),
        (["pull", "demo"], 2, "'demo' comes with dycoke"),
    ],
)
def test_what_is_not_there(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what, and the exit code is the documented one."""
    assert run(["models", *arguments]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lava-ov-0.5b", "llava-ov-0.5b"),
        ("llava-vdeo-7b@main", "llava-video-7b"),
        ("dmo", "demo"),
        ("mymodl", "mymodel"),
        ("./mymodl", "./mymodel"),
        ("far-away", None),
    ],
)
def test_a_misspelt_model_is_told_the_nearest_name(
    name: str, meant: str | None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known one, or a model's folder beside; where nothing is near, what there is to choose from."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel").mkdir()
    (tmp_path / "mymodel" / "config.json").write_text("{}")
    assert run(["models", "path", name]) == 4
    remedy = capsys.readouterr().err.splitlines()[1].strip()
    assert remedy == f"Did you mean {meant!r}?" if meant else remedy.startswith("Choose demo, ")


def test_the_path_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """The bundled folder, alone on stdout."""
    assert run(["models", "path", "demo"]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "config.json").exists()
