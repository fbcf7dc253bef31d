"""`dycoke methods`: list the methods for -M, and explain their options."""

from typing import Annotated

import typer

from dycoke_cli.cli import completion
from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json


def methods_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Method to explain, or several joined by +.", autocompletion=completion.methods
        ),
    ] = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """List the compression methods, or explain one.

    This takes a few seconds, because it imports the methods and torch.
    """
    from rich.console import Console

    from dycoke_cli.methods.parsing import check_method

    if name:
        check_method(name, {})
    from dycoke_cli.display.methods import method_page, methods_table
    from dycoke_cli.methods.options import describe

    methods = describe(name or "")
    if as_json:
        write_json({"schema": 1, "methods": methods})
        return
    console = Console(highlight=False)
    for page in [method_page(method) for method in methods] if name else [methods_table(methods)]:
        console.print(page)
