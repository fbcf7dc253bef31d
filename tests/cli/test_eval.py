"""`dycoke eval` with the demo model on short clips: JSON, tables, resuming, failures, errors."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from dycoke_cli.cli.app import run
from dycoke_cli.cli.terminal import DelayedBar
from dycoke_cli.display.evaluation import points, summary_tables
from dycoke_cli.errors import OutOfMemoryError
from dycoke_cli.evaluation.record import ANSWERS, Record
from dycoke_cli.evaluation.summary import summarise
from dycoke_cli.system.jsonl_output import JsonlOutput
from tests.evaluation.records import record

ROOT = Path(__file__).parents[2]
ITEMS = [
    {"video": "clips/cube.mp4", "question": "what colour is the cube?", "answer": "red", "type": "colour"},
    {"video": "ring.mp4", "question": "what colour is the ring?", "answer": ["purple", "violet"], "type": "colour"},
    {"video": "clips/cube.mp4", "question": "is there a red cube?", "answer": "no", "type": "exists"},
    {"video": "ring.mp4", "question": "what is it?", "answer": "B", "options": ["a star", "a ring"], "type": "shape"},
]
QUICK = ["-m", "demo", "-n", "4", "--max-new-tokens", "8"]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with two clips and questions about them; isolate from the user's settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "clips").mkdir()
    shutil.copy(ROOT / "sample_videos" / "cube.mp4", tmp_path / "clips" / "cube.mp4")
    shutil.copy(ROOT / "sample_videos" / "one_ring.mp4", tmp_path / "ring.mp4")
    write(tmp_path, ITEMS)
    # Paths are relative to the question file, not to the current folder.
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def write(folder: Path, items: list[dict[str, Any]], name: str = "q.jsonl") -> None:
    (folder / name).write_text("".join(json.dumps(item) + "\n" for item in items))


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["eval", "../q.jsonl", *QUICK, *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def result(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    given, out, err = evaluate(capsys, "--json", *arguments)
    assert given == code, err
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_has_all_results(capsys: pytest.CaptureFixture[str]) -> None:
    """One object: accuracies by type and method, paired difference, retained tokens, and every answer."""
    found = result(capsys, "--baseline", "-q")
    assert found["schema"] == 1
    assert found["questions"] == {"path": "../q.jsonl", "questions": 4, "videos": 2}
    assert found["model"] == {"name": "demo", "dtype": "float32", "device": "cpu"}
    assert [method["label"] for method in found["methods"]] == ["full", "dycoke"]
    assert found["methods"][1]["options"].items() >= {"k": 0.7, "l": 3}.items()
    rows = {(row["type"], row["method"]): row for row in found["accuracy"]}
    assert set(rows) == {(kind, name) for kind in ("colour", "exists", "shape") for name in ("full", "dycoke")}
    colour = rows["colour", "full"]
    assert (colour["n"], colour["correct"], colour["accuracy"]) == (2, 2, 1.0)
    assert colour["interval"] == pytest.approx([0.3424, 1.0], abs=1e-4)
    # The file's answer to this question is wrong on purpose.
    assert rows["exists", "full"]["correct"] == 0
    assert [row["n"] for row in found["overall"]] == [4, 4]
    (difference,) = found["differences"]
    assert (difference["method"], difference["reference"]) == ("dycoke", "full")
    assert (difference["videos"], difference["questions"]) == (2, 4)
    shares = {row["method"]: row for row in found["retained"]}
    assert shares["full"]["prefill"] == shares["full"]["per_step"] == 1.0
    assert 0.4 < shares["dycoke"]["prefill"] < 0.6
    assert 0 < shares["dycoke"]["per_step"] < 0.3
    assert (found["unanswered"], found["complete"]) == ([], True)
    assert [(item["item"], item["method"]) for item in found["items"]] == [
        (number, name) for number in (1, 2, 3, 4) for name in ("full", "dycoke")
    ]
    assert found["items"][0]["answer"] == "red"
    assert found["items"][-1]["expected"] == ["B. a ring"]


def test_the_table_is_on_stdout(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracy by type with n and interval; no differences for a single method; stderr has only the notice."""
    monkeypatch.setattr("dycoke_cli.models.checkpoints.choose_auto", lambda: "demo")
    code, out, err = evaluate(capsys, "-M", "dycoke:k=0.5", "-m", "auto")
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert "Accuracy of dycoke:k=0.5" in out
    assert ["colour", "2", "100.0%", "34.2", "to", "100.0%"] in rows
    assert any(row[:2] == ["all", "4"] for row in rows)
    assert "Difference" not in out
    assert len(err.splitlines()) == 1
    assert "mean nothing" in err


