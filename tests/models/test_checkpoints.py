"""Locate and load checkpoints in transformers and lmms-lab format; refuse unsupported or incomplete ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from dycoke_cli.errors import ModelError
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.names import DEMO
from tests.conftest import GOLDEN, clip_frames, golden_model

CPU, FLOAT = torch.device("cpu"), torch.float32


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A copy of an lmms-lab checkpoint that a test may modify."""
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "checkpoints" / "tiny-ov-tied", folder)
    return folder


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def load(folder: Path, **layout: Any) -> Llava:
    return loading.load(checkpoints.locate(str(folder)), CPU, FLOAT, **layout)


def test_every_weight_arrives() -> None:
    """The model contains every tensor of the files, bit for bit: tied, untied and sharded."""
    for name in ("tiny-ov", "tiny-ov-tied", "tiny-video"):
        stored = {}
        for file in (GOLDEN / "checkpoints" / name).glob("*.safetensors"):
            stored.update(load_file(file))
        model = golden_model(name).model
        loaded = {tensor.double().sum().item(): tensor for tensor in model.state_dict().values()}
        for key, tensor in stored.items():
            assert torch.equal(loaded[tensor.double().sum().item()], tensor), key


# Weight names of the published conversions, which were made before transformers 5.
OLD_NAMES = {
    "model.language_model.": "language_model.model.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.image_newline": "image_newline",
    "lm_head.": "language_model.lm_head.",
}


def save_converted(model: Llava, folder: Path, names: dict[str, str]) -> None:
    """Write a model in transformers format, with weight names replaced by `names`."""
    model.model.config.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    weights = {}
    for key, tensor in model.model.state_dict().items():
        prefix = next((old for old in names if key.startswith(old)), "")
        weights[names.get(prefix, "") + key.removeprefix(prefix)] = tensor.clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("names", [{}, OLD_NAMES], ids=["current", "published"])
def test_transformers_format_is_the_same_model(tmp_path: Path, tiny: Llava, names: dict[str, str]) -> None:
    """An lmms-lab checkpoint, converted and loaded again, encodes frames to the same features."""
    save_converted(tiny, tmp_path, names)
    converted = load(tmp_path)
    assert converted.layout == VideoLayout()
    frames = clip_frames()[:3].numpy()
    assert torch.equal(converted.encode(frames).features, tiny.encode(frames).features)
    assert converted.stop_ids >= {388}


@pytest.mark.parametrize("folder", [DEMO, GOLDEN / "checkpoints" / "tiny-ov"], ids=["demo", "golden"])
def test_the_tokenizer_is_the_files_own(folder: Path) -> None:
    """The rules come from tokenizer.json: the demo's fold case, Qwen2's do not."""
    text = "\nDo you see ANYTHING black?<|im_end|>\n<|im_start|>assistant\n"
    wanted = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert load(folder).tokenize(text) == wanted


def test_a_tokenizer_without_its_json(original: Path) -> None:
    """vocab.json and merges.txt suffice, as in some older folders."""
    before = load(original).tokenize("describe this video<|im_end|>")
    (original / "tokenizer.json").unlink()
    assert load(original).tokenize("describe this video<|im_end|>") == before


def test_conversions_of_llava_video_are_known_by_name(tmp_path: Path, tiny: Llava) -> None:
    """A transformers configuration has no field for grid newlines: the name selects them, and options override it."""
    folder = tmp_path / "LLaVA-Video-7B-Qwen2-hf"
    save_converted(tiny, folder, {})
    assert load(folder).layout == VideoLayout("grid", time_instruction=True)
    assert load(folder, newline="one_token", pooling="average").layout == VideoLayout(
        "one_token", "average", time_instruction=True
    )
    assert checkpoints.locate(str(folder)).default_frames == 64


