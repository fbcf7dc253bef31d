"""Parsing of methods and options from source equals the imported classes, and needs no torch."""

import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from dycoke_cli.config.settings import merge_settings
from dycoke_cli.errors import UsageError
from dycoke_cli.methods import parsing
from dycoke_cli.methods.listing import outline_methods
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.ranges import range_of
from dycoke_cli.methods.registry import METHODS

ROOT = Path(__file__).parents[2]
WRONG: list[tuple[str, dict[str, str], str]] = [
    ("dycok", {}, "Did you mean 'dycoke'?"),
    ("vidcom2+dynamc", {}, "Did you mean 'dynamic'?"),
    ("", {}, "Choose from"),
    ("full+full", {}, "Name each stage once"),
    ("dycoke", {"kk": "1"}, "Did you mean 'k'?"),
    ("full", {"k": "1"}, "full has no options"),
    ("dycoke", {"k": "a"}, "Write it like k=1"),
    ("dycoke", {"l": "1.5"}, "Write it like l=1"),
    ("dycoke", {"variant": "papr"}, "Did you mean 'paper'?"),
    ("vidcom2+dynamic", {"dynamic.pp": "1"}, "Did you mean 'dynamic.p'?"),
    ("fastv+dynamic", {"l": "3"}, "Write fastv.l or dynamic.l"),
    ("dycoke", {"k": "2"}, "Try -o k=0.7"),
    ("dycoke", {"p": "nan", "k": "-0.1"}, "Try -o k=0.7"),
    ("dycoke", {"l": "-1"}, "Try -o l=3"),
    ("fastv", {"l": "0"}, "Try -o l=5"),
    ("holitom", {"tau": "-1.1"}, "Try -o tau=0.8"),
    ("vidcom2", {"temperature": "0"}, "Try -o temperature=0.01"),
    ("visionzip", {"contextual": "inf"}, "Try -o contextual=0.15625"),
    ("vidcom2+dynamic", {"retain": "0"}, "Try -o retain=0.25"),
    ("dycoke+dynamic", {}, "Join methods that act at different moments"),
    ("random+uniform+fastv", {}, "Join methods that act at different moments"),
]


@pytest.mark.parametrize("name", METHODS)
def test_parsed_methods_equal_the_imported_ones(name: str) -> None:
    """Docstring, moments, and of every option type or words, range, default and meaning are those of the class."""
    kind, outline = METHODS[name], outline_methods()[name]
    assert outline.acts == kind.acts
    documentation = "\n".join(inspect.cleandoc(ancestor.__doc__ or "") for ancestor in reversed(kind.__mro__))
    own = " ".join((inspect.getdoc(kind) or "").split())
    assert outline.summary == " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    assert outline.description.startswith(outline.summary)
    assert all(paragraph in own for paragraph in outline.description.split("\n\n"))
    types = get_type_hints(kind)
    assert [option.name for option in outline.options] == [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option, field in zip(outline.options, fields(kind), strict=True):  # type: ignore[arg-type]
        assert option.kind == (get_args(types[field.name]) or types[field.name])
        assert option.limits == range_of(field.type)
        assert option.default == field.default
        assert option.meaning
        assert f"{option.name}: {option.meaning}" in " ".join(documentation.split())
        assert f"{option.name}: {option.meaning}" not in outline.description


@pytest.mark.parametrize(("name", "options", "remedy"), WRONG)
def test_errors_from_source_equal_those_of_the_method(name: str, options: dict[str, str], remedy: str) -> None:
    """`check_method` and `make_method` raise the same message and remedy."""
    with pytest.raises(UsageError) as early:
        parsing.check_method(name, options)
    with pytest.raises(UsageError) as late:
        make_method(name, options)
    assert (early.value.message, early.value.remedy) == (late.value.message, late.value.remedy)
    assert remedy in early.value.remedy


def test_a_wrong_method_of_a_file_or_a_variable_is_named_with_it(tmp_path: Path) -> None:
    """The error names the file or the variable that contains the wrong method or option."""
    file = tmp_path / "dycoke.yaml"
    file.write_text("method: dycok\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"'dycok' \(from .*dycoke\.yaml\)"):
        merge_settings({}, file, environment={})
    with pytest.raises(UsageError, match=r"no option 'q' \(from DYCOKE_OPTIONS\)"):
        merge_settings({}, environment={"DYCOKE_OPTIONS": "q=1"}, folder=tmp_path.parent)
    assert merge_settings({"method": "full"}, file, environment={})[0].method == "full"


def test_a_misspelt_method_or_model_is_refused_before_torch(tmp_path: Path) -> None:
    """Every command suggests the nearest name without importing torch, before it prints any notice."""
    video = ROOT / "sample_videos" / "cube.mp4"
    questions = ROOT / "dycoke_cli" / "demo" / "clips" / "questions.yaml"
    commands = [
        ["ask", str(video), "q", "-M", "dycok"],
        ["ask", str(video), "q", "-m", "dem"],
        ["chat", str(video), "-M", "vidcom2+dynamc"],
        ["caption", str(video.parent), "-o", "kk=1"],
        ["caption", str(video.parent), "-m", "lava-ov-0.5b"],
        ["eval", str(questions), "-M", "dycoke:kk=1"],
        ["eval", str(questions), "-m", "llava-vdeo-7b"],
        ["compare", "-M", "full", "-M", "dycok"],
        ["compare", "--sweep", "kk=1,2"],
        ["compare", "-m", "lava-ov-0.5b"],
        ["bench", "-M", "generate", "-M", "ful"],
        ["methods", "dycok"],
    ]
    errors = refused_without_torch(commands, tmp_path)
    assert all("Did you mean" in remedy for remedy in errors[1::2]), errors


def test_an_option_out_of_its_range_is_refused_before_torch(tmp_path: Path) -> None:
    """So are methods that act at the same moment."""
    video = ROOT / "sample_videos" / "cube.mp4"
    questions = ROOT / "dycoke_cli" / "demo" / "clips" / "questions.yaml"
    commands = [
        ["ask", str(video), "q", "-o", "k=2"],
        ["ask", str(video), "q", "-M", "dycoke+dynamic"],
        ["chat", str(video), "-M", "random+uniform"],
        ["caption", str(video.parent), "-M", "fastv", "-o", "l=0"],
        ["eval", str(questions), "-M", "full", "-M", "dycoke:p=1.5"],
        ["compare", "--sweep", "k=0.5,2"],
        ["bench", "-M", "generate", "-M", "holitom:tau=-2"],
    ]
    errors = refused_without_torch(commands, tmp_path)
    wrong = ("k=2.0", "dycoke and dynamic", "random and uniform", "l=0", "p=1.5", "k=2.0", "tau=-2.0")
    for place, words in enumerate(wrong):
        assert words in errors[2 * place], errors


def refused_without_torch(commands: list[list[str]], folder: Path) -> list[str]:
    """Run wrong commands in `folder`, in one process without torch. Return two lines of stderr for each."""
    code = (
        "import sys; from dycoke_cli.cli.app import run\n"
        f"for command in {commands!r}:\n"
        "    code = run(command)\n"
        "    print(code, 'torch' in sys.modules, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    models = {place for place, command in enumerate(commands) if "-m" in command}
    assert done.stdout.splitlines() == [f"{4 if place in models else 2} False" for place in range(len(commands))]
    assert len(done.stderr.splitlines()) == 2 * len(commands), done.stderr
    return done.stderr.splitlines()
