"""lmms-eval runs dycoke on the sample videos, and its results file contains the retention.

lmms-eval is installed in an environment of its own, made from the package registry on top of this one, or given as
$DYCOKE_LMMS_PYTHON. Run with `.ci/lmms_eval`.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.lmms_task import write_task
from tests.video.made import write

pytestmark = pytest.mark.lmms_eval

ROOT = Path(__file__).parents[2]
VERSION = "0.7.2"
VIDEOS = ("cube.mp4", "one_ring.mp4")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Interpreter of an environment with lmms-eval and this dycoke, which shares torch and transformers with ours."""
    if given := os.environ.get("DYCOKE_LMMS_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("lmms")
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    interpreter = str(folder / "bin" / "python")
    install = ["uv", "pip", "install", "--quiet", "--python", interpreter]
    # Share the packages installed here: torch alone takes gigabytes.
    (site / "outer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    constraints = folder / "constraints.txt"
    packages = ("torch", "transformers", "numpy", "huggingface_hub")
    from importlib.metadata import version

    constraints.write_text("".join(f"{package}=={version(package)}\n" for package in packages))
    # It imports a module of filelock that 4.0 does not have.
    subprocess.run([*install, "--constraint", constraints, f"lmms_eval=={VERSION}", "filelock<4"], check=True)
    subprocess.run([*install, "--no-deps", ROOT], check=True)
    _remove_bundled_tasks(site)
    return interpreter


def _remove_bundled_tasks(site: Path) -> None:
    """Delete lmms-eval's own tasks from the environment.

    The published package lacks the templates that they include, so that listing them fails; a checkout has them.
    """
    for path in (site / "lmms_eval" / "tasks").iterdir():
        if path.is_dir() and not path.name.startswith("_"):
            shutil.rmtree(path)


def evaluate(python: str, folder: Path, arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run lmms-eval from its command line; return its results and its samples."""
    done = subprocess.run(
        [python, "-m", "lmms_eval", "--model", "dycoke", "--model_args", f"pretrained=demo,{arguments}",
         "--include_path", folder, "--tasks", "dycoke_samples", "--batch_size", "1", "--log_samples",
         "--output_path", folder / "out"],
        cwd=folder, capture_output=True, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = folder.glob("out/**/*_results.json")
    (samples,) = folder.glob("out/**/*_samples_dycoke_samples.jsonl")
    return json.loads(results.read_text()), [json.loads(line) for line in samples.read_text().splitlines()]


def test_a_task_runs_and_its_results_contain_the_retention(python: str, tmp_path: Path) -> None:
    """The answers equal those of `dycoke ask`, in the order of the documents; retention is in the results file."""
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.session.ask import ask

    documents = write_task(tmp_path, VIDEOS)
    results, samples = evaluate(python, tmp_path, "method=dycoke,k=0.7,frames=8")
    settings = Settings(model="demo", options={"k": "0.7"}, frames=8, max_new_tokens=16)
    expected = {}
    for video in {document["video"] for document in documents}:
        questions = [document["question"] for document in documents if document["video"] == video]
        for answer in ask(video, questions, settings).answers:
            expected[video, answer.question] = answer
    assert len(samples) == len(documents) > 3
    for sample in sorted(samples, key=lambda sample: sample["doc_id"]):
        document = documents[sample["doc_id"]]
        answer = expected[document["video"], document["question"]]
        assert sample["filtered_resps"] == answer.answer.split(".")[0]
    kept = results["throughput"]
    retention = [answer.tokens.prefill_retention for answer in expected.values()]
    assert kept["avg_prefill_retention"] == pytest.approx(sum(retention) / len(retention))
    assert 0.4 < kept["avg_prefill_retention"] < 0.6
    assert 0 < kept["avg_decode_retention"] < kept["avg_prefill_retention"]
    assert kept["avg_unreadable"] == 0
    assert kept["total_gen_tokens"] == sum(answer.tokens.generated for answer in expected.values())


def test_what_does_not_fit_the_context_has_empty_answers(python: str, tmp_path: Path) -> None:
    """The results count its questions as unreadable, and the other videos are answered."""
    long = tmp_path / "long.mp4"
    write(long, count=240, size=(64, 48))
    documents = write_task(tmp_path, VIDEOS[:1], [str(long)])
    results, samples = evaluate(python, tmp_path, "method=full,frames=240")
    answers = {sample["doc_id"]: sample["filtered_resps"] for sample in samples}
    assert [answers[number] == "" for number in range(len(documents))] == [
        document["video"] == str(long) for document in documents
    ]
    assert results["throughput"]["avg_unreadable"] == 1
