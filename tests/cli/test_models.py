"""`dycoke models`: the table, the JSON record, paths, and errors for unknown or missing models."""

import json
from pathlib import Path

import pytest

from dycoke_cli.cli.app import run
from dycoke_cli.models.names import NAMES
from dycoke_cli.models.sizes import KNOWN


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty hub cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.smoke
def test_the_list_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON with computed sizes, only the demo on this disk; the table has the same names and at most 80 columns."""
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
def test_missing_and_unknown_models(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message, and the documented exit code."""
    assert run(["models", *arguments]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("lava-ov-0.5b", "llava-ov-0.5b"),
        ("llava-vdeo-7b@main", "llava-video-7b"),
        ("dmo", "demo"),
        ("mymodl", "mymodel"),
        ("./mymodl", "./mymodel"),
        ("far-away", None),
    ],
)
def test_a_misspelt_model_has_a_suggestion(
    name: str,
    suggestion: str | None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The nearest known name or model folder; without a near one, the list of names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel").mkdir()
    (tmp_path / "mymodel" / "config.json").write_text("{}")
    assert run(["models", "path", name]) == 4
    remedy = capsys.readouterr().err.splitlines()[1].strip()
    assert remedy == f"Did you mean {suggestion!r}?" if suggestion else remedy.startswith("Choose demo, ")


def test_the_path_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """stdout has only the bundled folder."""
    assert run(["models", "path", "demo"]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "config.json").exists()
