"""`dycoke ask`: streams, exit codes, JSON keys, reports and error messages."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dycoke_cli.cli.app import run

ROOT = Path(__file__).parents[2]
CUBE = str(ROOT / "sample_videos" / "cube.mp4")
QUESTION = "what colour is the cube?"
MEDIA = ROOT / "tests" / "media"


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Isolate from the user's settings; a terminal of 100 columns without colour."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["ask", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.smoke
def test_the_answer_alone_is_on_stdout(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """stdout has the answer and a newline, stderr the demo's warning and no panel."""
    monkeypatch.setattr("dycoke_cli.models.checkpoints.choose_auto", lambda: "demo")
    code, out, err = ask(capsys, CUBE, QUESTION)
    assert code == 0
    assert "red" in out.lower()
    assert out.count("\n") == 1
    assert "mean nothing" in err
    assert "--model llava-ov-0.5b" in err
    assert "visual tokens" not in err


def test_the_demo_warning_is_absent_when_the_demo_was_requested(capsys: pytest.CaptureFixture[str]) -> None:
    """The warning is printed only if the demo was selected by default."""
    code, out, err = ask(capsys, CUBE, QUESTION, "-m", "demo", "-n", "4", "--max-new-tokens", "2")
    assert (code, err, out.count("\n")) == (0, "", 1)


def test_quiet_prints_only_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """-q leaves stderr empty."""
    code, out, err = ask(capsys, CUBE, QUESTION, "-m", "demo", "-q")
    assert (code, err) == (0, "")
    assert out.strip()


@pytest.mark.smoke
def test_the_panel_has_only_known_values(capsys: pytest.CaptureFixture[str]) -> None:
    """--stats forces the panel; without a baseline it has exact counts, and no times of the baseline."""
    code, _, err = ask(capsys, CUBE, QUESTION, "-m", "demo", "--stats")
    assert code == 0
    rows = {line.strip("│ ").split("  ")[0]: line for line in err.splitlines() if line.startswith("│")}
    assert "576" in rows["visual tokens"]
    for label in ("first token", "total", "per token", "peak above weights"):
        assert rows[label].rstrip("│ ").endswith("–")
    assert "--baseline" in err


