"""Entry point: `dycoke`, and `python -m dycoke_cli`."""

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
    # By now every file, bar and child process is closed. What is left is taking torch's and transformers' modules
    # apart, which takes a second and helps nobody.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1  # output that was lost is no success
    os._exit(code)


def _quieten_libraries() -> None:
    """Keep Python's warnings and what libraries log off the terminal, here and in child processes.

    They are for developers. Whoever asks for them, with -W or a variable, gets them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):  # these two log to the terminal by themselves
        os.environ.setdefault(name, "error")
    logging.getLogger().addHandler(logging.NullHandler())  # without any, warnings go to the terminal


if __name__ == "__main__":
    main()
