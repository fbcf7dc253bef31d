"""Each check of `dycoke doctor` on the defect that it is meant to detect."""

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
from dycoke_cli.doctor.result import run_check
from dycoke_cli.doctor.torch_checks import Card, judge_cuda
from dycoke_cli.errors import UsageError
from dycoke_cli.models import names
from dycoke_cli.video import bundled_clips

GB = 10**9


def test_python_is_compared_with_the_required_version() -> None:
    """This Python passes; a newer requirement is broken and the message contains it."""
    assert check_python().status == "ok"
    result = check_python(">=4.1")
    assert (result.status, ">=4.1" in result.message, bool(result.remedy)) == ("broken", True, True)


def test_packages_are_compared_with_the_required_versions() -> None:
    """The message lists packages that are too old or missing, with the installed and the required version."""
    assert check_packages().status in ("ok", "warning")  # a checkout may run without an installation
    needed = ["pytest>=3", "numpy>=999", "no-such-package>1", "nor-this; sys_platform == 'plan9'"]
    result = check_packages(needed)
    assert result.status == "broken"
    assert "numpy" in result.message
    assert "no-such-package missing" in result.message
    assert "nor-this" not in result.message
    assert result.remedy == "pip install 'numpy>=999' 'no-such-package>1'"
    assert check_packages(needed[:1]).status == "ok"


def test_an_untested_version_is_a_warning_with_the_tested_range() -> None:
    """A version above the upper bound is a warning, one below the lower bound is broken."""
    found = check_packages(["pytest>=1,<2"])
    assert (found.status, found.message.split(" ", 1)[0]) == ("warning", "pytest")
    assert "(tried: <2,>=1)" in found.message
    assert check_packages(["pytest>=1000,<1001"]).status == "broken"


def test_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with an unknown key is broken, and the remedy suggests the nearest key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert check_settings().status == "ok"
    (tmp_path / "dycoke.yaml").write_text("frams: 8")
    result = check_settings()
    assert (result.status, result.remedy) == ("broken", "Did you mean 'frames'?")


@pytest.mark.smoke
def test_decoders_read_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both decoders pass; a decord that cannot be imported is a warning; a missing clip is broken."""
    assert check_pyav().status == "ok"
    pytest.importorskip("decord")
    assert check_decord().status == "ok"
    (tmp_path / "decord.py").write_text("raise ImportError('libavcodec.so.58 is missing')")
    monkeypatch.syspath_prepend(tmp_path)  # the decoder process inherits this path
    result = check_decord()
    assert (result.status, "pip install decord" in result.remedy) == ("warning", True)
    assert "libavcodec.so.58" in result.message
    monkeypatch.setattr(bundled_clips, "VIDEO", tmp_path / "cube.mp4")
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
def test_a_missing_decord_is_a_warning_only_where_one_exists(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, python: str, package: str | None
) -> None:
    """The remedy contains the name of the platform's package, with or without metadata of dycoke."""
    platform = {"sys_platform": system, "platform_machine": machine, "python_version": python}
    assert decord_package(platform) == package
    monkeypatch.setattr("dycoke_cli.doctor.decoders.decord_package", lambda: decord_package(platform))

    def missing(*_: object) -> None:
        raise UsageError("decord is not installed here.", "Use --decoder auto or --decoder pyav.")

    monkeypatch.setattr("dycoke_cli.doctor.decoders.read_frames", missing)
    result = check_decord()
    if package is None:
        assert (result.status, "none for this platform" in result.message) == ("ok", True)
    else:
        assert (result.status, "is not installed" in result.message) == ("warning", True)
        assert result.remedy.endswith(f"pip install {package}")


def test_the_decord_table_equals_pyproject() -> None:
    """The table replaces missing metadata, so it must equal the requirements in pyproject.toml."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(text) for text in project["dependencies"]]
    named = {r.name: str(r.marker) for r in asked if "decord" in r.name}
    assert {r.name: str(r.marker) for r in map(Requirement, DECORDS)} == named


def test_torchvision_for_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision that cannot be imported is broken; one built for another torch is a warning."""
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
    result = torch_checks.check_torchvision()
    assert (result.status, "pip uninstall torchvision" in result.remedy) == ("broken", True)
    (package / "__init__.py").write_text("")
    try:
        result = torch_checks.check_torchvision()
    finally:
        sys.modules.pop("torchvision", None)  # transformers must not find it
    assert (result.status, "built for torch ==1.0" in result.message) == ("warning", True)


@pytest.mark.parametrize(
    ("built_for", "driver", "cards", "status", "text"),
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
def test_gpus_are_judged(built_for: str | None, driver: str | None, cards: list[Card], status: str, text: str) -> None:
    """No GPU is ok; a GPU that torch cannot use is a warning; one that fails is broken."""
    result = judge_cuda(built_for, driver, cards, "The driver is too old" if driver == "470.10" else "")
    assert result.status == status
    assert text in result.message
    assert bool(result.remedy) == (status != "ok")


def test_torch_and_gpu_of_this_machine() -> None:
    """On any machine the checks raise nothing, and torch is ok."""
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
    """Unset the offline flag, and bypass any proxy."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(("status", "expected"), [(200, "ok"), (404, "ok"), (503, "warning")])
def test_a_hub_that_answers(monkeypatch: pytest.MonkeyPatch, status: int, expected: str) -> None:
    """Any status is ok, except a server error, which is a warning."""
    with _server(status) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        result = check_hub()
    assert (result.status, address in result.message) == (expected, True)


@pytest.mark.usefixtures("online")
def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and a time-out are warnings; with an offline flag no request is sent."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        result = check_hub(limit_s=20)
        assert (result.status, "cannot be reached" in result.message) == ("warning", True)
        silent.listen()
        result = check_hub(limit_s=0.2)
        assert result.status == "warning"
        assert "HF_HUB_OFFLINE" in result.remedy
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        result = check_hub(limit_s=0.2)
        assert (result.status, "offline" in result.message) == ("ok", True)


@pytest.mark.usefixtures("online")
def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that can be created is ok and is not created; one whose parent is a file is broken."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "a" / "hub"))
    assert check_cache().status == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").write_text("a file")
    result = check_cache()
    assert (result.status, "HF_HUB_CACHE" in result.remedy) == ("broken", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert check_cache().status == "ok"


def test_the_bundled_model_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right answer is ok; a wrong one is broken, and the message contains both."""
    result = torch_checks.check_model("cpu")
    assert (result.status, "red" in result.message) == ("ok", True)
    wrong = tmp_path / "questions.yaml"
    wrong.write_text(
        bundled_clips.QUESTIONS.read_text().replace("cube.mp4", str(bundled_clips.VIDEO)).replace("red", "blue")
    )
    monkeypatch.setattr(bundled_clips, "QUESTIONS", wrong)
    result = torch_checks.check_model("cpu")
    assert (result.status, "not 'blue'" in result.message) == ("broken", True)


def test_the_bundled_model_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message contains the name of the missing file."""
    for file in names.DEMO.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(names, "DEMO", tmp_path)
    result = run_check("model", lambda: torch_checks.check_model("cpu"), "Install dycoke again")
    assert (result.status, "model.safetensors" in result.message) == ("broken", True)
