"""Damaged and hostile checkpoints: a one-line error that names the file, raised before the model is built."""

import json
import os
import shutil
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz_checkpoint import fuzz, whole_models
from dycoke_cli.cli.app import run
from dycoke_cli.errors import ModelError
from dycoke_cli.models import checkpoints
from tests.conftest import GOLDEN
from tests.models.damage import edit, loaded, refusal
from tests.models.families.tiny import save


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
