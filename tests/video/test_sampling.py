"""The choice of frames from their times, and the parsing of times."""

import numpy as np
import pytest

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video.sampling import Sampling, parse_time

CFR = np.arange(300) / 30  # 10 s of 30 frames a second
GAP = np.concatenate([np.arange(60) / 30, 22 + np.arange(60) / 30])  # 2 s, a pause of 20 s, 2 s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("1:30", 90),
        ("01:05", 65),
        ("0:01:30.5", 90.5),
        ("2:00:00", 7200),
        (".5", 0.5),
        (" 7. ", 7),
    ],
)
def test_times_are_seconds_or_clock_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "-1", "1:-2", "abc", "1:60", "1:60:00", "1e3", "nan", "inf", "1::2", ":30", "1:2:3:4"]
)
def test_what_is_no_time_is_refused_with_a_remedy(text):
    with pytest.raises(UsageError) as caught:
        parse_time(text)
    assert repr(text) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("count", [1, 2, 7, 32, 64, 299, 300])
def test_even_steps_give_the_indices_of_llava(count):
    chosen = Sampling(frames=count).choose(CFR, 10.0)
    assert chosen.tolist() == np.linspace(0, 299, count, dtype=int).tolist()


def test_steps_rounded_to_milliseconds_are_even():
    rounded = np.round(CFR, 3)
    assert np.ptp(np.diff(rounded)) > 5e-4
    assert Sampling(frames=32).choose(rounded, 10.0).tolist() == np.linspace(0, 299, 32, dtype=int).tolist()


@pytest.mark.parametrize("times", [CFR, GAP, GAP[:1], GAP[58:61]])
@pytest.mark.parametrize("count", [1, 2, 3, 16, 64, 119, 120, 1000])
def test_each_frame_at_most_once_and_as_many_as_there_are(times, count):
    chosen = Sampling(frames=count).choose(times, times[-1] + 0.1)
    assert len(chosen) == min(count, len(times))
    assert np.all(np.diff(chosen) > 0)
    assert chosen[0] == 0
    assert chosen[-1] < len(times)


def test_a_pause_is_shown_by_the_frame_before_it():
    chosen = Sampling(frames=4).choose(GAP, 24.0)  # moments 0, 7.99, 15.98 and 23.97 s
    assert {0, 59, 119} <= set(chosen.tolist())
    assert len(chosen) == 4


def test_uneven_steps_are_sampled_in_time_not_by_index():
    times = np.concatenate([np.arange(100) / 100, 1 + np.arange(10)])  # 100 frames in 1 s, then 10 in 10 s
    chosen = Sampling(frames=11).choose(times, 11.0)
    assert np.abs(times[chosen] - np.linspace(0, 10, 11)).max() < 1.0
    assert np.count_nonzero(chosen < 100) <= 2


def test_one_frame_a_second():
    assert Sampling(fps=1).choose(CFR, 10.0).tolist() == list(range(0, 300, 30))


def test_a_rate_is_kept_on_times_that_are_not_even():
    chosen = Sampling(fps=1).choose(GAP, 24.0)
    # Frame 59 is on display throughout the pause, and is taken once.
    assert chosen.tolist() == [0, 30, 59, 60, 90]


@pytest.mark.parametrize("fps", [30, 60, 1000, 1e9])
def test_a_rate_above_that_of_the_file_takes_each_frame_once(fps):
    assert Sampling(fps=fps).choose(np.round(CFR, 3), 10.0).tolist() == list(range(300))


def test_a_rate_below_one_frame_takes_the_first():
    assert Sampling(fps=0.01).choose(CFR, 10.0).tolist() == [0]


def test_more_than_max_frames_are_spread_evenly():
    assert Sampling(fps=10, max_frames=64).choose(CFR, 10.0).tolist() == np.linspace(0, 299, 64, dtype=int).tolist()
    assert Sampling(fps=1, max_frames=64).choose(CFR, 10.0).tolist() == list(range(0, 300, 30))
    assert Sampling(max_frames=5).choose(CFR, 10.0).tolist() == np.linspace(0, 299, 5, dtype=int).tolist()


