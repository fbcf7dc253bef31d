"""Fixtures: a tiny model of each family, saved to a folder and loaded from it."""

import pytest
import torch

from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.family import Family
from tests.models.families.tiny import MODELS, save


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One folder per family, with a tiny model."""
    return {name: str(save(name, tmp_path_factory.mktemp(name))) for name in MODELS}


@pytest.fixture(scope="session")
def loaded(folders: dict[str, str]) -> dict[str, Family]:
    """Each family's model in float32."""
    cpu = torch.device("cpu")
    return {name: loading.load(checkpoints.locate(folder), cpu, torch.float32) for name, folder in folders.items()}


@pytest.fixture(params=list(MODELS))
def family(request: pytest.FixtureRequest, loaded: dict[str, Family]) -> Family:
    """Each family in turn."""
    return loaded[request.param]
