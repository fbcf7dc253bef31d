"""Hundreds of damaged files return frames or a VideoError; a thousand reads leak neither files nor memory."""

import sys

import pytest

from benchmarks.fuzz_video import clips, fuzz, read, usage
from dycoke_cli.video.reader import VideoReader

GROWTH = 32 << 20  # bytes, over hundreds of reads; the first ones fill caches


def test_three_hundred_damaged_files_end_as_frames_or_a_sentence(tmp_path):
    tally = fuzz(seed=2026, count=300, folder=tmp_path)
    assert tally.failures == []
    assert sum(tally.outcomes.values()) == 300
    assert len(tally.processes) <= 3  # a decoder may crash, but rarely
    assert {"frames", "frames of a file known to be damaged", "error: no_frames"} <= set(tally.outcomes)


@pytest.mark.skipif(sys.platform != "linux", reason="counts what /proc lists")
def test_a_thousand_reads_leave_files_and_memory_as_they_were(tmp_path):
    clips(tmp_path)
    names = ["closed.mp4", "disc.mpg", *["moving.gif"] * 3, *["still.png"] * 4, "broken.mp4"]
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "closed.mp4").read_bytes()[:-900])
    with VideoReader() as reader:
        for place in range(1000):
            name = names[place % len(names)]
            outcome = read(reader, tmp_path / name)
            assert outcome == ("error: no_video" if name == "broken.mp4" else "frames")
            if place == 200:
                before = usage(reader.child_pid)
        after = usage(reader.child_pid)
    for key, amount in after.items():
        assert amount - before[key] <= (GROWTH if key.endswith("bytes") else 0), key