@pytest.mark.smoke
def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One object for several questions, baseline and trace; counts are consistent."""
    trace_file = tmp_path / "trace.json"
    flags = ["-m", "demo", "--json", "--baseline", "--trace", str(trace_file), "-q"]
    code, out, err = ask(capsys, CUBE, QUESTION, "describe the video", *flags)
    assert (code, err) == (0, "")
    record: dict[str, Any] = json.loads(out)
    assert set(record) >= {"schema", "video", "model", "method", "answers", "baseline"}
    assert record["schema"] == 1
    assert set(record["video"]) >= {
        "path", "duration_s", "fps", "frames_total", "decoder", "frame_indices", "timestamps_s"
    }  # fmt: skip
    assert len(record["video"]["frame_indices"]) == len(record["video"]["timestamps_s"]) == 16
    assert record["model"].items() >= {
        "name": "demo", "family": "llava_onevision", "dtype": "float32", "device": "cpu"
    }.items()  # fmt: skip
    assert record["method"]["name"] == "dycoke"
    assert record["method"]["options"].items() >= {"k": 0.7, "l": 3, "p": 0.7}.items()
    for answer in (*record["answers"], record["baseline"]):
        assert set(answer) == {"question", "answer", "finish", "tokens", "steps", "time_s", "memory_bytes"}
        assert set(answer["tokens"]) >= {"visual", "visual_prefill", "text", "generated"}
        assert set(answer["steps"][0]) == {"step", "read", "retained", "recalled", "reselected"}
        assert set(answer["time_s"]) == {
            "decode_video", "vision", "prefill", "first_token", "decode", "per_token", "total"
        }  # fmt: skip
        assert set(answer["memory_bytes"]) >= {"weights", "kv", "peak", "peak_above_weights"}
        assert len(answer["steps"]) == answer["tokens"]["generated"]
    first = record["answers"][0]
    assert (first["tokens"]["visual"], first["tokens"]["visual_prefill"]) == (576, 276)
    assert first["steps"][1]["read"] == 83
    assert record["baseline"]["tokens"]["visual_prefill"] == 576
    trace = json.loads(trace_file.read_text())
    assert len(trace["visual"]["frame"]) == len(trace["merged_into"]) == 576
    assert len(trace["prefill"]) == 276
    assert [len(step) for step in trace["steps"]] == [step["read"] for step in first["steps"]]
    assert len(trace["answers"]) == 2
    assert ["".join(one["pieces"]).strip() for one in trace["answers"]] == [one["answer"] for one in record["answers"]]


@pytest.mark.smoke
def test_a_report_replaces_an_existing_one(capsys: pytest.CaptureFixture[str]) -> None:
    """--report: stdout has only the answer; the page has both runs and the command that repeats them."""
    Path("r.html").write_text("old")
    before = Path("r.html").stat().st_ino
    flags = ["-m", "demo", "-q", "--baseline", "-n", "4", "-o", "k=0.5", "--max-new-tokens", "3"]
    code, out, err = ask(capsys, CUBE, QUESTION, *flags, "--report", "r.html")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert [path.name for path in Path().iterdir()] == ["r.html"]
    assert Path("r.html").stat().st_ino != before  # replaced atomically by a new file
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', Path("r.html").read_text())
    assert found is not None
    data = json.loads(found[1])
    assert [(run["label"], run["baseline"]) for run in data["runs"]] == [("dycoke", False), ("uncompressed", True)]
    first = data["runs"][0]["answers"][0]
    assert first["answer"] == out.strip() == "".join(first["trace"]["pieces"]).strip()
    assert len(first["trace"]["sets"]) == len(first["steps"]["read"]) == first["tokens"]["generated"]
    assert len(data["frames"]) == data["grid"][0] == 4
    assert first["trace"]["mass"]["peak"] > 0
    assert shlex.split(data["command"]) == [
        "dycoke", "ask", "--model", "demo", "--frames", "4", "--max-new-tokens", "3", "-o", "k=0.5", "--baseline",
        CUBE, QUESTION,
    ]  # fmt: skip


@pytest.mark.parametrize("flag", ["--report", "--trace"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    """The run does not start."""
    import dycoke_cli.session.ask

    monkeypatch.setattr(dycoke_cli.session.ask, "ask", lambda *_: pytest.fail("the run started"))
    code, _, err = ask(capsys, CUBE, QUESTION, "-m", "demo", flag, "no/such/folder/file")
    assert code == 2
    assert "no/such/folder/file" in err


def test_a_report_repeats_what_was_set_anywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flags of `as_flags` give the same settings as files, variables and flags together."""
    import dycoke_cli.session.ask

    calls: list[Any] = []

    def record_call(video: str, questions: list[str], settings: Any, *rest: object) -> None:
        calls.append((video, questions, settings))
        raise KeyboardInterrupt

    monkeypatch.setattr(dycoke_cli.session.ask, "ask", record_call)
    Path("dycoke.yaml").write_text("model: demo\nframes: 4\noptions: {k: 0.5, p: 0.9}\n")
    monkeypatch.setenv("DYCOKE_REPETITION_PENALTY", "1.5")
    ask(capsys, "--retain", "0.6", "--start", "0:01", "--", "v.mp4", "--why?")
    Path("dycoke.yaml").unlink()
    monkeypatch.delenv("DYCOKE_REPETITION_PENALTY")
    _, questions, settings = calls[0]
    assert questions == ["--why?"]
    ask(capsys, *settings.as_flags(), "--", "v.mp4", "--why?")
    assert calls[1] == calls[0]


def test_several_questions_give_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """stdout has the answers in order, stderr the questions."""
    questions = ["is there a cube?", QUESTION, "how many objects are there?"]
    code, out, err = ask(capsys, CUBE, *questions, "-m", "demo")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert [line.removeprefix("» ") for line in err.splitlines() if line.startswith("»")] == questions


