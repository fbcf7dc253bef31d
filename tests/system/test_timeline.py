"""Begin and end of the parts of a run, the start-up time, and discarded parts."""

import time

from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.timeline import Timeline


def test_a_part_ends_where_the_next_begins() -> None:
    """Naming the current part again has no effect; an empty name begins none."""
    spans = Timeline()
    for name in ("vision", "vision", "prefill", "", "decode", ""):
        spans.phase(name)
    vision, prefill, decode = spans.spans(0.0, 0.0)
    assert [span.name for span in (vision, prefill, decode)] == ["vision", "prefill", "decode"]
    assert 0 <= vision.begin_s <= vision.end_s == prefill.begin_s <= prefill.end_s <= decode.begin_s <= decode.end_s


def test_waiting_for_frames_is_not_busy_time() -> None:
    """Spans are ordered by begin; waiting reduces the busy time of vision only, never below zero."""
    spans = Timeline()
    spans.add("vision", spans.began + 1, spans.began + 4)
    spans.add("decode_video", spans.began, spans.began + 3)
    decode, vision = spans.spans(2.5, 0.0)
    assert (round(decode.busy_s, 6), round(vision.busy_s, 6)) == (3, 0.5)
    assert spans.spans(9.0, 0.0)[1].busy_s == 0


def test_the_start_ends_with_the_first_frames() -> None:
    """Neither another step, nor progress of 0 frames, nor later frames set the start-up time."""
    forwarded: list[int] = []
    spans = Timeline()
    callbacks = spans.recording(Callbacks(progress=lambda what, done, total: forwarded.append(done)))
    callbacks.progress("Loading", 1, 1)
    callbacks.phase("vision")
    callbacks.progress("Looking", 0, 8)
    assert spans.startup is None
    callbacks.progress("Looking", 4, 8)
    first = spans.startup
    assert first is not None
    time.sleep(0.002)
    callbacks.progress("Looking", 8, 8)
    assert spans.startup is first
    assert forwarded == [1, 0, 4, 8]
    callbacks.phase("")
    spans.spans(0.0, 1.5)
    assert (spans.startup.wall_s, spans.startup.decoder_cpu_s) == (first.wall_s, 1.5)
