"""`dycoke bench` on the demo's shape with few frames and tokens: tables, JSON, targets, errors."""

import json
import signal
from pathlib import Path

import pytest

from dycoke_cli.bench import peak, run
from dycoke_cli.bench.arms import StockArm
from dycoke_cli.cli import app
from dycoke_cli.cli.interrupt import Termination
from dycoke_cli.system.free_memory import free_bytes
from dycoke_cli.video import bundled_clips
from tests.bench.made import LIMITS

QUICK = ["--frames", "4", "--new-tokens", "3", "--repeat", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Isolate from the user's settings; measure peaks in this process, and replace the machine's limits."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "peaks_apart", peak.measured_peaks)
    monkeypatch.setattr(run, "measure_limits", lambda device, dtype: LIMITS)
    return tmp_path


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = app.run(["bench", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_it_prints_and_saves_every_arm(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Tables on stdout are no wider than the terminal; the file contains the JSON record."""
    (folder / "benchmarks" / "results").mkdir(parents=True)
    code, out, err = bench(capsys, *QUICK, "--batch", "1,2")
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    for arm in ("generate", "full", "dycoke"):
        assert arm in out
    for title in ("Time", "Relative to the limits", "Against transformers' own generate"):
        assert title in out
    saved = json.loads((folder / "benchmarks" / "results" / "bench.json").read_text())
    assert "bench.json" in err
    assert saved["machine"].keys() >= {"cpu", "torch", "transformers"}
    assert saved["limits"]["copy_bytes_per_s"] == 1000.0
    assert len(saved["runs"]) == 6
    assert {target["met"] for target in saved["targets"]} == {None}


def test_json_has_the_keys_that_scripts_read(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """One object with growth over two sizes and the options of a method; no file is written without --output."""
    sizes = ["--visual-tokens", "72,144", "--new-tokens", "3", "--repeat", "1", "--device", "cpu", "--layers", "4"]
    code, out, err = bench(capsys, *sizes, "-M", "full", "-M", "dycoke:k=0.5", "--json", "-q")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(folder.iterdir()) == []
    assert [arm["label"] for arm in found["arms"]] == ["full", "dycoke:k=0.5"]
    assert found["arms"][1]["options"]["k"] == 0.5
    assert (found["shape"]["name"], found["shape"]["layers"], found["vision_tower"]) == ("demo", 4, None)
    rows = found["summary"]
    assert [(row["label"], row["case"]["visual"]) for row in rows] == [
        (label, visual) for visual in (72, 144) for label in ("full", "dycoke:k=0.5")
    ]
    for row in rows:
        assert row["time_s"]["vision"] is None
        assert row["time_s"]["prefill"].keys() == {"median", "min", "max"}
        assert row["against_generate"]["speedup_total"] is None
        assert row["peak_above_weights"] is None or row["peak_above_weights"] >= 0
    assert rows[0]["against_full"]["speedup_total"] == 1.0
    assert [growth["tokens"] for growth in found["growth"]] == [[72, 144]] * 2
    assert not found["interrupted"]


def test_video_decodes_in_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    """With --video, the time to the first token includes decoding."""
    code, out, err = bench(capsys, *QUICK, "--video", str(bundled_clips.VIDEO), "-M", "dycoke", "--json", "-q")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)["summary"]
    video, first = row["time_s"]["video"]["median"], row["time_s"]["first_token"]["median"]
    assert 0 < video < first


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_print_and_save_the_results_so_far(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path, number: int
) -> None:
    """Exit code 130; output and file lack the interrupted run."""
    Termination().install()
    original, calls = StockArm.run, []

    def stopping(self: StockArm, *arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(number)
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(StockArm, "run", stopping)
    code, out, err = bench(capsys, *QUICK, "--repeat", "2", "--output", "b.json")
    assert code == 130
    assert "Interrupted" in out
    assert "dycoke" in out
    assert "b.json" in err
    saved = json.loads((folder / "b.json").read_text())
    assert saved["interrupted"]
    assert [each["label"] for each in saved["runs"]] == ["generate", "full", "dycoke", "full", "dycoke"]


def test_targets_include_those_not_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every target has a row, also those that this device cannot measure."""
    from dycoke_cli.bench import plan
    from dycoke_cli.bench.case import Case
    from dycoke_cli.bench.random_model import Shape

    monkeypatch.setattr(plan, "CPU", plan.CPU._replace(shape="demo", case=Case(4, 144, 1, 3, False), threads=1))
    code, out, err = bench(capsys, "--targets", "--device", "cpu", "--repeat", "1", "-q")
    assert Shape("demo").name in out
    assert (code, err) == (0, "")
    assert out.count("not measured") == 16
    assert "needs a CUDA device" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--shape", "8b"], 2, "'8b'"),
        (["--frames", "4,x"], 2, "'4,x'"),
        (["--frames", "4,4"], 2, "'4,4'"),
        (["--batch", "0"], 2, "'0'"),
        (["--repeat", "0"], 2, "--repeat is 0"),
        (["--new-tokens", "0"], 2, "--new-tokens is 0"),
        (["--threads", "0"], 2, "--threads is 0"),
        (["--layers", "0"], 2, "--layers is 0"),
        (["--visual-tokens", "100"], 2, "36 tokens"),
        (["--visual-tokens", "36", "--frames", "4"], 2, "--visual-tokens"),
        (["--video", "-"], 2, "--video -"),
        (["--video", "absent.mp4"], 3, "absent.mp4"),
        (["--targets", "--shape", "7b"], 2, "--shape"),
        (["-M", "dycoke:l=9"], 2, "l=9"),
        (["-M", "nothing"], 2, "'nothing'"),
        (["-M", "full", "-M", "full"], 2, "same method"),
        (["--output", "no/such/b.json"], 2, "b.json"),
        (["--shape", "72b", "--dtype", "float32"], 5, "292.7 GB"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_a_remedy(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, what: str
) -> None:
    """Two lines, the problem with the value and the remedy; the documented exit code; empty stdout."""
    if "72b" in arguments:
        import torch

        assert free_bytes(torch.device("cpu")) < 292e9, "this machine has enough memory"
    given, out, err = bench(capsys, *arguments, "--device", "cpu")
    lines = err.splitlines()
    assert (given, out) == (code, "")
    assert len(lines) == 2
    assert what in lines[0]
    assert lines[1].strip()


def test_targets_name_the_flag_that_they_exclude(capsys: pytest.CaptureFixture[str]) -> None:
    """The flag as it is typed, not the parameter's name."""
    for given, flag in ((["-M", "full"], "--method"), (["--new-tokens", "3"], "--new-tokens")):
        code, _, err = bench(capsys, "--targets", *given)
        assert (code, err.splitlines()[0].split()[-1]) == (2, flag)
