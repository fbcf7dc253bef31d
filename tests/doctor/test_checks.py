"""Each check of the doctor meets what it is there to find."""

import socket
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from packaging.requirements import Requirement

from dycoke_cli.doctor import torch_checks
from dycoke_cli.doctor.decoders import check_decord, check_pyav
from dycoke_cli.doctor.hub import check_cache, check_hub
from dycoke_cli.doctor.installation import DECORDS, check_packages, check_python, check_settings, decord_package
from dycoke_cli.doctor.torch_checks import Card, judge_cuda
from dycoke_cli.doctor.worker import run_one
from dycoke_cli.errors import UsageError
from dycoke_cli.models import names
from dycoke_cli.video import samples

GB = 10**9


def test_python_is_held_against_what_is_asked_for() -> None:
    """This one will do; another would have to be named."""
    assert check_python().status == "ok"
    finding = check_python(">=4.1")
    assert (finding.status, ">=4.1" in finding.message, bool(finding.remedy)) == ("broken", True, True)


def test_packages_are_held_against_what_is_asked_for() -> None:
    """Too old and missing ones are named with the version there is and the one that is needed."""
    assert check_packages().status in ("ok", "warning")  # a checkout may run without being installed
    needed = ["pytest>=3", "numpy>=999", "no-such-package>1", "nor-this; sys_platform == 'plan9'"]
    finding = check_packages(needed)
    assert finding.status == "broken"
    assert "numpy" in finding.message
    assert "no-such-package missing" in finding.message
    assert "nor-this" not in finding.message
    assert finding.remedy == "pip install 'numpy>=999' 'no-such-package>1'"
    assert check_packages(needed[:1]).status == "ok"


def test_a_version_that_nobody_has_tried_is_a_warning_with_the_tried_ones() -> None:
    """Above the upper bound dycoke may well work; below the lower one it cannot."""
    found = check_packages(["pytest>=1,<2"])
    assert (found.status, found.message.split(" ", 1)[0]) == ("warning", "pytest")
    assert "(tried: <2,>=1)" in found.message
    assert check_packages(["pytest>=1000,<1001"]).status == "broken"


def test_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with an unknown key is broken, and the nearest key is named."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert check_settings().status == "ok"
    (tmp_path / "dycoke.yaml").write_text("frams: 8")
    finding = check_settings()
    assert (finding.status, finding.remedy) == ("broken", "Did you mean 'frames'?")


@pytest.mark.smoke
def test_decoders_read_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both as they are; then a decord that cannot be imported, which is a warning; then no clip."""
    assert check_pyav().status == "ok"
    pytest.importorskip("decord")
    assert check_decord().status == "ok"
    (tmp_path / "decord.py").write_text("raise ImportError('libavcodec.so.58 is missing')")
    monkeypatch.syspath_prepend(tmp_path)  # the decoders' process gets the same path
    finding = check_decord()
    assert (finding.status, "pip install decord" in finding.remedy) == ("warning", True)
    assert "libavcodec.so.58" in finding.message
    monkeypatch.setattr(samples, "VIDEO", tmp_path / "cube.mp4")
    assert check_pyav().status == "broken"


@pytest.mark.parametrize(
    ("system", "machine", "python", "package"),
    [
        ("linux", "x86_64", "3.11", "decord"),
        ("win32", "AMD64", "3.13", "decord"),
        ("linux", "aarch64", "3.13", "decord2"),
        ("darwin", "arm64", "3.11", "eva-decord"),
        ("darwin", "arm64", "3.12", None),
        ("win32", "ARM64", "3.12", None),
    ],
)
def test_a_decord_that_is_not_installed_is_told_from_one_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, python: str, package: str | None
) -> None:
    """Where there is one it is a warning with the name of its package, with or without metadata of dycoke."""
    platform = {"sys_platform": system, "platform_machine": machine, "python_version": python}
    assert decord_package(platform) == package
    monkeypatch.setattr("dycoke_cli.doctor.decoders.decord_package", lambda: decord_package(platform))

    def missing(*_: object) -> None:
        raise UsageError("decord is not installed here.", "Use --decoder auto or --decoder pyav.")

    monkeypatch.setattr("dycoke_cli.doctor.decoders.read_frames", missing)
    finding = check_decord()
    if package is None:
        assert (finding.status, "none for this platform" in finding.message) == ("ok", True)
    else:
        assert (finding.status, "is not installed" in finding.message) == ("warning", True)
        assert finding.remedy.endswith(f"pip install {package}")


def test_the_decords_are_those_that_the_project_asks_for() -> None:
    """The table stands in for metadata, so it says the same as pyproject.toml."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(text) for text in project["dependencies"]]
    named = {r.name: str(r.marker) for r in asked if "decord" in r.name}
    assert {r.name: str(r.marker) for r in map(Requirement, DECORDS)} == named


