"""The command of a GPU day: parts as processes, what they leave when they are ended, and the table."""

import json
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import facts
from benchmarks.gpu.day import Day
from benchmarks.gpu.job import Job
from benchmarks.gpu.kernels import ATTENTION, MATRIX, OTHER, by_kernel, kind_of
from benchmarks.gpu.parts import captions, cold, compiled, lengths
from benchmarks.gpu.plan import GRACE_S, LIMIT_S, PARTS, Part
from benchmarks.gpu.suites import suite_rows
from benchmarks.gpu.table import rows_of

ROOT = Path(__file__).parents[2]
MACHINE = {"device_name": "a card", "driver": None, "cuda": None, "torch": "2", "transformers": "5", "triton": None,
           "python": "3", "date": "today", "commit": None}  # fmt: skip


def python(name: str, seconds: float, code: str) -> Part:
    """A part that runs Python code, with its record in the file `path`."""
    return Part(name, seconds, "made here", ("-c", code))


def day(folder: Path, *parts: Part) -> Day:
    return Day(parts, folder, "cpu", MACHINE)


def writing(folder: Path, name: str, rest: str) -> str:
    """Code that writes a record and goes on with `rest`."""
    return f"import json, os, time; open({str(folder / 'gpu' / name)!r} + '.json', 'w').write('[1, 2]'); {rest}"


def test_a_slow_part_and_a_crash_leave_the_others(tmp_path: Path) -> None:
    """Each leaves the record that it wrote; what a slow part started has ended too; the last part is done."""
    beats = tmp_path / "beats"
    beat = f"import time\nwhile True:\n    open({str(beats)!r}, 'a').write('.')\n    time.sleep(0.02)"
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {beat!r}]); time.sleep(600)"
    made = day(
        tmp_path,
        python("slow", 2.0, writing(tmp_path, "slow", start)),
        python("crash", 20, writing(tmp_path, "crash", "os.kill(os.getpid(), 11)")),
        python("wrong", 20, "print('first line'); raise SystemExit('the last line')"),
        python("right", 20, writing(tmp_path, "right", "print('fine')")),
    )
    began = time.monotonic()
    made.run()
    assert time.monotonic() - began < 15
    written = json.loads((tmp_path / "gpu.json").read_text())
    outcomes = {name: (part["status"], part["reason"], part["result"]) for name, part in written["parts"].items()}
    assert outcomes == {
        "slow": ("timed out", "not done within 2 s", [1, 2]),
        "crash": ("failed", "ended by SIGSEGV", [1, 2]),
        "wrong": ("failed", "the last line", None),
        "right": ("done", None, [1, 2]),
    }
    assert not made.all_done
    assert (tmp_path / "gpu" / "right.txt").read_text() == "fine\n"
    last = beats.stat().st_size
    assert last > 0
    time.sleep(0.2)
    assert beats.stat().st_size == last


def test_a_part_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """It ends within its limit all the same."""
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    made = day(tmp_path, python("deaf", 3.0, writing(tmp_path, "deaf", ignoring)))
    made.run()
    (found,) = made.found.values()
    assert (found["status"], found["result"]) == ("timed out", [1, 2])
    assert 3.0 <= found["seconds"] < 5


