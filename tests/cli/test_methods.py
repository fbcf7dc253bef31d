"""`dycoke methods`: the table, the pages and the JSON record of the methods."""

import json
from pathlib import Path

import pytest

from dycoke_cli.cli.app import run
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.registry import METHODS

ROOT = Path(__file__).parents[2]


def methods(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["methods", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("columns", ["60", "100", "160"])
def test_the_table_has_every_method(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """One row per method with options and budget; no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", columns)
    code, out, err = methods(capsys)
    assert (code, err) == (0, "")
    rows = [line.split()[0] for line in out.splitlines() if line[1:2].isalpha()]
    assert [name for name in rows if name in METHODS] == list(METHODS)
    assert max(map(len, out.splitlines())) <= int(columns)
    assert "0.25 to 1" in out


@pytest.mark.smoke
def test_json_defaults_are_valid_options(capsys: pytest.CaptureFixture[str]) -> None:
    """A method built from its listed defaults equals the method without options."""
    code, out, _ = methods(capsys, "--json")
    assert code == 0
    record = json.loads(out)
    assert record["schema"] == 1
    assert [method["name"] for method in record["methods"]] == list(METHODS)
    for method in record["methods"]:
        defaults = {option["name"]: str(option["default"]) for option in method["options"]}
        assert make_method(method["name"], defaults) == make_method(method["name"], {})
        assert all(option["meaning"] and option["takes"] for option in method["options"])
        assert method["summary"].endswith(".")
        assert method["source"]
    budgets = {method["name"]: method["retain"] for method in record["methods"]}
    assert budgets["dycoke"] == [0.25, 1.0]
    assert budgets["fastv"] == [0.178571, 1.0]
    assert budgets["evs"] == [0.03125, 1.0]
    assert budgets["full"] == budgets["dynamic"] == [1.0, 1.0]


@pytest.mark.parametrize("name", METHODS)
def test_one_method_is_explained(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Its page has documentation, options with defaults and meanings, and the source."""
    code, out, err = methods(capsys, name)
    assert (code, err) == (0, "")
    assert out.startswith(f"{name} · acts ")
    assert "Source: " in out
    for key in make_method(name, {}).options():
        assert f"  {key}=" in out
        assert f"\n{key}: " not in out  # the meaning is printed once


def test_joined_methods_are_explained_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """One page for each stage."""
    _, out, _ = methods(capsys, "evs+dynamic")
    assert out.index("evs · ") < out.index("dynamic · ")


def test_the_readme_names_every_method() -> None:
    """Its table is written by hand, and has all methods with the moments at which they act."""
    table = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    for name, kind in METHODS.items():
        (row,) = [line for line in table if f"`{name}`" in line.split("|")[1]]
        assert row.split("|")[2].strip() == (", ".join(kind.acts) or "never")


def test_an_unknown_method_is_one_line_and_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the nearest name."""
    code, out, err = methods(capsys, "vidcom")
    assert (code, out) == (2, "")
    assert err.splitlines() == ["dycoke: no method is called 'vidcom'", "  Did you mean 'vidcom2'?"]
