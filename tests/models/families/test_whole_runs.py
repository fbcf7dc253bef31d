"""Every family end to end, from a folder to an answer: the command, the session, the stock arm, and refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dycoke_cli.cli.app import run
from dycoke_cli.comparison.stock import StockGenerate
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import ModelError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.family import Family
from dycoke_cli.session.session import Session
from dycoke_cli.system.callbacks import Callbacks
from tests.models.families.tiny import MODELS
from tests.session.test_session import clip

CUBE = str(Path(__file__).parents[3] / "sample_videos" / "cube.mp4")
SETTINGS = Settings(max_new_tokens=5)


@pytest.mark.parametrize("name", list(MODELS))
def test_the_command(
    folders: dict[str, str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """`dycoke ask -m FOLDER` recognises the family; its token counts agree with the trace and the report."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    arguments = ["ask", CUBE, "what?", "-m", folders[name], "-n", "7", "--max-new-tokens", "4", "--json"]
    assert run([*arguments, "--trace", "trace.json", "--report", "report.html"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["model"]["family"] == name
    tokens = record["answers"][0]["tokens"]
    assert 0 < tokens["visual_prefill"] < tokens["visual"]
    trace = json.loads(Path("trace.json").read_text())
    frames = 4 if name.startswith("qwen") else 7
    assert sorted(set(trace["visual"]["frame"])) == list(range(frames))
    assert len(trace["visual"]["row"]) == tokens["visual"]
    assert (tmp_path / "report.html").read_text().count("data:image/jpeg") == frames


def test_several_questions_share_the_video(family: Family) -> None:
    """Answers, token counts and steps are those of a session with one question."""
    questions = ["What happens?", "What is it?"]
    session = Session(family, clip(7), Dycoke(), SETTINGS)
    session.warm_up()
    together = list(session.answers(questions, Callbacks()))
    for ours, question in zip(together, questions, strict=True):
        (alone,) = Session(family, clip(7), Dycoke(), SETTINGS).answers([question], Callbacks())
        assert (ours.answer, ours.tokens, ours.steps) == (alone.answer, alone.tokens, alone.steps)


def test_the_stock_arm_answers_as_the_uncompressed_run(family: Family) -> None:
    """Stock `generate` and the uncompressed run have the same answer, token counts and key-value bytes."""
    (ours,) = Session(family, clip(7), Full(), SETTINGS).answers(["What is it?"], Callbacks())
    theirs = StockGenerate(family, clip(7), SETTINGS.max_new_tokens).answer("What is it?")
    assert (theirs.answer, theirs.tokens, theirs.memory_bytes.kv) == (ours.answer, ours.tokens, ours.memory_bytes.kv)


def test_budgets_know_the_grid_of_the_frames(family: Family) -> None:
    """--retain is met for every family's grid."""
    settings = SETTINGS.model_copy(update={"retain": 0.6})
    (answer,) = Session(family, clip(8), Dycoke(), settings).answers(["What is it?"], Callbacks())
    assert answer.tokens.visual_prefill / answer.tokens.visual == pytest.approx(0.6, abs=0.05)


FOR_LLAVA = [("--row-newlines", "all"), ("--quantize", "int8"), ("--device-map", "auto")]


@pytest.mark.parametrize("flag", FOR_LLAVA, ids=str)
def test_options_for_llava_are_refused(
    folders: dict[str, str], flag: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An option for LLaVA only is refused by name for another family."""
    assert run(["ask", CUBE, "what?", "-m", folders["qwen3_vl"], "-n", "4", *flag]) == 2
    assert f"{flag[0]} is for LLaVA-OneVision and LLaVA-Video" in capsys.readouterr().err


def load(folder: Path) -> Family:
    return loading.load(checkpoints.locate(str(folder)), torch.device("cpu"), torch.float32)


def changed(source: str, folder: Path, part: str, **changes: Any) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    config[part].update(changes)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_sliding_windows_are_refused(folders: dict[str, str], tmp_path: Path) -> None:
    """A model with sliding-window layers is refused: the engine's layers attend to all positions."""
    kinds = ["full_attention"] * 3 + ["sliding_attention"] * 3
    options: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 8, "layer_types": kinds}
    with pytest.raises(ModelError, match="sliding window"):
        load(changed(folders["internvl"], tmp_path / "model", "text_config", **options))


def test_missing_weights_are_refused_in_every_family(folders: dict[str, str], tmp_path: Path) -> None:
    """A config.json with more layers than the file is refused, with the names of missing weights."""
    kind = {"num_hidden_layers": 7}
    with pytest.raises(ModelError, match=r"missing weights: .*layers\.6"):
        load(changed(folders["llava_next_video"], tmp_path / "model", "text_config", **kind))


@pytest.mark.parametrize("name", ["dycoke_official", "prumerge"])
def test_methods_that_do_not_fit_exit_2(folders: dict[str, str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """variant=official needs newlines, and prumerge needs saliency: this family has neither."""
    choice = ["-M", "dycoke", "-o", "variant=official"] if name == "dycoke_official" else ["-M", name]
    assert run(["ask", CUBE, "what?", "-m", folders["qwen2_5_vl"], "-n", "6", *choice]) == 2
    assert ("variant=official" if name == "dycoke_official" else "method prumerge needs") in capsys.readouterr().err
