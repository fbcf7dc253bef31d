"""The process of one part: `python -m benchmarks.gpu.child NAME FOLDER DEVICE SECONDS`."""

import sys
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.job import Job
from dycoke_cli.cli.interrupt import INTERRUPTED, Termination
from dycoke_cli.errors import DyCokeError


def main(name: str, folder: str, device: str, seconds: str) -> int:
    """Measure one part and return the exit code; whatever ends it, what it has measured is written."""
    Termination().install()
    job = Job(name, Path(folder), device, float(seconds))
    try:
        import_module(f"benchmarks.gpu.parts.{name}").measure(job)
    except DyCokeError as error:
        print(f"{error.message}. {error.remedy}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        job.save()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
