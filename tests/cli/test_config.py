"""`dycoke config`: values with origins, the template of a settings file, paths of settings files."""

import json
import re
from pathlib import Path

import pytest
import yaml

from dycoke_cli.cli.app import run
from dycoke_cli.config.settings import Settings, merge_settings


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Isolate from the user's settings; an empty current folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def config(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["config", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.smoke
def test_show_prints_every_value_with_its_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, surroundings: Path
) -> None:
    """Table and JSON have the values that a command uses, with origins from default to flag."""
    (surroundings / "dycoke.yaml").write_text("seed: 3\noptions: {k: 0.5}")
    monkeypatch.setenv("DYCOKE_TOP_P", "0.5")
    code, out, err = config(capsys, "show", "--preset", "paper", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record["schema"] == 1
    shown = record["settings"]
    assert {key for key in shown if "." not in key} == set(Settings.model_fields) - {"options"}
    assert shown["preset"] == {"value": "paper", "origin": "flag"}
    assert shown["seed"] == {"value": 3, "origin": str(surroundings / "dycoke.yaml")}
    assert shown["top_p"] == {"value": 0.5, "origin": "DYCOKE_TOP_P"}
    assert shown["model"] == {"value": "auto", "origin": "default"}
    assert shown["options.k"] == {"value": "0.7", "origin": "preset paper"}
    code, out, err = config(capsys, "show", "--preset", "paper")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip() and "─" not in line}
    assert rows.keys() - {"setting"} == shown.keys()
    assert rows["seed"] == ["3", "./dycoke.yaml"]
    assert rows["top_p"] == ["0.5", "DYCOKE_TOP_P"]
    assert max(map(len, out.splitlines())) <= 80


def test_show_refuses_an_unknown_key(capsys: pytest.CaptureFixture[str], surroundings: Path) -> None:
    """Exit code 2 and the nearest key."""
    (surroundings / "dycoke.yaml").write_text("frams: 3")
    code, out, err = config(capsys, "show")
    assert (code, out) == (2, "")
    assert err.splitlines()[1:] == ["  Did you mean 'frames'?"]
    assert "sets 'frams'" in err


def test_init_writes_a_file_that_changes_nothing(capsys: pytest.CaptureFixture[str], surroundings: Path) -> None:
    """The file sets nothing; with every line uncommented it sets every setting to its default."""
    assert config(capsys, "init")[:2] == (0, "dycoke.yaml\n")
    file = surroundings / "dycoke.yaml"
    text = file.read_text()
    assert yaml.safe_load(text) is None
    assert max(map(len, text.splitlines())) <= 100
    uncommented = re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)
    assert set(yaml.safe_load(uncommented)) == set(Settings.model_fields)
    file.write_text(uncommented)
    assert merge_settings({}, None, {}, surroundings)[0] == Settings()


def test_init_replaces_a_file_only_with_force(capsys: pytest.CaptureFixture[str], surroundings: Path) -> None:
    """An existing file stays; --force replaces it; --user creates its folder."""
    file = surroundings / "dycoke.yaml"
    file.write_text("seed: 1")
    code, out, err = config(capsys, "init")
    assert (code, out) == (2, "")
    assert "already exists" in err
    assert file.read_text() == "seed: 1"
    assert config(capsys, "init", "--force")[0] == 0
    assert "seed: 1" not in file.read_text()
    code, out, _ = config(capsys, "init", "--user")
    assert code == 0
    assert Path(out.strip()).is_file()
    assert out.strip().endswith("xdg/dycoke/dycoke.yaml")


def test_path_prints_the_files_in_use(capsys: pytest.CaptureFixture[str], surroundings: Path) -> None:
    """The stronger first, that of a parent folder included; if there are none, the path of the user's own file."""
    code, out, err = config(capsys, "path")
    own = surroundings.parent / "xdg" / "dycoke" / "dycoke.yaml"
    assert (code, out) == (0, f"{own}\n")
    assert "does not exist yet" in err
    own.parent.mkdir(parents=True)
    own.write_text("seed: 1")
    parents = surroundings.parent / "dycoke.yaml"
    parents.write_text("seed: 2")
    assert config(capsys, "path") == (0, f"{parents}\n{own}\n", "")


def test_without_a_subcommand_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has the precedence of sources and the subcommands."""
    code, out, err = config(capsys)
    assert (code, err) == (0, "")
    assert "Precedence: flags" in out
    assert {"show", "path", "init"} <= {line.split()[0] for line in out.splitlines() if line.startswith("  ")}