def test_files_and_variables_reach_the_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has values from dycoke.yaml, DYCOKE_* and flags."""
    Path("dycoke.yaml").write_text("model: demo\nframes: 4\nmax_new_tokens: 1\noptions: {k: 0.5}\n")
    monkeypatch.setenv("DYCOKE_METHOD", "dycoke")
    code, out, _ = ask(capsys, CUBE, QUESTION, "--json", "-n", "6", "-o", "p=0.5")
    assert code == 0
    record = json.loads(out)
    assert len(record["video"]["frame_indices"]) == 6
    assert record["method"]["options"].items() >= {"k": 0.5, "p": 0.5}.items()
    assert record["answers"][0]["finish"] == "length"


def test_a_budget_applies_to_joined_methods(capsys: pytest.CaptureFixture[str]) -> None:
    """--retain sets the option of the first stage, the record has its value, and the baseline stays uncompressed."""
    flags = ["-m", "demo", "--json", "--baseline", "--retain", "0.3", "-M", "random+dynamic", "-o", "p=0.5", "-q"]
    code, out, _ = ask(capsys, CUBE, QUESTION, *flags)
    assert code == 0
    record = json.loads(out)
    assert record["method"]["name"] == "random+dynamic"
    assert record["method"]["options"].items() >= {"random.retain": 0.3, "dynamic.p": 0.5}.items()
    assert record["answers"][0]["tokens"]["visual_prefill"] == 173
    assert record["answers"][0]["steps"][1]["read"] == 87
    assert record["baseline"]["tokens"]["visual_prefill"] == 576


@pytest.mark.parametrize(
    ("frames", "method", "warned"), [("3", "dycoke", True), ("3", "full", False), ("4", "dycoke", False)]
)
def test_very_few_frames_are_warned_about(
    capsys: pytest.CaptureFixture[str], frames: str, method: str, warned: bool
) -> None:
    """Fewer frames than a window of DyCoke print a warning; an uncompressed run prints none."""
    code, _, err = ask(capsys, CUBE, QUESTION, "-m", "demo", "-n", frames, "-M", method)
    assert code == 0
    assert ("Fewer than 4 frames" in err) == warned


@pytest.mark.smoke
def test_pictures_and_pipes_are_videos(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder of pictures with --fps and --frames together, and a video from stdin."""
    (tmp_path / "frames").mkdir()
    for place in range(12):
        Image.new("RGB", (64, 48), (20 * place, 0, 0)).save(tmp_path / "frames" / f"{place}.png")
    flags = ["-m", "demo", "--json", "-q", "--max-new-tokens", "1"]
    code, out, _ = ask(capsys, str(tmp_path / "frames"), "q", *flags, "--fps", "4", "-n", "3")
    assert code == 0
    video = json.loads(out)["video"]
    assert (video["frame_indices"], video["timestamps_s"], video["duration_s"]) == ([0, 5, 11], [0, 1.25, 2.75], 3)
    assert (video["damaged"], video["decoder"]) == (False, "pillow")
    with (MEDIA / "two_frames.mp4").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", file)
        code, out, _ = ask(capsys, "-", "q", *flags)
    assert code == 0
    video = json.loads(out)["video"]
    assert (video["path"], video["frames_total"]) == ("-", 2)


