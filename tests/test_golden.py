"""Runs equal recorded runs of the official DyCoke code (tests/golden/README.md), in float32 on a CPU and on CUDA."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dycoke_cli.engine.generate import Step, Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.dycoke_official import OfficialSelector, merge_windows
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.tokens import Prompt, VisualTokens
from tests.conftest import GOLDEN, clip_frames, golden_cases, golden_model, golden_tensor

IMAGE = -200  # token id of the video in the recorded prompts
DYCOKE_FILES = ("C_dycoke_f08", "C_dycoke_f09", "C_dycoke_f10", "C_dycoke_f16", "C_dycoke_more")
FRAGILE = {(case["case"], case["step"]) for case in json.loads((GOLDEN / "cases" / "fragile_steps.json").read_text())}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, without_tf32: None) -> torch.device:
    """The device of a case."""
    return torch.device(request.param)


def load(name: str, device: torch.device, **layout: str) -> Llava:
    """The golden checkpoint on a device, in float32; all cases share it."""
    return golden_model(name, **layout) if device.type == "cpu" else load_on_cuda(name, **layout)


@cache
def load_on_cuda(name: str, **layout: str) -> Llava:
    checkpoint = checkpoints.locate(str(GOLDEN / "checkpoints" / name))
    return loading.load(checkpoint, torch.device("cuda"), torch.float32, **layout)


def names(*stems: str) -> list[tuple[str, str]]:
    return [(stem, name) for stem in stems for name in golden_cases(stem)]


def official_pixels(model: Llava, frames: int) -> torch.Tensor:
    """Preprocess the clip as the official processor does: PIL bicubic, which ours matches to 2 of 255 levels."""
    side = model.model.config.vision_config.image_size
    images = [Image.fromarray(frame).resize((side, side), Image.BICUBIC) for frame in clip_frames()[:frames].numpy()]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def encode(model: Llava, frames: int) -> VisualTokens:
    return VisualTokens.uncompressed(model.features(official_pixels(model, frames).to(model.language_model.device)))


def build_prompt(model: Llava, tokens: VisualTokens, ids: list[int]) -> Prompt:
    at = ids.index(IMAGE)
    return model.prompt(tokens, ids[at + 1 :], "packed", before=ids[:at])


@torch.inference_mode()
def run(model: Llava, prompt: Prompt, method: Method, case: dict[str, Any], penalty: float = 1.0) -> list[Step]:
    stop = Stop(model.stop_ids, case["max_new_tokens"])
    return list(generate(model.language_model, [prompt], method, stop, Sampling(repetition_penalty=penalty)))


def assert_logits(steps: list[Step], wanted: torch.Tensor) -> None:
    got = torch.cat([step.logits for step in steps])[:, : wanted.shape[1]].cpu()
    torch.testing.assert_close(got, wanted[: len(got)], atol=1e-3, rtol=0)


def test_preprocessing_is_recorded_pixels() -> None:
    """`official_pixels` equals the recorded pixels of the official processor, and ours are close."""
    from safetensors.torch import load_file

    for name, side in (("tiny-ov", 76), ("tiny-ov-tied", 62)):
        wanted = load_file(GOLDEN / "clips" / f"clip_a_pixels_{side}.safetensors")["pixel_values"]
        model = golden_model(name)
        torch.testing.assert_close(official_pixels(model, len(wanted)), wanted)
        ours = model.pixels(clip_frames()[: len(wanted)].numpy())
        assert (ours - wanted).abs().max() <= 2.01 / 127.5
        assert (ours - wanted).abs().mean() < 0.05 / 127.5


@pytest.mark.parametrize(("stem", "name"), names("A_baseline_one_token"))
@pytest.mark.smoke
def test_baseline(stem: str, name: str, device: torch.device) -> None:
    """Without compression, input embeddings, logits at every step and tokens are as recorded."""
    case = golden_cases(stem)[name]
    model = load(case["checkpoint"], device)
    prompt = build_prompt(model, encode(model, case["num_frames"]), case["prompt_ids"])
    torch.testing.assert_close(prompt.embeds.cpu(), golden_tensor(stem, f"{name}/inputs_embeds"), atol=1e-4, rtol=0)
    steps = run(model, prompt, Full(), case, penalty=1.05 if "penalty" in name else 1.0)
    assert_logits(steps, golden_tensor(stem, f"{name}/logits"))
    assert [step.tokens[0] for step in steps] == case["tokens"]


@pytest.mark.parametrize(("stem", "name"), names("B_newline_positions"))
def test_newlines_and_pooling(stem: str, name: str, device: torch.device) -> None:
    """The same for every newline position and pooling mode, on a sharded LLaVA-Video checkpoint."""
    case = golden_cases(stem)[name]
    layout = case["overwrite_config"]
    model = load(
        case["checkpoint"], device, newline=layout["mm_newline_position"], pooling=layout["mm_spatial_pool_mode"]
    )
    prompt = build_prompt(model, encode(model, case["num_frames"]), case["prompt_ids"])
    torch.testing.assert_close(prompt.embeds.cpu(), golden_tensor(stem, f"{name}/inputs_embeds"), atol=1e-4, rtol=0)
    steps = run(model, prompt, Full(), case)
    assert_logits(steps, golden_tensor(stem, f"{name}/logits"))
    assert [step.tokens[0] for step in steps] == case["tokens"]


@pytest.mark.parametrize(("stem", "name"), names("C0_ttm_source_indices", "D_ttm_unit"))
def test_official_merging(stem: str, name: str, device: torch.device) -> None:
    """`variant=official` keeps the tokens of the official code, in its order, and raises where it crashes."""
    case = golden_cases(stem)[name]
    frames, per_frame = case["num_frames"], case["num_tokens_per_frame"]
    group, _ = name.split("/")
    source = "ov/pooled_features" if stem.startswith("C0") else f"{group}/features"
    features = golden_tensor(stem, source)[: frames * per_frame].unflatten(0, (frames, per_frame)).to(device)
    if case["error"] is not None:
        with pytest.raises(UsageError, match=f"crashes on {frames} frames"):
            merge_windows(features, case["dycoke_k"])
        return
    kept = merge_windows(features, case["dycoke_k"])
    assert kept.tolist() == golden_tensor(stem, f"{name}/src_index").tolist()


@pytest.mark.parametrize(("stem", "name"), names(*DYCOKE_FILES))
def test_official_run(stem: str, name: str, device: torch.device) -> None:
    """`variant=official` has the recorded gate, kept indices, attention, logits and token at every step."""
    case = golden_cases(stem)[name]
    model = load(case["checkpoint"], device)
    method = Dycoke(k=case["dycoke_k"], p=case["dycoke_p"], l=case["dycoke_l"], variant="official")
    tokens = method.compress(encode(model, case["num_frames"]))
    assert len(tokens) == case["num_visual_tokens_after_ttm"]
    prompt = build_prompt(model, tokens, case["prompt_ids"])
    assert len(prompt) == case["seq_len"]
    # The official code prunes a range of the prompt from a configured index, which may be outside the video.
    start = case["image_token_start_index"]
    visual = torch.arange(start, start + len(tokens), device=device)
    prompt = Prompt(prompt.embeds, prompt.positions, visual, prompt.next_position)
    steps = run(model, prompt, method, case)
    logits = golden_tensor(stem, f"{name}/logits")
    attention = golden_tensor(stem, f"{name}/image_attention")
    for step, wanted in zip(steps[1:], case["steps"], strict=False):
        if (name, wanted["step"]) in FRAGILE:
            return
        assert step.selection is not None
        assert step.scores is not None
        assert bool(step.selection.changed[0]) == wanted["pruned"], step.number
        row = attention[wanted["step"]]
        torch.testing.assert_close(step.scores[0, : len(row)].cpu(), row, atol=1e-5, rtol=1e-3)
        assert step.selection.valid is not None
        read = step.selection.index[0][step.selection.valid[0]] + start
        pruned = sorted(slot for slot in read.tolist() if slot < start + case["image_token_length"])
        everything = list(range(start, start + case["image_token_length"]))
        assert pruned == (wanted["kept_visual"] if wanted["pruned"] else everything), step.number
        torch.testing.assert_close(step.logits[0, : logits.shape[1]].cpu(), logits[step.number], atol=1e-3, rtol=0)
    assert [step.tokens[0] for step in steps] == logits.argmax(dim=-1).tolist()[: len(steps)]
    assert len(steps) == len(logits)


@pytest.mark.parametrize("name", golden_cases("D_prune_unit"))
def test_official_selection(name: str, device: torch.device) -> None:
    """Gate and selection are as recorded, on attention that crosses the gate in both directions."""
    case = golden_cases("D_prune_unit")[name]
    start, length = case["image_token_start_index"], case["image_token_length"]
    # One more token than the official slice, as the selector exempts the last one.
    selector = OfficialSelector(torch.tensor([length + 1], device=device), case["dycoke_p"], layer=3)
    for step, wanted in enumerate(case["kept_visual"]):
        attention = golden_tensor("D_prune_unit", f"{name}/attn_step{step}").float().mean(dim=0).to(device)
        selection = selector.select(attention[None, start : start + length + 1])
        assert bool(selection.changed[0]) == (wanted is not None), step
        assert selection.valid is not None
        kept = sorted((selection.index[0][selection.valid[0]] + start).tolist())
        assert kept == [*(wanted or range(start, start + length)), start + length]
