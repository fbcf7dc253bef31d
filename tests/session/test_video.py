"""A video whose frames are replaced while it is encoded."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dycoke_cli.config.settings import Settings
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.sampling import Sampling
from tests.conftest import clip_frames
from tests.session.test_session import clip

SETTINGS = Settings(retain=0.55, max_new_tokens=2)


def frames(count: int, *warnings: str) -> Frames:
    found = clip(count).clip.frames
    return replace(found, info=replace(found.info, warnings=warnings))


@pytest.mark.parametrize("lookup", [None, SimpleNamespace(entry=None)], ids=["no cache", "to be cached"])
def test_a_replacement_with_other_frames_is_compressed_by_its_own_budget(tiny: Llava, lookup: Any) -> None:
    """With 10 instead of 8 frames, k, tokens and answer are those of a video that had 10 frames from the start."""
    pending = PendingFrames("clip", {})
    pending.announce(frames(8))
    pending.advance(4)  # the first chunk of the vision tower
    video = Video(lambda: pending, Sampling(frames=8), lookup=lookup)
    session = Session(tiny, video, Dycoke(), SETTINGS)
    first_k = session.method.options()["k"]
    notices: list[str] = []

    def replace_frames(what: str, done: int, total: int) -> None:
        if pending.attempt == 1 and done == 4:
            pending.announce(frames(10, "another decoder"))
            pending.complete(frames(10, "another decoder"))

    callbacks = Callbacks(progress=replace_frames, notice=notices.append)
    (ours,) = session.answers(["What happens?"], callbacks, trace=True)
    (wanted,) = Session(tiny, Video.of(frames(10)), Dycoke(), SETTINGS).answers(["What happens?"], Callbacks(), True)
    assert pending.attempt == 2
    assert session.method.options()["k"] != first_k
    assert (ours.answer, ours.tokens, ours.steps, ours.trace) == (
        wanted.answer,
        wanted.tokens,
        wanted.steps,
        wanted.trace,
    )
    assert notices == ["another decoder"]


def test_announced_frames_are_encoded_once(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that nobody replaces pass the vision tower once, even if they are announced only when they are needed."""
    pending, passes = PendingFrames("clip", {}), list[int]()
    encode = Llava.encode_chunk

    def counted(self: Llava, part: Any, *arguments: Any) -> Any:
        passes.append(len(part))
        return encode(self, part, *arguments)

    monkeypatch.setattr(Llava, "encode_chunk", counted)
    wait = PendingFrames.announced

    def announced(self: PendingFrames) -> Frames:
        if not self.total:
            self.announce(frames(4))
            self.complete(frames(4))
        return wait(self)

    monkeypatch.setattr(PendingFrames, "announced", announced)
    video = Video(lambda: pending, Sampling(frames=4))
    tokens = video.encode(tiny, None, False, pytest.fail)
    assert passes == [4]
    assert torch.equal(tokens.features, tiny.encode(np.asarray(clip_frames()[:4])).features)
