"""Quantised weights: required libraries, unquantised modules, bytes, and answers compared with the unquantised model.

Runs need torchao and bitsandbytes, of the extra `quant`; without them they are skipped.
"""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from transformers.utils.quantization_config import QuantizationMethod

from dycoke_cli.errors import ModelError, UsageError
from dycoke_cli.evaluation.matching import matches
from dycoke_cli.models import checkpoints, loading, quantization
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.names import DEMO
from dycoke_cli.models.quantization import LIBRARY, quantization_config, quantized
from dycoke_cli.models.sizes import stored_sizes

CPU = torch.device("cpu")
SAMPLES = Path(__file__).parents[2] / "sample_videos"


def load(name: str | None) -> Llava:
    return loading.load(checkpoints.locate("demo"), CPU, torch.float32, quantize=name)


@pytest.mark.parametrize("name", LIBRARY)
def test_a_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the library and the extra to install, before the model is loaded."""
    monkeypatch.setattr(quantization, "find_spec", lambda library: None)
    with pytest.raises(ModelError, match=f"--quantize {name} needs") as caught:
        load(name)
    assert "dycoke[quant]" in caught.value.remedy


def test_spreading_needs_accelerate_and_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the missing requirement."""
    demo = checkpoints.locate("demo")
    with monkeypatch.context() as patched:
        patched.setattr(quantization, "find_spec", lambda library: None)
        with pytest.raises(ModelError, match="--device-map auto needs accelerate") as caught:
            loading.load(demo, CPU, torch.float32, spread=True)
        assert "dycoke[multi]" in caught.value.remedy
    monkeypatch.setattr(quantization, "require", lambda *words: None)
    with pytest.raises(UsageError, match="CUDA devices"):
        loading.load(demo, CPU, torch.float32, spread=True)


def test_a_quantised_checkpoint_is_not_quantised_again() -> None:
    """The error names the checkpoint's quantisation method."""
    with pytest.raises(ModelError, match="quantised already \\(awq\\)"):
        quantization_config("int8", {"quantization_config": {"quant_method": "awq"}}, torch.float32)


def test_a_broken_library_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for an installed library that cannot be imported contains the reason."""

    def broken(library: str) -> None:
        raise OSError("libcudart.so.12: cannot open")

    monkeypatch.setattr(quantization, "find_spec", lambda library: True)
    monkeypatch.setattr(quantization, "import_module", broken)
    with pytest.raises(ModelError, match="cannot be imported: libcudart"):
        quantization_config("int8", {}, torch.float32)


@pytest.mark.parametrize("name", LIBRARY)
def test_transformers_knows_the_libraries_by_these_names(name: str) -> None:
    """`quantized` recognises transformers' method of each library, installed or not, and no other method."""
    for method, expected in ((QuantizationMethod(LIBRARY[name]), name), (QuantizationMethod.AWQ, None)):
        config = SimpleNamespace(quantization_config=SimpleNamespace(quant_method=method))
        assert quantized(SimpleNamespace(config=config)) == expected


@pytest.mark.filterwarnings("default")  # the libraries warn
@pytest.mark.parametrize("name", LIBRARY)
def test_the_demo_answers_mostly_as_before(name: str) -> None:
    """The quantised demo has the computed bytes, an unchanged vision tower and head, and 75% of the same answers."""
    if find_spec(LIBRARY[name]) is None:
        pytest.skip(f"{LIBRARY[name]} is not installed")
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.session.ask import ask

    whole, small = load(None), load(name)
    assert (quantized(whole.model), quantized(small.model)) == (None, name)
    assert small.language_model.dtype == torch.float32
    tower, head = small.model.model.vision_tower.encoder.layers[0].mlp.fc1.weight, small.model.lm_head.weight
    assert torch.equal(tower, whole.model.model.vision_tower.encoder.layers[0].mlp.fc1.weight)
    assert torch.equal(head, whole.model.lm_head.weight)
    expected = stored_sizes(DEMO).weight_bytes(4, name)
    assert small.weight_bytes == pytest.approx(expected, rel=0.02)
    items = [item for item in yaml.safe_load((SAMPLES / "questions.yaml").read_text()) if item["video"] == "cube.mp4"]
    questions = [item["question"] for item in items if item["type"] != "describe"]
    answers = []
    for quantize in (None, name):
        settings = Settings(model="demo", quantize=quantize, max_new_tokens=8)
        outcome = ask(str(SAMPLES / "cube.mp4"), questions, settings)
        answers.append([answer.answer for answer in outcome.answers])
    assert outcome.model["quantize"] == name
    same = sum(matches(one, (other,), "exact") for one, other in zip(*answers, strict=True))
    assert same >= 0.75 * len(questions), answers
