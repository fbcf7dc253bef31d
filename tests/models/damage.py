"""Edit checkpoints, and load them or return the error that refuses them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dycoke_cli.errors import ModelError
from dycoke_cli.models import checkpoints, loading


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refusal(folder: Path) -> ModelError:
    """Return the error of `locate`, which builds no model; it has a remedy and one line."""
    with pytest.raises(ModelError) as caught:
        checkpoints.locate(str(folder))
    assert caught.value.remedy
    assert "\n" not in caught.value.message
    return caught.value


def loaded(folder: Path) -> Any:
    return loading.load(checkpoints.locate(str(folder)), torch.device("cpu"), torch.float32)
