"""`dycoke caption` with the demo model on small clips: output, resuming, errors, dry run, shards."""

import io
import json
import os
import wave
from pathlib import Path
from typing import Any

import pytest

from dycoke_cli.cli.app import run
from dycoke_cli.video import worker_process as child_module
from tests.video.clips import worker_after
from tests.video.made import write

QUICK = ["-m", "demo", "-n", "2", "--max-new-tokens", "8"]
# A decoder that hangs on one file, as decord does on some.
HANG = """
import time
from dycoke_cli.video.decode_job import DecodeJob
def run(self, whole=DecodeJob.run):
    return time.sleep(60) if "hangs" in self.request["path"] else whole(self)
DecodeJob.run = run
"""


@pytest.fixture(autouse=True)
def quiet_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Isolate from the user's settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


def caption(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    code = run(["caption", str(folder), *QUICK, *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def lines(path: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == len(records)
    return by_id


def write_sound(path: Path) -> None:
    """Write an audio file, with any extension."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))


def test_every_kind_of_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file has one line, with a caption or a reason; a bad file does not stop the run."""
    monkeypatch.setattr(child_module, "worker_command", worker_after(HANG))
    good = ["a cube.mp4", "new\nline.mp4", "видео.mp4", os.fsdecode(b"caf\xe9.mp4")]
    for number, name in enumerate(good):
        write(tmp_path / "made.mp4", count=4 + number, size=(64, 48))
        os.rename(tmp_path / "made.mp4", tmp_path / name)
    write(tmp_path / "hangs.mp4", count=4, size=(64, 48))
    (tmp_path / "link.mp4").symlink_to("a cube.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "corrupt.mp4").write_bytes((tmp_path / "a cube.mp4").read_bytes()[:200] + b"\0" * 99)
    write_sound(tmp_path / "sound.avi")
    with open(tmp_path / "huge.mp4", "wb") as file:
        file.truncate(64 << 30)
    code, out, err = caption(capsys, tmp_path, "--sidecar", "--prepend", "a video: ", "--video-timeout", "20", "--json")
    assert code == 6, err
    assert "6 of 10 videos have no caption" in err
    assert "1 video found twice" in err
    found = lines(tmp_path / "captions.jsonl")
    assert {name: record["reason"] for name, record in found.items() if record["error"]} == {
        "hangs.mp4": "timeout",
        "gone.mp4": "missing",
        "empty.mp4": "empty",
        "corrupt.mp4": "not_a_video",
        "sound.avi": "no_video",
        "huge.mp4": "not_a_video",
    }
    for name in good:
        record = found[name]
        assert record["schema"] == 1
        assert record["path"] == str(tmp_path / name)
        assert record["caption"] == record["answers"][0]["answer"] != ""
        assert record["seconds"] > 0
        assert (tmp_path / name).with_suffix(".txt").read_text() == f"a video: {record['caption']}\n"
    assert len(list(tmp_path.glob("*.txt"))) == len(good)
    summary = json.loads(out)
    assert (summary["schema"], summary["videos"], summary["captioned"], summary["failed"]) == (1, 10, 4, 6)
    assert 0 < summary["retained"] < 1
    assert {reason["reason"]: reason["videos"] for reason in summary["failures"]}["not_a_video"] == 2
    again, out, err = caption(capsys, tmp_path, "--sidecar", "--prepend", "a video: ")
    assert again == 6
    assert lines(tmp_path / "captions.jsonl") == found
    assert "10 of 10 videos are kept" in err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good clips and an empty one."""
    made = tmp_path_factory.mktemp("folder")
    for number in range(3):
        write(made / f"{number}.mp4", count=4 + number, size=(64, 48))
    (made / "empty.mp4").touch()
    return made


def test_only_missing_and_outdated_captions_are_computed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """A changed prompt or file outdates a caption; --limit splits the work; --overwrite repeats all."""
    output = folder / "captions.jsonl"

    def seconds(*arguments: str, code: int = 6) -> set[str]:
        """Return the ids whose lines are new or changed."""
        before = lines(output) if output.exists() else {}
        given, _, err = caption(capsys, folder, *arguments)
        assert given == code, err
        return {name for name, record in lines(output).items() if record != before.get(name)}

    assert seconds("--limit", "2", code=0) == {"0.mp4", "1.mp4"}
    assert seconds() == {"2.mp4", "empty.mp4"}
    assert seconds() == set()
    assert seconds("--prompt", "what colour is it?") == {"0.mp4", "1.mp4", "2.mp4", "empty.mp4"}
    assert lines(output)["0.mp4"]["answers"][0]["question"] == "what colour is it?"
    write(folder / "empty.mp4", count=4, size=(64, 48))
    assert seconds("--prompt", "what colour is it?", code=0) == {"empty.mp4"}
    (folder / "empty.mp4").write_bytes(b"")
    assert seconds("--prompt", "what colour is it?") == {"empty.mp4"}
    assert seconds("--prompt", "what colour is it?", "--overwrite") >= {"0.mp4", "1.mp4", "2.mp4"}
    code, _, err = caption(capsys, folder, "--fail-fast", "--overwrite", "--ext", "mp4", "--batch-size", "1")
    assert code == 6
    assert "have no caption" in err


def test_captions_are_those_of_single_runs(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    """A batch gives each video the answers of `ask`, for one prompt and for several questions."""
    (tmp_path / "q.txt").write_text("what colour is it?\n\ndescribe the video.\nwhat colour is it?\n")
    questions = ["what colour is it?", "describe the video."]
    assert caption(capsys, folder, "--output", str(tmp_path / "one.jsonl"), "--batch-size", "3")[0] == 6
    more = ("--output", str(tmp_path / "two.jsonl"), "--questions", str(tmp_path / "q.txt"))
    assert caption(capsys, folder, *more)[0] == 6
    one, two = lines(tmp_path / "one.jsonl"), lines(tmp_path / "two.jsonl")
    for name in ("0.mp4", "1.mp4", "2.mp4"):
        assert run(["ask", str(folder / name), *questions, *QUICK, "--json", "-q"]) == 0
        answers = [answer["answer"] for answer in json.loads(capsys.readouterr().out)["answers"]]
        assert [reply["answer"] for reply in two[name]["answers"]] == answers
        assert one[name]["caption"] == answers[1]
        assert (two[name]["caption"], one[name]["batch"]) == (None, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--batch-size", "0"], 2, "--batch-size is '0'"),
        (["--shard", "5/4"], 2, "--shard is '5/4'"),
        (["--prompt", " "], 2, "the prompt is empty"),
        (["--prompt", "a?", "--questions", "q.txt"], 2, "exclude each other"),
        (["--questions", "no.txt"], 3, "'no.txt' cannot be read"),
        (["--engine", "spark"], 2, "--engine is 'spark'"),
        (["--ray-address", "here"], 2, "--ray-address 'here' is for Ray"),
        (["--ext", "xyz"], 3, "no videos are in"),
        (["--output", "no/such/out.jsonl"], 2, "cannot be written"),
        (["-o", "kk=1"], 2, "no option 'kk'"),
        (["-m", "no-model"], 4, "no model is called 'no-model'"),
    ],
)
def test_bad_input_is_refused_before_any_output(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """The message and the documented exit code; no output file is written."""
    output = tmp_path / "out.jsonl"
    given, _, err = caption(capsys, folder, "--output", str(output), *arguments)
    assert (given, message in err) == (code, True), err
    assert not output.exists()


@pytest.mark.smoke
def test_a_dry_run_does_nothing(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    """It prints the videos, tokens and memory of the run, and writes no file."""
    output = ("--output", str(tmp_path / "out.jsonl"))
    code, out, err = caption(capsys, folder, *output, "--dry-run", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["todo"] == ["0.mp4", "1.mp4", "2.mp4", "empty.mp4"]
    assert found["visual_tokens"] == 2 * 36
    assert 36 < found["prompt_tokens"] < 36 + 36 + 40
    assert found["total_bytes"] > found["weights_bytes"] > found["row_bytes"] > 0
    code, out, _ = caption(capsys, folder, *output, "--dry-run", "--limit", "3")
    assert (code, "2.mp4" in out, "empty.mp4" in out, "estimated" in out) == (0, True, False, True)
    assert list(tmp_path.glob("*out*")) == []


def test_a_slurm_array_task_is_a_shard(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Array tasks process shares of the folder; a later run without shards merges their files and has nothing to do."""
    output = tmp_path / "out.jsonl"
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        _, _, err = caption(capsys, folder, "--output", str(output))
        assert f"Shard {int(task) + 1} of 2: " in err
    assert not output.exists()
    monkeypatch.delenv("SLURM_ARRAY_TASK_COUNT")
    code, _, err = caption(capsys, folder, "--output", str(output))
    assert (code, set(lines(output))) == (6, {"0.mp4", "1.mp4", "2.mp4", "empty.mp4"})
    assert "4 of 4 videos are kept from before" in err
    assert [path.name for path in tmp_path.glob("out*")] == ["out.jsonl"]


def test_the_bar_and_the_table_have_counts_and_times() -> None:
    """Bar: done, failed, skipped, speed. Table: retained tokens, times by phase, failures by reason."""
    from rich.console import Console

    from dycoke_cli.captioning.item import Item
    from dycoke_cli.captioning.run import Tally
    from dycoke_cli.captioning.summary import summarise
    from dycoke_cli.display.captions import clock, counts, summary_table
    from tests.captioning.made import record

    kept = [record(Item(name, name), None if name == "d" else "a cube") for name in ("d", "e", "f", "g")]
    tally = Tally(total=10, kept=len(kept))
    tally.began -= 60
    for name in ("a", "b"):
        tally.take(record(Item(name, name), batch=2))
    tally.take(record(Item("c\n", "c\n"), None))
    assert counts(tally) == "2 done · 1 failed · 4 skipped · 3 clips/min"
    assert (clock(59.6), clock(3725)) == ("1:00", "1:02:05")
    tally.ended = tally.began + 60
    summary = summarise(tally, kept)
    assert (summary.kept, summary.failed, summary.failed_now, summary.left, summary.retained) == (3, 2, 1, 3, 0.48)
    assert (summary.time_s.decode_video, summary.time_s.vision, summary.batch) == (1.0, 0.25, 2.0)
    console = Console(file=io.StringIO(), width=80)
    for part in summary_table(summary):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in ("visual tokens retained", "48.0%", "no_frames", "it is broken", "clips a minute", "left"):
        assert text in shown
