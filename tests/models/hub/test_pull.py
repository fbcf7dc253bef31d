"""`dycoke models pull` against a local hub: resume, verify checksums, and one-line errors."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dycoke_cli.cache.fingerprint import folder_fingerprint
from dycoke_cli.cli.app import run
from dycoke_cli.models.checkpoints import locate, on_disk
from dycoke_cli.models.names import find
from tests.conftest import GOLDEN
from tests.models.hub.server import COMMIT, Hub, running

MODEL = "owner/model"
SHARD = "model-00002-of-00002.safetensors"
Pull = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The sharded golden checkpoint, and a file that is not downloaded."""
    folder = GOLDEN / "checkpoints" / "tiny-video"
    return {**{path.name: path.read_bytes() for path in folder.iterdir()}, "pytorch_model.bin": bytes(1000)}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    """A hub with that checkpoint."""
    with running(Hub(MODEL, dict(files))) as hub:
        yield hub


@pytest.fixture
def pull(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pull:
    """Run `dycoke models` against the hub in this process, with an empty cache."""
    from huggingface_hub import constants
    from huggingface_hub.utils import enable_progress_bars

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def pulled(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["models", *(arguments or ("pull", MODEL))]
        code = run(command)
        enable_progress_bars()  # of the hub client; the command turns them off
        return subprocess.CompletedProcess(command, code, *capsys.readouterr())

    return pulled


@pytest.fixture
def pull_apart(hub: Hub, pull: Pull, tmp_path: Path) -> Pull:
    """Run `dycoke models` against the hub in a subprocess, configured by environment variables."""

    def started(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        command = [sys.executable, "-m", "dycoke_cli", "models", *(arguments or ("pull", MODEL))]
        return subprocess.run(command, capture_output=True, text=True, env={**clean, **own, **environment})

    return started


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert exit code 4, and that stderr ends with one line of message, containing `words`, and one of remedy."""
    assert done.returncode == 4, done.stderr
    *_, message, remedy = done.stderr.splitlines()
    assert message.startswith("dycoke: ")
    assert remedy.startswith("  ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in message, done.stderr


@pytest.mark.smoke
def test_a_model_is_fetched_checked_and_pinned(
    hub: Hub, pull_apart: Pull, files: dict[str, bytes], tmp_path: Path
) -> None:
    """Download exactly the needed files; the name then resolves to that commit, with and without a network."""
    assert pull_apart("path", MODEL).returncode == 4
    done = pull_apart("pull", MODEL, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["revision"], record["hub_id"]) == (COMMIT, MODEL)
    folder = Path(record["path"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: content for name, content in files.items() if name != "pytorch_model.bin"
    }
    assert record["bytes"] == record["bytes_fetched"] == sum(path.stat().st_size for path in folder.iterdir())
    assert pull_apart("path", MODEL, HF_HUB_OFFLINE="1").stdout.strip() == str(folder)
    assert locate(f"{MODEL}@{COMMIT}").folder == locate(MODEL).folder == folder
    assert folder_fingerprint(folder, ["*"]) == COMMIT
    gets = len(hub.gets)
    again = pull_apart("pull", f"{MODEL}@{COMMIT}", "--json")
    assert json.loads(again.stdout)["bytes_fetched"] == 0
    assert len(hub.gets) == gets


def test_a_dropped_connection_is_taken_up_again(hub: Hub, pull: Pull) -> None:
    """Within a run, a request resumes after the last complete 10 MiB piece."""
    piece, name = 10 * 2**20, "model.safetensors"
    hub.files = {"config.json": b"{}", name: random.Random(0).randbytes(piece + 100_000)}
    hub.cut_at[name] = piece + 50_000
    done = pull()
    assert done.returncode == 0, done.stderr
    assert hub.ranges == [(name, f"bytes={piece}-")]
    folder = find(MODEL)
    assert folder is not None
    assert (folder / name).read_bytes() == hub.files[name]


def test_the_next_run_goes_on_where_one_was_stopped(hub: Hub, pull: Pull, tmp_path: Path) -> None:
    """Between runs, the partial file is kept, and only the remaining bytes are requested."""
    sha = hub.entry(SHARD)["lfs"]["sha256"]
    part = tmp_path / "hub" / "models--owner--model" / "blobs" / f"{sha}.dycoke.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(hub.files[SHARD][:5000])
    assert not on_disk(MODEL)
    assert pull().returncode == 0
    assert hub.ranges == [(SHARD, "bytes=5000-")]
    assert (locate(MODEL).folder / SHARD).read_bytes() == hub.files[SHARD]
    assert not part.exists()


@pytest.mark.parametrize("name", [SHARD, "config.json"])
def test_damage_is_found_and_does_not_stay(hub: Hub, pull: Pull, name: str) -> None:
    """A file with one wrong byte is refused and removed, and the next run downloads it again."""
    wrong = bytearray(hub.files[name])
    wrong[len(wrong) // 2] ^= 1
    hub.serve[name] = bytes(wrong)
    refused(pull(), name, "checksum")
    assert not on_disk(MODEL)
    hub.serve.clear()
    assert pull().returncode == 0
    assert (locate(MODEL).folder / name).read_bytes() == hub.files[name]


def test_a_file_of_another_length_is_refused(hub: Hub, pull: Pull) -> None:
    """A file shorter than in the listing is refused."""
    hub.serve[SHARD] = hub.files[SHARD][:-10]
    done = pull()
    refused(done, MODEL)
    assert not on_disk(MODEL)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", "is gated"),
        (403, "GatedRepo", "is gated"),
        (401, "RepoNotFound", "has no model"),
        (404, "RepoNotFound", "has no model"),
        (403, "", "HTTP 403"),
        (500, "", "HTTP 500"),
    ],
)
def test_refusals_of_the_hub(hub: Hub, pull: Pull, status: int, code: str, words: str) -> None:
    """The error distinguishes gated, private and missing models, and server errors."""
    hub.status, hub.error_code = status, code
    refused(pull(), repr(MODEL), words)


def test_a_revision_that_does_not_exist(pull: Pull) -> None:
    """The error names the revision."""
    refused(pull("pull", f"{MODEL}@v9"), "'v9'")


def test_a_model_without_safetensors(hub: Hub, pull: Pull) -> None:
    """Pickled weights are not downloaded."""
    hub.files = {name: content for name, content in hub.files.items() if not name.endswith(".safetensors")}
    refused(pull(), "safetensors")
    assert hub.gets == []


def test_an_index_that_names_more_than_there_is(hub: Hub, pull: Pull) -> None:
    """A repository that lacks a shard of its index is refused."""
    del hub.files[SHARD]
    refused(pull(), "all weights")


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline(hub: Hub, pull_apart: Pull, switch: str) -> None:
    """The error names the variable, and no request is sent."""
    refused(pull_apart(**{switch: "1"}), "HF_HUB_OFFLINE")
    assert hub.gets == []


@pytest.mark.smoke
def test_an_unreachable_hub(pull_apart: Pull) -> None:
    """Without a network the remedy does not mention resuming, and contains three alternatives."""
    done = pull_apart(HF_ENDPOINT="http://127.0.0.1:9")
    refused(done, repr(MODEL), "cannot be fetched")
    assert "where it stopped" not in done.stderr
    assert all(words in done.stderr for words in ("HTTPS_PROXY", "HF_HUB_OFFLINE", "--model FOLDER"))


def test_a_connection_that_ends_on_the_way_can_go_on(hub: Hub, pull: Pull, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection dropped during the download has the remedy to run again, which resumes."""
    from huggingface_hub import file_download

    def dropped(*_: object, **__: object) -> None:
        raise ConnectionError("the connection was dropped")

    monkeypatch.setattr(file_download, "http_get", dropped)
    done = pull()
    refused(done, "dropped")
    assert "where it stopped" in done.stderr


def test_a_hub_id_near_a_known_one_is_told_it(hub: Hub, pull: Pull) -> None:
    """For a missing model the remedy suggests a similar known id, and none if none is similar."""
    near = "llava-hf/llava-onevision-qwen2-0.5b-ov-h"
    assert f"Did you mean '{near}f'?" in pull("pull", near).stderr
    assert "Did you mean" not in pull("pull", "owner/another").stderr


def test_a_full_disk_is_seen_before_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise ModelError before the download if the disk lacks space."""
    from dycoke_cli.errors import ModelError
    from dycoke_cli.models.hub import pull as module

    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(ModelError, match=r"needs 16\.1 GB on disk"):
        module.refuse_full_disk(MODEL, 16_060_000_000)