def test_sigterm_keeps_what_there_is(tmp_path: Path) -> None:
    """The running part is ended and its record kept, later parts are not run, and the exit code is 130."""
    slow = writing(tmp_path, "slow", "time.sleep(600)")
    code = f"""
import sys
from dataclasses import replace
from pathlib import Path
from benchmarks.gpu import __main__ as command
from benchmarks.gpu.plan import Part
parts = (Part("slow", 60, "made here", ("-c", {slow!r})), Part("later", 60, "made here", ("-c", "")))
command.PARTS, command.machine = parts, lambda device: {MACHINE!r}
sys.exit(command.main(["--device", "cpu", "--out", {str(tmp_path)!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "gpu" / "slow.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)  # the file exists before it is complete
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["interrupted"]
    assert [(part["status"], part["result"]) for part in written["parts"].values()] == [
        ("failed", [1, 2]),
        ("not run", None),
    ]
    assert "interrupted" in printed
    assert "a card, torch 2" in printed


def test_quick_parts_on_a_cpu(tmp_path: Path) -> None:
    """Two real parts as a user runs them: exit code 0, their figures in the file and in the table."""
    options = ["--device", "cpu", "--out", str(tmp_path), "--only", "profile", "--only", "golden"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *options], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    written = json.loads((tmp_path / "gpu.json").read_text())
    parts = written["parts"]
    assert [name for name, part in parts.items() if part["status"] == "done"] == ["golden", "profile"]
    assert {name for name, part in parts.items() if part["status"] == "not run"} == {
        part.name for part in PARTS if part.name not in ("golden", "profile")
    }
    golden, phases = parts["golden"]["result"], parts["profile"]["result"]["phases"]
    assert golden["passed"] == golden["collected"] > 5
    assert list(phases) == ["vision", "prefill, full", "decode step, full", "prefill, dycoke", "decode step, dycoke"]
    for phase in phases.values():
        assert phase["wall_s"] > 0
        assert sum(phase["by_kind_s"].values()) == pytest.approx(phase["device_s"])
        assert phase["by_kind_s"][MATRIX] > 0
        assert len(phase["kernels"]) == 12
    keys = {
        "device_name",
        "driver",
        "memory_bytes",
        "torch",
        "transformers",
        "triton",
        "python",
        "cuda",
        "date",
        "commit",
    }
    assert keys <= written["machine"].keys()
    assert "golden: the recorded runs" in done.stdout
    assert "golden: done after" in done.stdout
    assert f"{golden['passed']} of {golden['collected']}" in done.stdout
    assert "decode step, dycoke" in done.stdout


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names all parts, and nothing is started."""
    assert command.main(["--only", "golden", "--only", "speed"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "'speed'" in message
    assert all(part.name in message for part in PARTS)


def test_without_a_card_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the remedy, exit code 2, and no file."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert command.main(["--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--device cpu" in message
    assert list(tmp_path.iterdir()) == []


def test_the_plan_fits_and_every_part_exists() -> None:
    """The limits sum to less than eight minutes, each is longer than its grace, and names are modules."""
    assert sum(part.seconds for part in PARTS) < LIMIT_S == 480
    assert min(part.seconds for part in PARTS) > 2 * GRACE_S
    for part in PARTS:
        module = import_module(f"benchmarks.gpu.parts.{part.name}")
        assert callable(module.measure)
        assert callable(module.rows)


def test_a_failing_test_fails_its_part(tmp_path: Path) -> None:
    """The names of tests that fail, and of fixtures, are in the record; the process ends with 1."""
    (tmp_path / "test_made.py").write_text(
        "import pytest\n@pytest.fixture\ndef broken(): raise OSError\ndef test_right(): pass\n"
        "def test_wrong(): assert 0\ndef test_broken(broken): pass\ndef test_left_out(): pytest.skip('why')\n"
    )
    code = f"""
from pathlib import Path
from benchmarks.gpu.job import Job
from benchmarks.gpu.suites import run_tests
run_tests(Job("made", Path({str(tmp_path)!r}), "cpu", 60), [{str(tmp_path / "test_made.py")!r}], "")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "2 of 4 tests fail, pytest ended with 1"
    record = json.loads((tmp_path / "made.json").read_text())
    counts = {name: record[name] for name in ("collected", "passed", "failed", "skipped")}
    assert counts == {"collected": 4, "passed": 1, "failed": 2, "skipped": 1}
    names = sorted(name.rpartition("::")[2] for name in record["failures"])
    assert names == ["test_broken (setup)", "test_wrong"]
    assert suite_rows(record)[0] == ("tests passed", "1 of 4, 1 skipped")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_tst_128x256_64x4_2x1_v_bz_coopA_TNN", MATRIX),
        ("void gemv2T_kernel_val<int, int, __nv_bfloat16, __nv_bfloat16, float>", MATRIX),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x128_32x5_tn_align8>", MATRIX),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, float>", MATRIX),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", MATRIX),
        ("pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, cutlass::bfloat16_t>>", ATTENTION),
        ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention)", ATTENTION),
        ("_read", ATTENTION),
        ("_combine", ATTENTION),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", ATTENTION),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>", OTHER),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps>>", OTHER),
        ("upsample_bilinear2d_nhwc_out_frame", OTHER),
        ("Memcpy DtoD (Device -> Device)", OTHER),
        ("triton_poi_fused_add_mul_0_thread_reads", OTHER),
    ],
)
def test_kernels_are_sorted_by_name(name: str, kind: str) -> None:
    """Matrix products, attention, which contains such products, and the rest."""
    assert kind_of(name) == kind


def test_kernels_are_summed() -> None:
    """Sums by kind, and the longest twelve with their share; no kernel at all is an error."""
    events = [("gemm", 0.006, 3), ("flash", 0.001, 1), *((f"kernel {n}", 0.0001, 2) for n in range(30))]
    found = by_kernel(events)
    assert found["device_s"] == pytest.approx(0.010)
    assert found["by_kind_s"] == pytest.approx({MATRIX: 0.006, ATTENTION: 0.001, OTHER: 0.003})
    assert found["not_matrix_product_s"] == pytest.approx(0.004)
    assert len(found["kernels"]) == 12
    assert (found["kernels"][0]["name"], found["kernels"][0]["count"]) == ("gemm", 3)
    assert found["kernels"][0]["share"] == pytest.approx(0.6)
    with pytest.raises(RuntimeError, match="no kernel"):
        by_kernel([])


def test_when_compiling_pays() -> None:
    """30 s of compiling that save 2 ms a token pay after 15,000 tokens; steps that are no faster never pay."""
    assert compiled.payback(0.007, 0.005, 30.0)["tokens_until_it_pays"] == pytest.approx(15000)
    assert compiled.payback(0.005, 0.005, 30.0)["tokens_until_it_pays"] is None


def test_long_runs_are_left_out_by_the_time_of_shorter_ones(tmp_path: Path) -> None:
    """Twice the frames, 3.5 times as long; `generate` from full; nothing is left out before anything is known."""
    known: list[dict[str, Any]] = [
        {"label": "full", "frames": 8, "time_s": {"total": 2.0}},
        {"label": "x", "frames": 8},
    ]
    job = Job("lengths", tmp_path, "cpu", 60, {"rows": known})
    assert lengths._expected_s(job, "full", 16) == pytest.approx(7.0)
    assert lengths._expected_s(job, "generate", 8) == pytest.approx(7.0)
    assert lengths._expected_s(job, "x", 16) == 0.0


def test_incomplete_records_are_shown() -> None:
    """A part that was ended early shows what it has."""
    run = {"wall_s": 5.0, "first_token_s": 2.0, "second_token_s": None, "device": "cuda"}
    assert cold.rows({"cold": run}) == [("ask, cold", "wall 5.00 s, first token 2.00 s, second – (cuda)")]
    assert cold.rows({"second_of_cpu": 1.25})[-1][1] == "1.25× (≤ 1.2×) missed"
    assert captions.rows({"clips": 40, "batch": 8, "captioned": 7}) == [("captions", "7 of 40, batches of 8")]
    assert rows_of("compiled", {"layers": 6}) == []
    assert rows_of("profile", {"phases": {}}) == []
    assert rows_of("targets", {"rows": []}) == []
    assert rows_of("slow", {"any": 1}) == []
    assert rows_of("tests", None) == []


def test_the_commit_is_read_without_git(tmp_path: Path) -> None:
    """From a branch's file, from the packed ones, for another worktree, with a detached head; None without any."""
    assert facts.commit(tmp_path) is None
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack-refs with: peeled\nabc refs/heads/main\ndef refs/heads/other\n")
    assert facts.commit(tmp_path) == "abc"
    (git / "refs" / "heads" / "main").write_text("123\n")
    assert facts.commit(tmp_path) == "123"
    (git / "worktrees" / "two").mkdir(parents=True)
    (git / "worktrees" / "two" / "HEAD").write_text("ref: refs/heads/other\n")
    (git / "worktrees" / "two" / "commondir").write_text("../..\n")
    other = tmp_path / "two"
    other.mkdir()
    (other / ".git").write_text(f"gitdir: {git / 'worktrees' / 'two'}\n")
    assert facts.commit(other) == "def"
    (git / "HEAD").write_text("456\n")
    assert facts.commit(tmp_path) == "456"
