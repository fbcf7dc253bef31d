"""A model on several devices: the keys and values of each layer are stored on its device."""

from unittest.mock import PropertyMock, patch

import pytest
import torch

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.operators import write_tokens
from dycoke_cli.methods.options import make_method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.language_model import LanguageModel
from tests.conftest import clip_frames
from tests.engine.test_generate import QUESTIONS, answer, prompt_for, run

CPU, OTHER, META = torch.device("cpu"), torch.device("cpu", 1), torch.device("meta")


def test_each_layer_has_its_part_on_its_own_device() -> None:
    """One tensor for consecutive layers on a device; reads return what was written; forks keep the devices."""
    buffer = KVBuffer(range(2, 6), 2, 7, 3, 4, torch.float32, [CPU, META, META, CPU])
    assert [(len(store), store.device) for store in buffer.stores] == [(1, CPU), (2, META), (1, CPU)]
    assert buffer.nbytes == 4 * 2 * 2 * 7 * 3 * 4 * 4
    assert buffer.bytes_per_token == 4 * 2 * 3 * 4 * 4
    for layer, device in zip(range(2, 6), (CPU, META, META, CPU), strict=True):
        key = torch.randn(2, 5, 3, 4, device=device)
        store, place = buffer.place(layer)
        write_tokens(store, place, key, key + 1, torch.tensor([0, 7], device=device))
        places = torch.tensor([[0, 4], [7 + 1, 7 + 2]])
        for read in (buffer.read(layer, 5), buffer.gather(layer, places)):
            assert {tensor.device for tensor in read} == {device}
        if device == CPU:
            assert torch.equal(buffer.read(layer, 5)[0], key.transpose(1, 2))
            assert torch.equal(buffer.gather(layer, places)[1][1], key[1, [1, 2]].transpose(0, 1) + 1)
    with pytest.raises(IndexError):
        buffer.read(6, 1)
    single = KVBuffer(range(2), 1, 3, 1, 2, torch.float32, [CPU, META])
    assert [store.device for store in single.fork(4, 9).stores] == [CPU, META]


@pytest.mark.parametrize("name", ["full", "dycoke", "fastv"])
def test_a_spread_model_answers_as_before(tiny: Llava, name: str) -> None:
    """Answers and logits are equal for a model split between layers before and after the first pruned one."""
    method = make_method(name, {})
    prompts = [prompt_for(tiny, clip_frames()[:count].numpy(), QUESTIONS[0], method) for count in (6, 9)]
    whole = run(tiny, prompts, method)
    places = (*[CPU] * 2, *[OTHER] * 3, *[CPU] * 3)
    with patch.object(LanguageModel, "layer_devices", PropertyMock(return_value=places)):
        spread = run(tiny, prompts, method)
    assert [answer(spread, row) for row in (0, 1)] == [answer(whole, row) for row in (0, 1)]
    for one, other in zip(whole, spread, strict=True):
        assert torch.equal(one.logits, other.logits)
