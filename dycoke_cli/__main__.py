"""Entry point of `dycoke` and of `python -m dycoke_cli`."""

import logging
import os
import sys
import warnings


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if "--debug" not in sys.argv:
        _quieten_libraries()
    from dycoke_cli.cli.app import run
    from dycoke_cli.cli.interrupt import Termination

    Termination().install()
    code = run()
    # Every file, bar and child process is closed by now. os._exit skips the teardown of torch and transformers, which
    # takes a second.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1  # lost output is a failure
    os._exit(code)


def _quieten_libraries() -> None:
    """Hide Python warnings and library logs, which are for developers, in this process and its children.

    -W, PYTHONWARNINGS and the libraries' own verbosity variables take precedence.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):  # these two add their own handler for stderr
        os.environ.setdefault(name, "error")
    logging.getLogger().addHandler(logging.NullHandler())  # without a handler, logging prints warnings to stderr


if __name__ == "__main__":
    main()
