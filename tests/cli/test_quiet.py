"""Warnings and logs of libraries are hidden, except with --debug."""

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
MESSAGES = ("an argument is deprecated", "extensions are skipped", "requests are unauthenticated", "weights are unused")


@pytest.mark.smoke
@pytest.mark.parametrize("flags", [(), ("--debug",)])
def test_library_messages_appear_only_with_debug(flags: tuple[str, ...]) -> None:
    """Python warnings, and log lines of loggers with and without their own handler."""
    removed = ("PYTHONWARNINGS", "TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY")
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    done = subprocess.run([sys.executable, "-c", NOISY, *flags], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert [text for text in MESSAGES if text in done.stderr] == (list(MESSAGES) if flags else [])
    assert bool(done.stderr) == bool(flags)