def test_a_torchvision_of_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be imported is broken; one built for another torch a warning; none at all is fine."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    metadata = tmp_path / "torchvision-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.1\nRequires-Dist: torch (==1.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    finding = torch_checks.check_torchvision()
    assert (finding.status, "pip uninstall torchvision" in finding.remedy) == ("broken", True)
    (package / "__init__.py").write_text("")
    try:
        finding = torch_checks.check_torchvision()
    finally:
        sys.modules.pop("torchvision", None)  # transformers must not find it
    assert (finding.status, "built for torch ==1.0" in finding.message) == ("warning", True)


@pytest.mark.parametrize(
    ("built_for", "driver", "cards", "status", "told"),
    [
        (None, None, [], "ok", "no NVIDIA driver"),
        ("13.2", None, [], "ok", "no NVIDIA driver"),
        (None, "580.65", [], "warning", "built for CPUs"),
        ("13.2", "470.10", [], "warning", "finds no GPU: The driver is too old"),
        ("13.2", "580.65", [Card("H200", 100 * GB, 150 * GB)], "ok", "H200, 100.0 of 150.0 GB free"),
        ("13.2", "580.65", [Card("H200", GB, 150 * GB)], "warning", "1.0 of 150.0 GB free"),
        ("13.2", "580.65", [Card("H200", GB, 150 * GB), Card("H200", 99 * GB, 150 * GB)], "ok", "99.0 of"),
        ("13.2", "580.65", [Card("K80", 0, 12 * GB, "no kernel image is available")], "broken", "cuda:0 (K80) fails"),
    ],
)
def test_gpus_are_judged(built_for: str | None, driver: str | None, cards: list[Card], status: str, told: str) -> None:
    """No GPU is no fault; one that torch cannot use is worth a word; one that fails would end every run."""
    finding = judge_cuda(built_for, driver, cards, "The driver is too old" if driver == "470.10" else "")
    assert finding.status == status
    assert told in finding.message
    assert bool(finding.remedy) == (status != "ok")


def test_torch_and_gpu_of_this_machine() -> None:
    """Whatever is here is looked at without an exception; torch computes, or no test would."""
    assert torch_checks.check_torch().status == "ok"
    assert torch_checks.check_cuda().check == "cuda"


@contextmanager
def _server(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flag forbids the network, and no proxy stands between."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(("status", "expected"), [(200, "ok"), (404, "ok"), (503, "warning")])
def test_a_hub_that_answers(monkeypatch: pytest.MonkeyPatch, status: int, expected: str) -> None:
    """Any page will do, but a server's own fault."""
    with _server(status) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        finding = check_hub()
    assert (finding.status, address in finding.message) == (expected, True)


@pytest.mark.usefixtures("online")
def test_a_hub_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, or silent: a warning, in time; with an offline flag nobody is asked."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        finding = check_hub(limit_s=20)
        assert (finding.status, "cannot be reached" in finding.message) == ("warning", True)
        deaf.listen()
        finding = check_hub(limit_s=0.2)
        assert finding.status == "warning"
        assert "HF_HUB_OFFLINE" in finding.remedy
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        finding = check_hub(limit_s=0.2)
        assert (finding.status, "offline" in finding.message) == ("ok", True)


@pytest.mark.usefixtures("online")
def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there or can be made is fine, and stays as it was; one below a file cannot be made."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "a" / "hub"))
    assert check_cache().status == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").write_text("a file")
    finding = check_cache()
    assert (finding.status, "HF_HUB_CACHE" in finding.remedy) == ("broken", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert check_cache().status == "ok"


def test_the_bundled_model_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rightly; where another answer is expected it is broken, and both are named."""
    finding = torch_checks.check_model("cpu")
    assert (finding.status, "red" in finding.message) == ("ok", True)
    wrong = tmp_path / "questions.yaml"
    wrong.write_text(samples.QUESTIONS.read_text().replace("cube.mp4", str(samples.VIDEO)).replace("red", "blue"))
    monkeypatch.setattr(samples, "QUESTIONS", wrong)
    finding = torch_checks.check_model("cpu")
    assert (finding.status, "not 'blue'" in finding.message) == ("broken", True)


def test_the_bundled_model_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named."""
    for file in names.DEMO.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(names, "DEMO", tmp_path)
    finding = run_one("model", lambda: torch_checks.check_model("cpu"))
    assert (finding.status, "model.safetensors" in finding.message) == ("broken", True)