def test_llava_video_gets_its_time_instruction(load_golden: Any) -> None:
    """The text is the original's: no spaces after commas, none before "Please"."""
    video = load_golden("tiny-video")
    text = video.decode(video.question_ids("What?", (0.0, 1.016, 2.5), 3.0))
    assert text.strip().startswith(
        "The video lasts for 3.00 seconds, and 3 frames are uniformly sampled from it. "
        "These frames are located at 0.00s,1.02s,2.50s.Please answer the following questions related to this video.\n"
        "What?"
    )


def test_a_missing_weight_is_refused_by_name(original: Path) -> None:
    """Otherwise the layer would keep random weights, and the answers would be wrong without an error."""
    weights = load_file(original / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, original / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"missing weights: .*layers\.2\.mlp\.up_proj"):
        load(original)


def test_a_leftover_weight_is_refused_by_name(original: Path) -> None:
    """An unused weight belongs to another architecture."""
    weights = load_file(original / "model.safetensors")
    weights["model.resampler.weight"] = torch.zeros(3)
    save_file(weights, original / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"unexpected weights: .*resampler"):
        load(original)


def test_a_weight_of_another_shape_is_refused(original: Path) -> None:
    """A config.json of another model does not load in part."""
    edit(original, intermediate_size=96)
    with pytest.raises(ModelError, match=r"mismatched weights: .*mlp"):
        load(original)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mm_projector_type": "linear"}, "mm_projector_type='linear'"),
        ({"mm_newline_position": "nowhere"}, "mm_newline_position='nowhere'"),
        ({"mm_spatial_pool_mode": "median"}, "mm_spatial_pool_mode='median'"),
        ({"add_faster_video": True}, "add_faster_video"),
        ({"vision_config": None, "mm_vision_tower": "openai/clip"}, "openai/clip"),
    ],
)
def test_parts_that_do_not_exist_here_are_refused(original: Path, changes: dict[str, Any], message: str) -> None:
    """The error contains the field and its value; unsupported parts are not replaced by others."""
    edit(original, **changes)
    with pytest.raises(ModelError, match=message):
        load(original)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    """A text model is refused from config.json alone."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}')
    with pytest.raises(ModelError, match="'qwen2' model"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lava-video", "no model is called 'lava-video'"),
        ("./nowhere/model", "no model is called './nowhere/model'"),
        ("/nowhere/model", "no model is called '/nowhere/model'"),
    ],
)
def test_names_that_do_not_exist(name: str, message: str) -> None:
    """Raise ModelError for a name that is neither a known name, a folder nor a hub id."""
    with pytest.raises(ModelError, match=message):
        checkpoints.locate(name)


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    """Refuse a folder without a config.json, or with a damaged one."""
    with pytest.raises(ModelError, match=r"no config\.json"):
        checkpoints.locate(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        checkpoints.locate(str(tmp_path))


def test_offline_is_respected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With HF_HUB_OFFLINE a model that is not on disk is refused at once, and the error names the variable."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        checkpoints.locate("lmms-lab/no-such-model")
    assert checkpoints.choose_auto() == "demo"


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub cache with the sharded checkpoint as `owner/model`, in offline mode."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    repository = tmp_path / "models--owner--model"
    shutil.copytree(GOLDEN / "checkpoints" / "tiny-video", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


def test_a_cached_hub_model_needs_no_network(hub_cache: Path) -> None:
    """A cached model is located and loaded in offline mode."""
    assert checkpoints.on_disk("owner/model")
    assert checkpoints.locate("owner/model").folder == hub_cache
    assert load(checkpoints.locate("owner/model").folder).layout.newline == "grid"


def test_half_a_download_is_not_a_model(hub_cache: Path) -> None:
    """A model with a missing shard does not count as cached."""
    (hub_cache / "model-00002-of-00002.safetensors").unlink()
    assert not checkpoints.on_disk("owner/model")
    with pytest.raises(ModelError, match="not on this disk"):
        checkpoints.locate("owner/model")