def test_without_a_number_all_frames_are_taken():
    assert Sampling().choose(CFR, 10.0).tolist() == list(range(300))


def test_a_window_is_sampled_like_a_video_of_its_own():
    chosen = Sampling(frames=8, start_s=2, end_s=4).choose(CFR, 10.0)
    assert chosen.tolist() == np.linspace(60, 119, 8, dtype=int).tolist()
    assert Sampling(fps=2, start_s=2.5, end_s=4).choose(CFR, 10.0).tolist() == [75, 90, 105]
    assert Sampling(frames=2, start_s=9).choose(CFR, 10.0).tolist() == [270, 299]
    assert Sampling(frames=2, end_s=1000).choose(CFR, 10.0).tolist() == [0, 299]


@pytest.mark.parametrize("sampling", [Sampling(frames=5, start_s=5, end_s=15), Sampling(fps=1, start_s=5, end_s=15)])
def test_a_window_between_two_frames_shows_the_one_before(sampling):
    assert sampling.choose(GAP, 24.0).tolist() == [59]


def test_the_end_of_the_last_frame_belongs_to_the_video():
    assert Sampling(frames=3, start_s=9.99).choose(CFR, 10.0).tolist() == [299]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (10, None, "10 s to the end"),
        (12.5, 20, "12.5 s to 20 s"),
        (4, 4, "4 s to 4 s"),
        (5, 2, "5 s to 2 s"),
        (0, 0, "0 s"),
    ],
)
def test_a_window_that_shows_nothing_is_an_error_with_the_values(start, end, message):
    with pytest.raises(VideoError) as caught:
        Sampling(frames=8, start_s=start, end_s=end).choose(CFR, 10.0)
    assert caught.value.reason == "window"
    assert message in caught.value.message
    assert "10.00 s" in caught.value.message


def test_by_index_frames_are_even_in_count_as_llava_takes_them():
    """numpy's linspace over the count, or every round(rate / fps)-th frame, independent of times."""
    times = np.concatenate([np.arange(60) / 30, 22 + np.arange(60) / 30])
    spread = Sampling(frames=8, sample="index").choose(times, 24.0)
    assert spread.tolist() == np.linspace(0, 119, 8, dtype=int).tolist()
    stepped = Sampling(fps=1, sample="index").choose(CFR, 10.0)
    assert stepped.tolist() == list(range(0, 300, 30))
    assert Sampling(fps=100, sample="index").choose(CFR, 10.0).tolist() == list(range(300))
    capped = Sampling(fps=10, max_frames=5, sample="index").choose(times, 24.0)
    assert capped.tolist() == np.linspace(0, 119, 5, dtype=int).tolist()
    assert Sampling(fps=1, sample="index").choose(np.zeros(1), 0.1).tolist() == [0]


def test_frames_are_named_by_place_or_by_moment():
    assert Sampling(places=(7, 3, 3, 299)).choose(CFR, 10.0).tolist() == [3, 7, 299]
    assert Sampling(moments_s=(0.0, 1.0, 1.01, 9.999)).choose(CFR, 10.0).tolist() == [0, 30, 299]
    for beyond in (Sampling(places=(300,)), Sampling(moments_s=(10.1,)), Sampling(places=())):
        with pytest.raises(VideoError, match=r"the video has 300 in 10\.00 s") as caught:
            beyond.choose(CFR, 10.0)
        assert caught.value.reason == "window"


@pytest.mark.parametrize(
    "values",
    [
        {"frames": 0},
        {"sample": "often"},
        {"places": (3, -1)},
        {"moments_s": (float("nan"),)},
        {"places": (1,), "moments_s": (1.0,)},
        {"frames": -3},
        {"max_frames": 0},
        {"fps": 0.0},
        {"fps": -1.0},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"start_s": -1.0},
        {"end_s": float("nan")},
        {"frames": 8, "fps": 1.0},
    ],
)
def test_impossible_values_are_refused_with_a_remedy(values):
    with pytest.raises(UsageError) as caught:
        Sampling(**values)
    assert caught.value.remedy
