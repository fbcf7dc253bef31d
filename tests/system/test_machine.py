"""Records say what they were measured on."""

import os
import platform

import torch
import transformers

from dycoke_cli.system.machine import machine_facts


def test_facts_of_a_cpu() -> None:
    """A processor with a name, the cores this process may use, the versions that ran."""
    facts = machine_facts(torch.device("cpu"))
    assert facts["cpu"]
    assert facts["cpu"] == facts["device_name"]
    assert 1 <= facts["cores"] <= (os.cpu_count() or 1)
    assert facts["python"] == platform.python_version()
    # The metadata leaves out which build of a version it is.
    assert torch.__version__.startswith(facts["torch"])
    assert facts["transformers"] == transformers.__version__
