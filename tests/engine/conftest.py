"""Fixtures of the engine's tests."""

import pytest


@pytest.fixture(autouse=True)
def captured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture the first step of every run, however short it is."""
    monkeypatch.setattr("dycoke_cli.engine.graph.WARM_UPS", 0)
    monkeypatch.setattr("dycoke_cli.engine.graph.LEAST_LEFT", 0)
