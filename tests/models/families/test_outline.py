"""Counts from an Outline, before a model is loaded, equal those of the loaded model."""

import math
import re
from typing import Any

import pytest
import torch

from dycoke_cli.capacity.fit import TEXT, run_sizes
from dycoke_cli.capacity.footprint import Footprint, visual_values
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Stop
from dycoke_cli.errors import OutOfMemoryError
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.family import HD, Family, Outline
from dycoke_cli.models.sizes import stored_sizes
from dycoke_cli.session.ask import ask
from dycoke_cli.session.batch import BatchSession, Row
from dycoke_cli.session.load import load_model
from tests.conftest import clip_frames
from tests.models.families.test_whole_runs import CUBE, clip

SETTINGS = Settings(max_new_tokens=5)
CPU = torch.device("cpu")


@pytest.fixture
def outline(family: Family, folders: dict[str, str]) -> Outline:
    return checkpoints.outline(checkpoints.locate(folders[family.family]))


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_tokens_are_those_of_the_vision_tower(family: Family, outline: Outline, count: int) -> None:
    """Grid, prompt length, DeepStack levels and the number of feature values are equal."""
    frames = clip_frames()[:count].numpy()
    tokens = family.encode(frames)
    assert outline.grid(count, frames.shape[1:3]) == tokens.grid
    assert outline.video_length(tokens.grid) == family.video_length(tokens.grid)
    made = tokens.features.numel() + (0 if tokens.deepstack is None else tokens.deepstack.numel())
    assert visual_values(family.language_model.shape, outline.levels, tokens.grid.total) == made
    assert outline.levels == (2 if family.family == "qwen3_vl" else 0)


@pytest.mark.parametrize("size", [(90, 120), (64, 40)])
def test_patches_are_those_that_pass_the_vision_tower(family: Family, outline: Outline, size: tuple[int, int]) -> None:
    """Patches equal those at a feed-forward layer's input, without the class token of CLIP and InternVL per frame."""
    tower = next(
        module for name, module in family.model.named_modules() if name in ("model.visual", "model.vision_tower")
    )
    passed: list[int] = []
    mlp = next(module for module in tower.modules() if type(module).__name__.endswith("MLP"))
    with mlp.register_forward_pre_hook(lambda module, given: passed.append(math.prod(given[0].shape[:-1]))):
        grid = family.encode(clip_frames()[:5, : size[0], : size[1]].numpy()).grid
    counted = outline.patches_of(5, size) * grid.frames
    assert sum(passed) - counted == (grid.frames if family.family in ("internvl", "llava_next_video") else 0)


@pytest.mark.parametrize("name", ["full", "dycoke", "fastv"])
def test_a_footprint_is_what_a_row_takes(family: Family, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The footprint's bytes of keys and values, and of the prompt's embeddings and DeepStack features, are exact."""
    made: list[int] = []
    allocate = KVBuffer.__init__

    def noted(self: KVBuffer, *args: Any) -> None:
        allocate(self, *args)
        made.append(self.nbytes)

    method, row = make_method(name, {}), Row(clip(8), "colour?")
    grid = family.grid(8, (90, 120))
    session = BatchSession(family, method, SETTINGS)
    footprint = Footprint.of(family, method, grid, 8, row.question, Stop(frozenset(), 5))
    monkeypatch.setattr(KVBuffer, "__init__", noted)
    session.answers([row])
    assert sum(made) == footprint.kv
    video = row.video.clip
    tokens = method.compress(family.encode(video.frames.pixels))
    prompt = family.prompt_for(tokens, row.question, video.seconds, video.duration_s, method.positions)
    deeper = 0 if prompt.deepstack is None else prompt.deepstack.nbytes
    assert prompt.embeds.nbytes + deeper == footprint.prompt


def test_a_need_has_the_bytes_of_the_buffer(family: Family, outline: Outline, folders: dict[str, str]) -> None:
    """Counted weights, keys and values equal the allocated bytes; the work memory covers at least the tokens."""
    sizes, model = stored_sizes(checkpoints.locate(folders[family.family]).folder), family.language_model
    wanted = run_sizes("tiny", outline, sizes, [Full()], 12, (90, 120), SETTINGS, CPU, 4)
    need, tokens = wanted.need(), family.encode(clip_frames()[:12].numpy())
    slots = family.video_length(tokens.grid) + TEXT + 5
    assert need.kv == KVBuffer.empty(model, 1, slots).nbytes
    assert need.weights == family.weight_bytes
    assert need.work > 4 * visual_values(model.shape, outline.levels, len(tokens))
    fewer = wanted.need(frames=4).total
    assert fewer < need.total or family.family == "qwen3_vl"  # the budget of its pixels is one for all frames


def test_what_cannot_fit_is_refused_in_every_family(
    family: Family, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal comes before loading, with options that would fit and that the family supports."""
    free = [2**20]
    monkeypatch.setattr("dycoke_cli.system.free_memory.known_free_bytes", lambda device, every: free[0])
    monkeypatch.setattr(loading, "load", lambda *args, **kwargs: "loaded")
    checkpoint = checkpoints.locate(folders[family.family])
    with pytest.raises(OutOfMemoryError, match="in float32 with 60 frames") as caught:
        load_model(checkpoint, Settings(frames=60))
    needed = re.search(r"needs ([0-9.]+) MiB", caught.value.message)
    assert needed is not None
    free[0] = int((float(needed[1]) - 0.2) * 2**20)
    with pytest.raises(OutOfMemoryError) as caught:
        load_model(checkpoint, Settings(frames=60))
    fewer, way = Settings(frames=32), "--frames 32"
    if family.family == "qwen3_vl":  # the budget of its pixels is one for all frames
        fewer, way = Settings(frames=60, dtype="bfloat16"), "--dtype bfloat16"
    assert f"Would fit: {way}" in caught.value.remedy
    assert ("--quantize" in caught.value.remedy) == (family.family == "llava_onevision")
    assert load_model(checkpoint, fewer) == "loaded"


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_small_frames_need_less_where_their_size_matters(folders: dict[str, str], name: str) -> None:
    """The need depends on the frame size for Qwen-VL, and is larger for HD than for small frames."""
    checkpoint = checkpoints.locate(folders[name])
    outline, sizes = checkpoints.outline(checkpoint), stored_sizes(checkpoint.folder)
    small, large = (
        run_sizes(name, outline, sizes, (), 8, size, SETTINGS, CPU, 4).need().total for size in ((16, 16), HD)
    )
    assert small < large


def test_the_size_of_frames_reaches_the_check(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame size of an opened video is passed to the check before the model is loaded."""
    sizes: list[Any] = []

    def noted(checkpoint: Any, settings: Any, methods: Any, size: Any) -> Any:
        sizes.append(size)
        raise KeyboardInterrupt

    monkeypatch.setattr("dycoke_cli.session.pipeline.load_model", noted)
    monkeypatch.setattr("dycoke_cli.session.pipeline.REJECT_S", 60.0)  # a busy machine may need longer
    with pytest.raises(KeyboardInterrupt):
        ask(CUBE, ["what?"], Settings(model=folders["qwen3_vl"], frames=4))
    assert sizes == [(480, 854)]
