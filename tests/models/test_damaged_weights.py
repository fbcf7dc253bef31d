"""Damaged and hostile weight files: a one-line error that names the file; pickles and other weights stay unread."""

import os
import random
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from benchmarks.checkpoint_damage import change_header, flip_bytes, set_length
from dycoke_cli.cli.app import run
from dycoke_cli.errors import ModelError
from dycoke_cli.models.weight_files import stored_weights
from tests.conftest import GOLDEN
from tests.models.damage import edit, loaded, refusal


@pytest.mark.parametrize("name", ["tiny-ov", "tiny-ov-tied", "tiny-video"])
def test_headers_say_the_same_as_the_formats_own_library(name: str) -> None:
    """Dtype, shape and file of every weight equal those read by safetensors, for one file and for shards."""
    folder, expected = GOLDEN / "checkpoints" / name, {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                part = file.get_slice(key)
                expected[key] = (part.get_dtype(), tuple(part.get_shape()), path.name)
    assert {key: tuple(weight) for key, weight in stored_weights(folder).items()} == expected


def test_a_header_that_is_accepted_is_one_that_the_formats_own_library_reads(single: Path) -> None:
    """safetensors opens every one of 300 damaged files (bytes, lengths, entries) that dycoke accepts."""
    whole, path, accepted = (single / "model.safetensors").read_bytes(), single / "model.safetensors", 0
    for seed in range(300):
        (flip_bytes, set_length, change_header)[seed % 3](random.Random(seed), single)
        try:
            stored_weights(single)
        except ModelError:
            pass
        else:
            accepted += 1
            try:
                with safe_open(path, "pt"):
                    pass
            except SafetensorError as error:
                pytest.fail(f"seed {seed}: {error}")
        path.write_bytes(whole)
    assert 20 < accepted < 280


@pytest.mark.parametrize("left", [0, 5, 8, 100, 20_000, -1])
def test_weights_cut_short_are_refused(single: Path, left: int) -> None:
    """Truncation, the commonest damage: an interrupted copy."""
    path = single / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    assert "model.safetensors" in refusal(single).message


def test_weights_cut_short_end_the_command_with_4(single: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints one line of message and one of remedy."""
    path = single / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    assert run(["ask", "sample:cube", "what?", "--model", str(single), "--quiet"]) == 4
    message, remedy = capsys.readouterr().err.splitlines()
    assert "model.safetensors of" in message
    assert "it was cut short" in message
    assert remedy.strip() == "Copy the model's files again from their source"


@pytest.mark.parametrize("claimed", [10**14, 2**63, 2**64 - 1, 10**6])
def test_a_header_that_claims_more_than_the_file_allocates_nothing(single: Path, claimed: int) -> None:
    """The header's length is checked against the file's before the header is read."""
    path = single / "model.safetensors"
    path.write_bytes(struct.pack("<Q", claimed) + path.read_bytes()[8:500_000])
    tracemalloc.start()
    try:
        message = refusal(single).message
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()
    assert str(claimed) in message
    assert "500000" in message


class Trap:
    """An object whose pickle creates a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.pth"])
def test_a_pickle_is_refused_by_name_and_never_opened(single: Path, tmp_path: Path, name: str) -> None:
    """A pickle is ignored beside safetensors and refused without them; it is not opened in either case."""
    torch.save({"weight": Trap(tmp_path / "sprung")}, single / name)
    loaded(single)
    (single / "model.safetensors").unlink()
    error = refusal(single)
    assert name in error.message
    assert "Only safetensors are read" in error.remedy
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["../secret.safetensors", "/tmp/secret.safetensors", "a\\b.safetensors", "x.bin", 3])
def test_an_index_that_points_outside_its_folder_is_not_followed(sharded: Path, name: Any) -> None:
    """An index entry that is not a plain file name is refused."""
    shutil.copy(sharded / "model-00002-of-00002.safetensors", sharded.parent / "secret.safetensors")
    edit(sharded / "model.safetensors.index.json", lambda index: index["weight_map"].update({"lm_head.weight": name}))
    message = refusal(sharded).message
    assert "model.safetensors.index.json" in message
    assert repr(name) in message


def test_a_shard_that_is_missing_is_named(sharded: Path) -> None:
    """The error names a shard that is truncated or missing."""
    path = sharded / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "model-00002-of-00002.safetensors" in refusal(sharded).message
    path.unlink()
    assert "model-00002-of-00002.safetensors" in refusal(sharded).message


def test_a_weight_is_in_the_shard_of_its_index_entry(sharded: Path) -> None:
    """A weight in two shards, or in a shard other than the index lists, is refused."""
    first, second = (sharded / f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    weights = load_file(first)
    save_file({**load_file(second), "lm_head.weight": torch.zeros(3)}, second)
    weights["lm_head.weight"] = torch.zeros(3)
    save_file(weights, first)
    assert "'lm_head.weight' as well" in refusal(sharded).message
    save_file({key: weight for key, weight in load_file(second).items() if key != "lm_head.weight"}, second)
    assert "'lm_head.weight'" in refusal(sharded).message


def test_whole_numbers_are_no_weights(single: Path) -> None:
    """A dtype changed to an integer in the header is refused: it would give wrong answers without an error."""
    path = single / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"dtype":"F32"', b'"dtype":"I32"', 1))
    assert "as I32" in refusal(single).message


@pytest.mark.parametrize("name", ["adapter_config.json", "shard-00000-model-00000-of-00001.safetensors"])
def test_other_weights_that_transformers_would_load_are_refused(single: Path, name: str) -> None:
    """An adapter, which can name another model, and shards of distributed training."""
    (single / name).write_text('{"base_model_name_or_path": "owner/other"}')
    assert name in refusal(single).message
