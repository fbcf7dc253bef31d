"""Damaged and hostile checkpoints: a one-line error that names the file, raised before the model is built."""

import json
import os
import random
import shutil
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from benchmarks.checkpoint_damage import change_header, flip_bytes, set_length
from benchmarks.fuzz_checkpoint import fuzz, whole_models
from dycoke_cli.cli.app import run
from dycoke_cli.errors import ModelError
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.weight_files import stored_weights
from tests.conftest import GOLDEN
from tests.models.families.tiny import save

SAMPLE = "sample:cube"


def copied(name: str, folder: Path) -> Path:
    shutil.copytree(GOLDEN / "checkpoints" / name, folder)
    return folder


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A copy of a checkpoint in one file."""
    return copied("tiny-ov-tied", tmp_path / "model")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A copy of a checkpoint in two shards."""
    return copied("tiny-video", tmp_path / "model")


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refusal(folder: Path) -> ModelError:
    """Return the error of `locate`, which builds no model; it has a remedy and one line."""
    with pytest.raises(ModelError) as caught:
        checkpoints.locate(str(folder))
    assert caught.value.remedy
    assert "\n" not in caught.value.message
    return caught.value


def loaded(folder: Path) -> Any:
    return loading.load(checkpoints.locate(str(folder)), torch.device("cpu"), torch.float32)


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
    assert run(["ask", SAMPLE, "what?", "--model", str(single), "--quiet"]) == 4
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


def test_no_code_of_a_checkpoint_runs(single: Path, tmp_path: Path) -> None:
    """Python files, kernels and other weights named in a configuration are not loaded."""
    (single / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\nclass Evil: pass\n")
    code = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    (single / "custom_generate").mkdir()
    shutil.copy(single / "evil.py", single / "custom_generate" / "generate.py")

    def change(config: dict[str, Any]) -> None:
        config |= {"auto_map": code, "_attn_implementation": "owner/kernel", "transformers_weights": "../x.safetensors"}

    for name in ("config.json", "tokenizer_config.json"):
        edit(single / name, change)
    loaded(single)
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 3}, "config.json"),
        ({"num_attention_heads": -4}, "num_attention_heads=-4"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers=1000000"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000"),
        ({"mm_vision_select_layer": 10**9}, "mm_vision_select_layer=1000000000"),
        ({"vocab_size": 10**9}, "config.json asks for"),
        ({"intermediate_size": 10**14}, "config.json"),
        ({"hidden_size": 10**40}, "config.json"),
        ({"hidden_size": "64"}, "config.json"),
        ({"rms_norm_eps": None}, "config.json"),
        ({"quantization_config": [1]}, "quantization_config"),
    ],
    ids=str,
)
def test_a_configuration_whose_numbers_disagree_is_refused(single: Path, changes: dict[str, Any], message: str) -> None:
    """Sizes that contradict each other or the weights are refused, without allocating memory for them."""
    edit(single / "config.json", lambda config: config.update(changes))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message) as caught:
            _ = checkpoints.locate(str(single)).model_config
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()
    assert caught.value.remedy
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("window", [0, 7, -16, 513 * 8, 10**14])
def test_a_window_of_no_or_of_endless_visual_tokens_is_refused(tmp_path: Path, window: int) -> None:
    """Qwen2.5-VL's vision tower divides by the tokens of a window, and pads each frame to whole windows."""
    folder = save("qwen2_5_vl", tmp_path / "model")
    edit(folder / "config.json", lambda config: config["vision_config"].update(window_size=window))
    with pytest.raises(ModelError, match=f"window_size={window}, and visual tokens are 8 pixels wide"):
        _ = checkpoints.locate(str(folder)).model_config


