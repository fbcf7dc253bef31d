"""The built wheel: its files and metadata, an answer from an installed copy, and `doctor` with broken dependencies."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import dycoke_cli
from dycoke_cli.video import bundled_clips

ROOT = Path(__file__).parents[1]
LARGEST = 25 * 10**6  # bytes


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the checkout in PYTHONPATH."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout by hatchling."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a virtual environment that contains the wheel, with this environment's packages on its path."""
    folder = tmp_path_factory.mktemp("venv")
    uv = os.environ.get("UV") or shutil.which("uv")
    venv.create(folder, with_pip=uv is None)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    packages = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "packages.pth").write_text("\n".join(packages))
    if uv is None:
        done = run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    else:
        done = run(uv, "pip", "install", "--offline", "--no-config", "--no-deps", "--python", python, wheel)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_files_of_the_wheel(wheel: Path) -> None:
    """The demo model, at least two clips with their questions, and py.typed, below the size limit."""
    assert wheel.stat().st_size < LARGEST
    names = set(zipfile.ZipFile(wheel).namelist())
    clips = [clip.name for clip in bundled_clips.FOLDER.glob("*.mp4")]
    assert len(clips) >= 2
    wanted = {f"demo/clips/{name}" for name in [*clips, bundled_clips.QUESTIONS.name]}
    wanted |= {"demo/model.safetensors", "demo/config.json", "demo/tokenizer.json", "display/template/page.html"}
    assert {f"dycoke_cli/{name}" for name in wanted | {"py.typed"}} <= names
    assert not [name for name in names if not name.startswith(("dycoke_cli/", "dycoke-"))]


def test_metadata_of_the_wheel(wheel: Path) -> None:
    """Version, licence and its text, README, minimum Python, keywords and URLs."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
        licence = archive.read(name.replace("METADATA", "licenses/LICENSE"))
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert metadata["Version"] == dycoke_cli.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert metadata["Keywords"]
    assert any("arxiv.org/abs/2411.15024" in url for url in metadata.get_all("Project-URL", []))
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_it_answers_from_an_empty_folder(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed command answers about an installed clip; the code that runs is the wheel's."""
    monkeypatch.chdir(tmp_path)
    done = run(installed / "dycoke", "ask", "sample:cube", "what colour is the cube?", "-m", "demo", "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert record["answers"][0]["answer"] == "red"
    assert Path(record["video"]["path"]).is_relative_to(installed.parent)
    assert list(tmp_path.iterdir()) == []


def test_doctor_reports_broken_dependencies(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failed check has a remedy, working ones are ok, and the exit code is 1."""
    monkeypatch.chdir(tmp_path)
    site = next(installed.parent.rglob("packages.pth")).parent
    (site / "decord.py").write_text("raise ImportError('libavcodec.so.58 is missing')")
    (site / "torchvision").mkdir()
    (site / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / "file").write_text("no folder")
    variables = {"HF_HUB_CACHE": str(tmp_path / "file" / "hub"), "XDG_CONFIG_HOME": str(tmp_path)}
    # Nothing listens on this port: refused at once, without a network.
    variables |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
    done = run(installed / "dycoke", "doctor", "--json", **variables, NO_PROXY="127.0.0.1")
    assert (done.returncode, done.stderr) == (1, "")
    record: dict[str, Any] = json.loads(done.stdout)
    assert record["ok"] is False
    found = {check["check"]: check for check in record["checks"]}
    statuses = {name: check["status"] for name, check in found.items()}
    assert statuses.pop("cuda") in ("ok", "warning", "broken")  # whatever this machine has
    assert statuses == {
        "python": "ok",
        "packages": "ok",
        "settings": "ok",
        "pyav": "ok",
        "decord": "warning",
        "hub": "warning",
        "cache": "broken",
        "torch": "ok",
        "torchvision": "broken",
        "model": "broken",
    }
    assert all(bool(check["remedy"]) == (check["status"] != "ok") for check in found.values())
    assert "libavcodec.so.58" in found["decord"]["message"]
