"""`dycoke doctor`: test what dycoke needs on this machine, with a remedy for each problem."""

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json

BROKEN = 1


def doctor_command(
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Test what dycoke needs on this machine, and print remedies.

    Tests Python, packages, settings, both video decoders on a bundled clip, the model hub and its cache folder,
    torch, GPU and driver, torchvision, and an answer of the bundled model. Use --json for bug reports. The exit code
    is 1 if something is broken.
    """
    import platform

    from rich.console import Console

    from dycoke_cli import __version__
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.display.doctor import result_row, results_record, verdict
    from dycoke_cli.doctor.checks import run_checks

    console = Console(highlight=False)
    results = []
    with Terminal(quiet=quiet, stats=False, answers=False, several=False) as terminal:
        for result in run_checks(lambda name: terminal.progress(f"Testing {name}", 0, 0)):
            terminal.bar.drop()
            results.append(result)
            if not as_json:
                console.print(result_row(result))
            terminal.progress("Testing the rest", 0, 0)
    if as_json:
        system = f"{platform.system()} {platform.machine()}"
        write_json(results_record(results, __version__, system))
    else:
        console.print(verdict(results), soft_wrap=True)
    if any(result.status == "broken" for result in results):
        raise typer.Exit(BROKEN)
