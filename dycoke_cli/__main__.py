"""Entry point: `dycoke`, and `python -m dycoke_cli`."""

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from dycoke_cli.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
