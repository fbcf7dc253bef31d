"""Machine facts in records."""

import os
import platform

import torch
import transformers

from dycoke_cli.system.machine import machine_facts


def test_facts_of_a_cpu() -> None:
    """Processor name, cores this process may use, package versions."""
    facts = machine_facts(torch.device("cpu"))
    assert facts["cpu"]
    assert facts["cpu"] == facts["device_name"]
    assert 1 <= facts["cores"] <= (os.cpu_count() or 1)
    assert facts["python"] == platform.python_version()
    # Package metadata omits the local build suffix, such as +cpu.
    assert torch.__version__.startswith(facts["torch"])
    assert facts["transformers"] == transformers.__version__
