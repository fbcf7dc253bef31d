"""Shell completion, requested with the environment variables that shells set."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dycoke_cli.cli.app import app, run
from dycoke_cli.config.settings import Settings, choices
from dycoke_cli.methods.registry import METHODS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub cache with one complete model and one incomplete."""
    cache = tmp_path / "hub"
    for name, there in (("org--some-video-model", True), ("org--half", False)):
        snapshot = cache / f"models--{name}" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        if there:
            (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, shell: str = "bash"
) -> list[str]:
    """Complete the last word of a command line, as the shell's script does -> the lines of output."""
    words = line.split(" ")
    monkeypatch.setenv("_DYCOKE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run([])
    out, err = capsys.readouterr()
    assert err == ""
    return [line for line in out.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dycoke co", ["compare", "config"]),
        ("dycoke config ", ["show", "path", "init"]),
        ("dycoke ask v.mp4 q --pres", ["--preset"]),
        ("dycoke ask v.mp4 q --preset ", ["none", "fast", "faithful", "paper"]),
        ("dycoke ask v.mp4 q -M vid", ["vidcom2"]),
        ("dycoke ask -M vidcom2+dyn", ["vidcom2+dynamic"]),
        ("dycoke eval q.yaml -M ", list(METHODS)),
        ("dycoke compare -M ho", ["holitom"]),
        ("dycoke methods ki", []),
        ("dycoke methods km", ["kmeans"]),
        ("dycoke ask v.mp4 q -m org", ["org/some-video-model"]),
        ("dycoke ask v.mp4 q --model demo", ["demo"]),
        ("dycoke ask v.mp4 q -o g", ["gate="]),
        ("dycoke ask -M fastv -o ", ["l=", "keep="]),
        ("dycoke ask v.mp4 q --dtype b", ["bfloat16"]),
        ("dycoke ask v.mp4 q --device c", ["cpu", "cuda"]),
        # bash splits words at =
        ("dycoke ask v.mp4 q -o variant = ", ["paper", "official"]),
        ("dycoke ask v.mp4 q -o variant = of", ["official"]),
        ("dycoke ask v.mp4 q -o variant=paper ", []),
    ],
)
def test_bash_completions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, expected: list[str]
) -> None:
    """Commands, flags, methods, joined methods, options and their values, models, presets; [] completes files."""
    assert offered(monkeypatch, capsys, line) == expected


def test_fish_and_zsh_get_descriptions_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line is one completion in a narrow terminal too. These shells do not split words at =."""
    lines = offered(monkeypatch, capsys, "dycoke ask v.mp4 q -M ", "fish")
    assert [line.split("\t")[0] for line in lines] == list(METHODS)
    assert all(line.split("\t")[1].strip() for line in lines)
    (line,) = offered(monkeypatch, capsys, "dycoke ask v.mp4 q -o variant=o", "fish")
    assert line.startswith("variant=official\t")
    lines = offered(monkeypatch, capsys, "dycoke ask v.mp4 q --m", "zsh")
    assert [line.count('":"') for line in lines] == [1] * 5  # model, method, memory, max-frames, max-new-tokens


def test_bash_runs_the_completion_script(tmp_path: Path) -> None:
    """The script of `--show-completion` completes a word in a real bash."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    command = tmp_path / "dycoke"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dycoke_cli "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(_DYCOKE_COMPLETE=source_bash dycoke)"
        COMP_WORDS=(dycoke ask v.mp4 q -M pru) COMP_CWORD=5
        _dycoke_completion dycoke; printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", script], capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PATH": path}
    )
    assert (done.stdout, done.stderr) == ("prumerge\n", "")


def test_completion_is_fast_and_imports_nothing_heavy() -> None:
    """Below 0.8 s of processor time, best of three, without torch, transformers, numpy or av."""
    code = (
        "import atexit, json, sys; from dycoke_cli.cli.app import run\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr)); run([])"
    )
    words = {"COMP_WORDS": "dycoke ask v.mp4 q -o ", "COMP_CWORD": "5", "_DYCOKE_COMPLETE": "complete_bash"}
    best = float("inf")
    for _ in range(3):
        began = os.times()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **words})
        now = os.times()
        best = min(best, now.children_user + now.children_system - began.children_user - began.children_system)
        assert "gate=" in done.stdout.split()
        assert not {"torch", "transformers", "numpy", "av"} & set(json.loads(done.stderr))
    assert best < 0.8


def test_every_setting_with_fixed_words_completes_them() -> None:
    """In every command that has the flag."""
    import typer

    group: Any = typer.main.get_command(app)
    found = set()
    for name, command in group.commands.items():
        for parameter in command.params:
            if parameter.name in Settings.model_fields and choices(parameter.name):
                items = parameter.shell_complete(command.make_context(name, [], resilient_parsing=True), "")
                assert [item.value for item in items] == list(choices(parameter.name)), (name, parameter.name)
                found.add(parameter.name)
    assert found == {key for key in Settings.model_fields if choices(key)}
