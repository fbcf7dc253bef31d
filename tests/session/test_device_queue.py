"""The host never waits for a CUDA device between the first frames and the prompt, so that the device never idles.

Fake tensors have a device, a shape and no values. An operation whose result or shape depends on values, for which the
host would have to wait, raises an error; copies between devices are recorded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.layout import Newline, VideoLayout
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.video import encode_compressed

CUDA = torch.device("cuda")
WAITS = (DataDependentOutputException, DynamicOutputShapeException)


class BlockingCopies(TorchDispatchMode):
    """Raise RuntimeError for a copy between devices that waits."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        devices = {leaf.device for leaf in tree_leaves((args, result)) if isinstance(leaf, torch.Tensor)}
        copies = func.overloadpacket in (torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten.copy_)
        if copies and len(devices) > 1 and True not in (kwargs.get("non_blocking"), *args[2:]):
            raise RuntimeError(f"blocking copy: {func}")
        return result


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Make all new tensors fake, on any device; fail where the host would wait for one."""
    with FakeTensorMode(allow_non_fake_inputs=True), BlockingCopies():
        yield


@pytest.fixture
def model(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> Iterator[Llava]:
    """The tiny model on a fake CUDA device, with pixels that are there already, as an upload needs a driver."""
    copied, side = deepcopy(tiny.model), tiny.model.config.vision_config.image_size
    monkeypatch.setattr(Llava, "pixels", lambda self, frames: torch.empty(len(frames), 3, side, side, device=CUDA))
    monkeypatch.setattr("dycoke_cli.models.families.family.free_bytes", lambda device: 2**40)
    with fake_tensors():
        yield replace(tiny, model=copied.to_empty(device=CUDA))


@pytest.mark.parametrize(
    ("method", "layout"),
    [
        *((Full(), VideoLayout(newline)) for newline in ("one_token", "no_token", "frame", "grid")),
        *((Dycoke(), VideoLayout(newline)) for newline in ("one_token", "no_token")),
        (Dycoke(positions="original"), VideoLayout()),
        (Dycoke(), VideoLayout("grid", row_newlines="all")),
        (Dycoke(), VideoLayout(pooling="average")),
    ],
    ids=repr,
)
def test_from_pixels_to_the_prompt(model: Llava, method: Method, layout: VideoLayout) -> None:
    """Tower, pooling, first stage and prompt of 42 frames in three parts, the last of them with half a window."""
    model = replace(model, layout=layout)
    tokens = encode_compressed(model, np.zeros((42, 8, 8, 3), np.uint8), method)
    prompt = model.prompt_for(tokens, "What happens?", [], 0.0, method.options().get("positions", "packed"))
    assert prompt.embeds.device.type == "cuda"
    assert len(prompt.visual) == len(tokens)
    per_frame = tokens.grid.per_frame
    merged = int(0.7 * per_frame + 0.5) * 31 if isinstance(method, Dycoke) else 0  # 31 of 42 are not first in a window
    assert len(tokens) == 42 * per_frame - merged


@pytest.mark.parametrize("newline", ["grid", "frame"])
def test_newlines_that_depend_on_the_tokens_wait(model: Llava, newline: Newline) -> None:
    """Which rows of a compressed video are complete, and which frames have tokens, is known to the device alone."""
    tokens = encode_compressed(model, np.zeros((16, 8, 8, 3), np.uint8), Dycoke())
    with pytest.raises(DynamicOutputShapeException, match="nonzero"):
        replace(model, layout=VideoLayout(newline)).prompt_for(tokens, "What happens?", [], 0.0, "packed")


@pytest.mark.parametrize(
    "wait",
    [
        torch.nonzero,
        torch.unique,
        torch.bincount,
        lambda values: values.sum().item(),
        lambda values: bool((values > 0).any()),
        lambda values: values[values > 0],
        lambda values: values.masked_select(values > 0),
        lambda values: values.repeat_interleave(values),
    ],
)
def test_waiting_would_be_seen(wait: Callable[[torch.Tensor], Any]) -> None:
    """These operations read the device's memory, and raise an error."""
    with fake_tensors(), pytest.raises(WAITS):
        wait(torch.ones(4, dtype=torch.int64, device=CUDA))


@pytest.mark.parametrize(
    "wait", [lambda here, there: here.to(CUDA), lambda here, there: there.cpu(), lambda here, there: there.copy_(here)]
)
def test_blocking_copies_would_be_seen(wait: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
    """A copy to or from the device raises an error unless it is asked not to block."""
    with fake_tensors():
        here, there = torch.ones(4), torch.ones(4, device=CUDA)
        assert here.to(CUDA, non_blocking=True).device.type == "cuda"
        there.copy_(here, non_blocking=True)
        with pytest.raises(RuntimeError, match="blocking copy"):
            wait(here, there)