def test_labels_that_no_answer_takes_are_not_made(single: Path) -> None:
    """Transformers would create an entry for each of a billion labels."""
    edit(single / "config.json", lambda config: config.update(num_labels=10**9))
    loaded(single)


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


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "x.json"]
)
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to nothing"])
def test_special_files_are_refused_and_not_read(single: Path, name: str, kind: str) -> None:
    """Reading a pipe would block, and reading a device would not end."""
    path = single / name
    path.unlink(missing_ok=True)
    make: dict[str, Callable[[], None]] = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "link to nothing": lambda: path.symlink_to("nowhere"),
    }
    make[kind]()
    assert name in refusal(single).message


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"a":' * 100_000, b'{"a": ' + b"9" * 9999 + b"}"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_json_that_is_damaged_is_named(single: Path, name: str, content: bytes) -> None:
    """The error names the file: truncated JSON, no object, no UTF-8, too deeply nested, an overlong number."""
    (single / name).write_bytes(content)
    assert refusal(single).message.startswith(f"{name} of ")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer_that_is_damaged_is_refused(single: Path, name: str) -> None:
    """Loading a model with an invalid tokenizer raises ModelError."""
    (single / name).write_text('{"version": "1.0", "model": {"type": "BPE"}, "added_tokens_decoder": 3}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        loaded(single)


def test_a_tokenizer_of_another_model_is_refused(single: Path) -> None:
    """A token without an embedding is refused on tokenizing, before the lookup fails."""

    def change(tokenizer: dict[str, Any]) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["a"] += 10**6

    edit(single / "tokenizer.json", change)
    model = loaded(single)
    with pytest.raises(ModelError, match="the tokenizer has a token 10000"):
        model.tokenize("a")


def test_a_folder_without_a_tokenizer_is_refused(single: Path) -> None:
    """Refuse a folder with neither tokenizer.json nor vocab.json and merges.txt."""
    (single / "tokenizer.json").unlink()
    (single / "merges.txt").unlink()
    assert "no tokenizer" in refusal(single).message


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model in the layout of the hub client's cache: a snapshot of links to blobs."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--llava-hf--llava-onevision-qwen2-0.5b-ov-hf"
    snapshot = repository / "snapshots" / ("0" * 40)
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    for number, path in enumerate(sorted((GOLDEN / "checkpoints" / "tiny-video").iterdir())):
        shutil.copy(path, repository / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    return snapshot


def test_links_of_the_hubs_cache_are_followed(cached: Path) -> None:
    """A snapshot whose files are links loads as a folder of files does."""
    assert checkpoints.locate("llava-ov-0.5b").folder == cached
    assert loaded(cached).family == "llava_video"


def test_a_damaged_file_of_the_hub_is_fetched_again_by_name(cached: Path) -> None:
    """The remedy is the `dycoke models pull` command with the hub id."""
    path = (cached / "model-00001-of-00002.safetensors").resolve()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="cut short") as caught:
        checkpoints.locate("llava-ov-0.5b")
    assert caught.value.remedy.endswith("dycoke models pull llava-hf/llava-onevision-qwen2-0.5b-ov-hf")


@pytest.mark.parametrize("files", [None, 3, [], {}, {"a": None}, {"a": ["x"]}, {"a": "../x"}, {"a": "/dev/zero"}])
def test_models_with_invalid_indices_are_listed(cached: Path, files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """`models list` and `models path` treat a model with an invalid index as not on this disk."""
    (cached / "model.safetensors.index.json").unlink()
    (cached / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert run(["models", "list", "--json"]) == 0
    (listed,) = (m for m in json.loads(capsys.readouterr().out)["models"] if m["name"] == "llava-ov-0.5b")
    assert not listed["on_disk"]
    assert run(["models", "path", "llava-ov-0.5b"]) == 4


def test_a_hundred_damaged_checkpoints_end_as_answers_or_in_one_line(tmp_path: Path) -> None:
    """Every damaged checkpoint answers or is refused: no other errors, within the limits on time and memory."""
    whole = whole_models(tmp_path, ("qwen3_vl", "internvl"))
    tally = fuzz(seed=2026, count=112, whole=whole, folder=tmp_path)
    assert tally.failures == []
    assert min(tally.outcomes["answered"], tally.outcomes["refused"]) > 10
