"""The bundled sample is one of the sample videos, and is wherever the package is installed."""

from pathlib import Path

import pytest

from dycoke_cli import sample

ROOT = Path(__file__).parents[1]


def test_it_is_one_of_the_sample_videos() -> None:
    """The same bytes, whose origin the manifest tells; small enough to be carried along."""
    assert sample.VIDEO.read_bytes() == (ROOT / "sample_videos" / sample.VIDEO.name).read_bytes()
    assert sample.VIDEO.stat().st_size < 60_000
    assert f"| {sample.VIDEO.name} |" in (ROOT / "sample_videos" / "MANIFEST.md").read_text()
    assert sample.QUESTION in (ROOT / "sample_videos" / "questions.yaml").read_text()


def test_it_is_in_the_wheel() -> None:
    """The build tool itself lists it among the files of a wheel, and the demo model with it."""
    wheel = pytest.importorskip("hatchling.builders.wheel")
    files = {file.distribution_path for file in wheel.WheelBuilder(str(ROOT)).recurse_included_files()}
    wanted = {sample.VIDEO, sample.VIDEO.parents[1] / "demo" / "model.safetensors"}
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= files
