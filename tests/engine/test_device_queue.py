"""The host never waits for a CUDA device in a prefill or a decode step, without which a step could not be captured."""

from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decode import DecodeStep
from dycoke_cli.engine.decode_attention import DecodeAttention
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.kv_pruning import KVPruning
from dycoke_cli.engine.operators import Operators
from dycoke_cli.engine.prefill import prefill
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.tokens import Prompt
from tests.engine.test_generate import QUESTIONS, frames, prompt_for
from tests.session.test_device_queue import CUDA, WAITS, fake_tensors

ROOM, SLOTS = 32, 256
IN_PLACE = Operators(
    attend=lambda query, store, newest, table: torch.empty_like(query),
    attend_and_score=lambda query, store, newest: (torch.empty_like(query), query.new_empty(*store.shape[1:3])),
)


@pytest.fixture
def prompt(tiny: Llava) -> Prompt:
    return prompt_for(tiny, frames(9), QUESTIONS[0], Dycoke())


@pytest.fixture
def model(tiny: Llava, prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> Iterator[LanguageModel]:
    """The tiny model on a fake CUDA device; what asks the driver or makes other than fake tensors is replaced."""
    copied = deepcopy(tiny.model)
    monkeypatch.setattr("torch._subclasses.fake_tensor.CONSTANT_NUMEL_LIMIT", 0)  # single numbers too have no value
    monkeypatch.setattr("dycoke_cli.engine.attention.can_use_flash_attention", lambda given: True)
    monkeypatch.setattr("dycoke_cli.engine.attention.causal_lower_right", lambda new, read: None)
    monkeypatch.setattr("dycoke_cli.engine.decoder._current", lambda device: nullcontext())
    monkeypatch.setattr("dycoke_cli.engine.prefill.free_bytes", lambda device: 2**40)
    with torch.inference_mode(), fake_tensors():
        yield replace(tiny, model=copied.to_empty(device=CUDA)).language_model


def on_cuda(values: Any) -> Any:
    """Replace the tensors of an object by fake ones on the device."""
    for name, value in vars(values).items():
        if isinstance(value, Tensor):
            object.__setattr__(values, name, torch.empty(value.shape, dtype=value.dtype, device=CUDA))
    return values


@pytest.mark.parametrize("together", [4096, 40])
def test_a_prefill_never_waits(
    model: LanguageModel, prompt: Prompt, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows in one chunk, and each in several."""
    monkeypatch.setattr("dycoke_cli.engine.prefill.TOGETHER", {"cuda": together})
    monkeypatch.setattr("dycoke_cli.engine.prefill.LEAST", 1)
    buffer = KVBuffer.empty(model, 2, SLOTS)
    logits = prefill(Decoder(model, Operators()), buffer, [on_cuda(replace(prompt))] * 2)
    assert logits.device.type == "cuda"
    assert logits.shape[0] == 2


@pytest.mark.parametrize("operators", [Operators(), IN_PLACE], ids=["copies", "in place"])
@pytest.mark.parametrize("method", [Full(), Dycoke(), Dycoke(variant="official")], ids=repr)
def test_a_step_never_waits(tiny: Llava, prompt: Prompt, method: Method, operators: Operators, request: Any) -> None:
    """With copied keys and values, and with kernels that read them in place."""
    plan = KVPruning([prompt.visual] * 2, [len(prompt)] * 2, ROOM, SLOTS, SLOTS)
    selector = method.selector(plan.counts, plan.width)
    model = request.getfixturevalue("model")  # from here on all tensors are fake
    buffer = KVBuffer.empty(model, 2, SLOTS)
    attention = DecodeAttention(buffer, on_cuda(plan), selector and on_cuda(selector), SLOTS, operators)
    step = DecodeStep(Decoder(model, operators), [attention], torch.empty(2, dtype=torch.int64, device=CUDA))
    step.settle()
    outcome = step.run()
    assert outcome.logits.device.type == "cuda"
    assert (outcome.selection is None) == isinstance(method, Full)


def test_a_selector_that_waits_would_be_seen(model: LanguageModel) -> None:
    """As one that compares a score on the host."""
    scores = torch.empty(2, 7, device=CUDA)
    with pytest.raises(WAITS):
        bool(scores.max() > 0.5)