def test_answers_are_those_of_ask(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """The scored answers are those of `ask` with the same method."""
    found = result(capsys, "-M", "dycoke:k=0.9,p=0.5", "-M", "full")
    for flags, name in ((["-o", "k=0.9", "-o", "p=0.5"], "dycoke:k=0.9,p=0.5"), (["-M", "full"], "full")):
        video = str(folder / "clips" / "cube.mp4")
        assert run(["ask", video, ITEMS[0]["question"], ITEMS[2]["question"], *QUICK, *flags, "--json"]) == 0
        asked = json.loads(capsys.readouterr().out)["answers"]
        scored = [item["answer"] for item in found["items"] if item["method"] == name and "cube" in item["video"]]
        assert scored == [answer["answer"] for answer in asked]


def test_a_second_run_computes_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With all answers kept: the same result, no model is loaded, and the file does not change."""
    first = result(capsys, "--output", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    assert len(lines(Path("out.jsonl"))) == 4
    monkeypatch.setattr("dycoke_cli.evaluation.run.load_model", lambda *_: pytest.fail("the model was loaded"))
    assert result(capsys, "--output", "out.jsonl") == first
    assert Path("out.jsonl").read_bytes() == before


def test_only_missing_answers_are_computed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """A truncated line, a new question or a new method adds only its answers; other settings repeat all."""
    output = Path("out.jsonl")
    first = result(capsys, "--output", "out.jsonl")
    output.write_bytes(output.read_bytes()[:-20])
    assert result(capsys, "--output", "out.jsonl") == first
    assert len(lines(output)) == 4
    new = {"video": "ring.mp4", "question": "is there a star?", "answer": "no", "type": "exists"}
    write(folder, [new, *ITEMS])
    code, _, err = evaluate(capsys, "--output", "out.jsonl", "--baseline")
    assert code == 0, err
    assert "4 of 10 answers are kept from before" in err
    assert len(lines(output)) == 10
    result(capsys, "--output", "out.jsonl", "-M", "dycoke", "--max-new-tokens", "7")
    assert len(lines(output)) == 15


def test_a_duplicate_item_is_answered_once(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Both items count, one answer is computed, and no answer is reported as kept."""
    write(folder, [ITEMS[0], ITEMS[1], ITEMS[0]])
    code, out, err = evaluate(capsys, "--json", "--output", "out.jsonl")
    assert code == 0, err
    assert json.loads(out)["overall"][0]["n"] == 3
    assert len(lines(Path("out.jsonl"))) == 2
    assert "kept" not in err


def test_kept_answers_are_scored_by_the_current_file(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """A changed right answer is applied without running the model, and written to the output."""
    result(capsys, "--output", "out.jsonl")
    write(folder, [{**item, "answer": "yes"} if item["type"] == "exists" else item for item in ITEMS])
    code, out, err = evaluate(capsys, "--json", "--output", "out.jsonl")
    assert code == 0, err
    assert "4 of 4 answers are kept" in err
    assert "mean nothing" not in err
    assert next(row for row in json.loads(out)["accuracy"] if row["type"] == "exists")["correct"] == 1
    *_, last = lines(Path("out.jsonl"))
    assert (last["expected"], last["correct"]) == (["yes"], True)


def test_another_video_of_the_same_name_is_answered_again(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Answers belong to a video's content, not to its path."""
    result(capsys, "--output", "out.jsonl")
    shutil.copy(ROOT / "sample_videos" / "portrait.mp4", folder / "ring.mp4")
    code, _, err = evaluate(capsys, "--output", "out.jsonl")
    assert code == 0, err
    assert "2 of 4 answers are kept" in err


def test_a_folder_of_pictures_is_a_video(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """--fps is the rate of the pictures; a changed picture or rate outdates the kept answer."""
    (folder / "frames").mkdir()
    for place in range(5):
        Image.new("RGB", (64, 48), (40 * place, 0, 0)).save(folder / "frames" / f"{place}.png")
    write(folder, [{"video": "frames", "question": "what is it?", "answer": "x"}])
    first = [item["answer"] for item in result(capsys, "--output", "o.jsonl", "--fps", "2")["items"]]
    lines = Path("o.jsonl").read_text().splitlines()
    assert (len(first), len(lines)) == (1, 1)
    result(capsys, "--output", "o.jsonl", "--fps", "2")
    assert len(Path("o.jsonl").read_text().splitlines()) == 1
    Image.new("RGB", (64, 48), "blue").save(folder / "frames" / "2.png")
    result(capsys, "--output", "o.jsonl", "--fps", "2")
    result(capsys, "--output", "o.jsonl", "--fps", "3")
    assert len(Path("o.jsonl").read_text().splitlines()) == 3


def test_retain_applies_to_all_methods_but_the_baseline(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """A method that cannot meet --retain is refused."""
    methods = ["-M", "evs", "-M", "prumerge", "--baseline", "--retain", "0.25"]
    record = result(capsys, *methods)
    assert {row["method"]: row["prefill"] for row in record["retained"]} == {
        "full": 1.0,
        "evs": 0.25,
        "prumerge": 0.25,
    }
    code, out, err = evaluate(capsys, "-M", "full", "--retain", "0.25")
    assert (code, out) == (2, "")
    assert "full cannot retain 0.25" in err


def test_an_unreadable_video_is_reported_separately(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Its questions count neither as right nor as wrong; exit code 6; after a repair they are answered."""
    good = (folder / "ring.mp4").read_bytes()
    (folder / "ring.mp4").write_bytes(b"no video at all")
    found = result(capsys, "--baseline", "--output", "out.jsonl", code=6)
    assert [(row["n"], row["unanswered"]) for row in found["overall"]] == [(2, 2), (2, 2)]
    assert next(row for row in found["accuracy"] if row["type"] == "shape")["accuracy"] is None
    (failure,) = found["unanswered"]
    assert (failure["video"], failure["answers"]) == ("ring.mp4", 4)
    assert "ring.mp4" in failure["error"]
    assert (found["differences"][0]["questions"], found["complete"]) == (2, True)
    code, out, err = evaluate(capsys, "--baseline")
    assert code == 6
    assert "not answered" in out.lower()
    assert "ring.mp4" in out
    assert "dycoke: 4 of 8 answers are missing: 1 video failed" in err
    (folder / "ring.mp4").write_bytes(good)
    again = result(capsys, "--baseline", "--output", "out.jsonl")
    assert [row["n"] for row in again["overall"]] == [4, 4]
    assert again["unanswered"] == []


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (OutOfMemoryError("no memory", "less"), 5)])
def test_a_stopped_run_keeps_its_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stop: BaseException, code: int
) -> None:
    """After three answers: they are printed and kept in the output, and the next run computes the others."""
    complete = result(capsys, "--baseline")
    made = []
    original = Record.of.__func__  # type: ignore[attr-defined]

    def counted(*arguments: Any) -> Record:
        made.append(original(Record, *arguments))
        if len(made) > 3:
            raise stop
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Record, "of", counted)
        if code == 130:
            given, out, _ = evaluate(capsys, "--baseline", "--output", "out.jsonl")
            assert given == code
            assert "Incomplete: 3 of 8 answers" in out
        else:
            found = result(capsys, "--baseline", "--output", "out.jsonl", code=code)
            assert (len(found["items"]), found["complete"]) == (3, False)
    assert len(lines(Path("out.jsonl"))) == 3
    assert result(capsys, "--baseline", "--output", "out.jsonl") == complete
    assert len(lines(Path("out.jsonl"))) == 8


def test_options_of_files_and_variables_reach_the_method(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `ask`: options of a file apply to its method only, and options of -M override them."""
    Path("dycoke.yaml").write_text("options: {k: 0.5, p: 0.5}\n")
    monkeypatch.setenv("DYCOKE_FRAMES", "9")
    found = result(capsys, "-M", "dycoke:p=0.9", "-M", "full")
    assert [method["label"] for method in found["methods"]] == ["dycoke:k=0.5,p=0.9", "full"]
    assert found["frames"]["frames"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["../absent.yaml"], 3, "absent.yaml"),
        (["../clips"], 3, "clips"),
        (["../missing.jsonl"], 3, "2 of the 3 videos"),
        (["../broken.jsonl"], 2, "line 2"),
        ([], 2, "QUESTIONS"),
        (["../q.jsonl", "--match", "fuzzy"], 2, "'fuzzy'"),
        (["../q.jsonl", "-M", "docoke"], 2, "'docoke'"),
        (["../q.jsonl", "-M", "dycoke:k"], 2, "'k'"),
        (["../q.jsonl", "-M", "dycoke:k=2"], 2, "k=2"),
        (["../q.jsonl", "-M", "dycoke:l=8"], 2, "l=8"),
        (["../q.jsonl", "-M", "dycoke", "-M", "full", "-o", "k=0.5"], 2, "k=0.5"),
        (["../q.jsonl", "-M", "full", "-M", "full"], 2, "same method"),
        (["../q.jsonl", "--frames", "0"], 2, "'0'"),
        (["../q.jsonl", "--output", "no/such/folder/out.jsonl"], 2, "out.jsonl"),
        (["../q.jsonl", "--output", "../q.jsonl"], 2, "which is read"),
        (["../q.jsonl", "-m", "no-such-model"], 4, "no-such-model"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_a_remedy(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], code: int, what: str
) -> None:
    """Two lines, the problem with the value and the remedy; the documented exit code; empty stdout."""
    missing = [{**ITEMS[0], "video": name} for name in ("x.mp4", "y.mp4", "ring.mp4")]
    write(folder, missing, "missing.jsonl")
    write(folder, [ITEMS[0], {**ITEMS[1], "kind": "colour"}], "broken.jsonl")
    before = (folder / "q.jsonl").read_bytes()
    given = run(["eval", *arguments, *([] if "-m" in arguments else ["-m", "demo"])])
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "demo model" not in line]
    assert (given, out) == (code, "")
    assert len(lines) == 2
    assert lines[0].startswith("dycoke: ")
    assert what in lines[0]
    assert lines[1].strip()
    assert (folder / "q.jsonl").read_bytes() == before


@pytest.mark.parametrize("width", [40, 60, 100])
def test_tables_fit_the_terminal(width: int) -> None:
    """No cell is truncated, and no number is wrapped."""
    table = {
        (number, method): record(correct=correct, method=method, video=f"{number}.mp4", type=kind)
        for number, (kind, correct) in enumerate([("colour", True), ("spatial reasoning", False), ("colour", None)])
        for method in ("full", "dycoke:k=0.5,p=0.9")
    }
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        for part in summary_tables(summarise(table, ["full", "dycoke:k=0.5,p=0.9"], 7), width):
            console.print(part)
    shown = captured.get()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for figures in ("1 100.0% 20.7 to 100.0%", "1 0.0% 0.0 to 79.3%", "2 50.0% 9.5 to 90.5%", "50.0% 20.0%"):
        assert any(" ".join(line.split()).endswith(figures) for line in shown.splitlines()), figures
    assert "Incomplete: 6 of 7" in shown


def test_the_bar_has_counts() -> None:
    """The count appears once the total is known."""
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    bar = DelayedBar(console, counted=True)
    with console.capture() as captured:
        bar.update("Loading the model", 0, 0)
        assert bar.progress is not None
        bar.progress.start()
        bar.update("Answering", 3, 8)
        bar.progress.refresh()
        bar.drop()
    first, last = captured.get().split("Answering", 1)
    assert " of " not in first
    assert "3 of 8" in last


def test_points_have_signs() -> None:
    """Differences have a sign; a rounded zero has none."""
    assert [points(share) for share in (0.1234, -0.05, 0.0, -0.0001)] == ["+12.3", "−5.0", "0.0", "0.0"]


def test_two_runs_do_not_share_an_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The second run is refused before it starts, with the process id of the first."""
    with JsonlOutput(tmp_path / "out.jsonl", ANSWERS):
        code, out, err = evaluate(capsys, "--output", str(tmp_path / "out.jsonl"))
    assert (code, out) == (2, "")
    assert "is being written by another run: process " in err
