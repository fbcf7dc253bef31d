"""What libraries have to say to developers stays off the terminal, unless somebody asks for it."""

import os
import subprocess
import sys

import pytest

NOISY = """
import logging, sys, warnings
from dycoke_cli.cli import app

def noisy():
    warnings.warn("an argument is deprecated", FutureWarning)
    logging.getLogger("torchao").warning("extensions are skipped")
    from huggingface_hub.utils import logging as hub
    hub.get_logger("huggingface_hub.file_download").warning("requests are unauthenticated")
    from transformers.utils import logging as transformers
    transformers.get_logger("transformers.modeling_utils").warning("weights are unused")
    return 0

app.run = noisy
from dycoke_cli.__main__ import main
main()
"""
SAID = ("an argument is deprecated", "extensions are skipped", "requests are unauthenticated", "weights are unused")


@pytest.mark.smoke
@pytest.mark.parametrize("asked", [(), ("--debug",)])
def test_libraries_are_heard_with_debug_alone(asked: tuple[str, ...]) -> None:
    """Warnings of Python and lines of loggers, with a handler of their own and without one."""
    kept = ("PYTHONWARNINGS", "TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY")
    environment = {name: value for name, value in os.environ.items() if name not in kept}
    done = subprocess.run([sys.executable, "-c", NOISY, *asked], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert [said for said in SAID if said in done.stderr] == (list(SAID) if asked else [])
    assert bool(done.stderr) == bool(asked)