@pytest.mark.smoke
def test_damage_is_printed_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    """stderr has the number of readable frames, the record has `damaged`; with --sample index."""
    clip = str(MEDIA / "cut60_faststart.mp4")
    code, out, err = ask(capsys, clip, "q", "-m", "demo", "--json", "--max-new-tokens", "1", "--sample", "index")
    assert code == 0
    assert "only 86 of 150 frames can be read" in err
    assert json.loads(out)["video"]["damaged"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["nowhere.mp4", "q"], 3, "nowhere.mp4"),
        ([CUBE, "q", "--sample", "often"], 2, "'often'"),
        ([str(MEDIA / "text.mp4"), "q"], 3, "text.mp4"),
        ([str(MEDIA / "zero_bytes.mp4"), "q"], 3, "zero_bytes.mp4"),
        ([str(MEDIA / "audio_only.mp4"), "q"], 3, "audio_only.mp4"),
        ([".", "q"], 3, "."),
        ([CUBE, "q", "--start", "99"], 3, "99"),
        ([CUBE], 2, "QUESTION"),
        ([CUBE, " "], 2, "empty"),
        ([CUBE, "q", "--frames", "x"], 2, "'x'"),
        ([CUBE, "q", "--frames", "0"], 2, "'0'"),
        ([CUBE, "q", "--frames", "4", "--fps", "1"], 2, "4 frames"),
        ([CUBE, "q", "--start", "soon"], 2, "'soon'"),
        ([CUBE, "q", "-o", "k"], 2, "'k'"),
        ([CUBE, "q", "-o", "k=2"], 2, "k=2"),
        ([CUBE, "q", "-o", "l=8", "-m", "demo"], 2, "l=8"),
        ([CUBE, "q", "-M", "fastest"], 2, "'fastest'"),
        ([CUBE, "q", "-M", "random+uniform"], 2, "random and uniform"),
        ([CUBE, "q", "--retain", "0"], 2, "'0'"),
        ([CUBE, "q", "--retain", "0.2", "-m", "demo"], 2, "0.2"),
        ([CUBE, "q", "--device", "tpu"], 2, "'tpu'"),
        ([CUBE, "q", "--dtype", "int8"], 2, "'int8'"),
        ([CUBE, "q", "--trace", "no/such/folder/t.json"], 2, "t.json"),
        ([CUBE, "q", "--report", "no/such/folder/r.html"], 2, "r.html"),
        ([CUBE, "q", "--report", "."], 2, "'.'"),
        ([CUBE, "q", "--config", "absent.yaml"], 2, "absent.yaml"),
        ([CUBE, "q", "--fast"], 2, "--fast"),
        ([CUBE, "q", "-m", "no-such-model"], 4, "'no-such-model'"),
        ([CUBE, "q", "-m", "/no/such/model"], 4, "'/no/such/model'"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_a_remedy(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, what: str
) -> None:
    """Two lines, the problem with the value and the remedy; the documented exit code; no traceback."""
    given, out, err = ask(capsys, *arguments)
    lines = [line for line in err.splitlines() if "demo model" not in line]
    assert (given, out) == (code, "")
    assert len(lines) == 2
    assert lines[0].startswith("dycoke: ")
    assert what in lines[0]
    assert lines[1].strip()


def test_an_unexpected_failure_is_exit_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug prints its exception type and a request to report it; --debug raises it."""
    import dycoke_cli.session.ask

    def broken(*arguments: object, **keywords: object) -> None:
        raise ZeroDivisionError("three\nlines\nof it")

    monkeypatch.setattr(dycoke_cli.session.ask, "ask", broken)
    code, _, err = ask(capsys, CUBE, "q")
    assert code == 1
    assert "ZeroDivisionError: three" in err
    assert len(err.splitlines()) == 2
    with pytest.raises(ZeroDivisionError):
        run(["ask", CUBE, "q", "--debug"])


def test_interruption_is_exit_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with exit code 130 and no traceback."""
    import dycoke_cli.session.ask

    def interrupted(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dycoke_cli.session.ask, "ask", interrupted)
    assert ask(capsys, CUBE, "q")[0] == 130


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`dycoke` alone prints the help with its subcommands."""
    assert run([]) == 0
    assert "ask" in capsys.readouterr().out


@pytest.mark.smoke
def test_the_command_in_a_fresh_process_and_folder(tmp_path: Path) -> None:
    """`python -m dycoke_cli` with warnings as errors prints the answer to stdout."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "dycoke_cli", "ask", CUBE, QUESTION, "-m", "demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "red" in done.stdout.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_lost_output_is_exit_1() -> None:
    """A record that fits into the buffer of stdout, written to a full disk, ends with an error message."""
    clip = str(MEDIA / "two_frames.mp4")
    command = [
        sys.executable,
        "-m",
        "dycoke_cli",
        "ask",
        clip,
        "q",
        "-m",
        "demo",
        "-q",
        "--json",
        "--max-new-tokens",
        "1",
    ]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 1
    assert "No space left" in done.stderr


def test_an_incompatible_torchvision_is_named(tmp_path: Path) -> None:
    """A torchvision built for another torch breaks the import of transformers; the message has cause and remedy."""
    package = tmp_path / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    metadata = tmp_path / "site" / "torchvision-0.28.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    done = subprocess.run(
        [sys.executable, "-m", "dycoke_cli", "ask", CUBE, QUESTION, "-q"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 4
    assert "torchvision does not fit torch" in done.stderr
    assert "pip uninstall torchvision" in done.stderr
