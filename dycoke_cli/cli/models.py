"""`dycoke models`: list the known models, fetch a model, print the folder of a model."""

from typing import Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json
from dycoke_cli.errors import ModelError, UsageError

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Known name or hub id; NAME@REVISION for a branch, tag or commit.")
]

models_app = typer.Typer(help="List models, fetch them, print their folders.", rich_markup_mode=None)


@models_app.command("list")
def list_command(as_json: opt.Json = False, debug: opt.Debug = False) -> None:
    """List the known models.

    Prints parameters, memory of the weights, and whether a model is on this disk. Sizes are computed from the models'
    shapes. A run also needs memory for the video, which is checked before a model is loaded.
    """
    from rich.console import Console

    from dycoke_cli.display.models import models_record, models_table
    from dycoke_cli.models.names import known_models

    models = known_models()
    if as_json:
        write_json({"schema": 1, "models": models_record(models)})
    else:
        Console(highlight=False).print(models_table(models))


@models_app.command("pull")
def pull_command(name: Name, as_json: opt.Json = False, quiet: opt.Quiet = False, debug: opt.Debug = False) -> None:
    """Fetch a model, or verify it by the hub's checksums.

    An interrupted download resumes. NAME refers to the commit that was fetched until NAME is pulled again;
    NAME@REVISION keeps several revisions. HF_TOKEN gives access to private and gated models.
    """
    from rich.console import Console
    from rich.text import Text

    from dycoke_cli.models.names import address, fetch

    if name == "demo":
        raise UsageError("'demo' comes with dycoke", "It needs no download")
    address(name)  # raises for a wrong name before the hub client is imported
    from huggingface_hub.utils import disable_progress_bars

    console = Console(stderr=True, quiet=quiet, highlight=False)
    if quiet or not console.is_terminal:
        disable_progress_bars()
    pulled = fetch(name, lambda line: console.print(Text(line), soft_wrap=True))
    found: dict[str, Any] = {"hub_id": pulled.hub_id, "revision": pulled.revision, "path": str(pulled.folder)}
    counts = {"bytes": pulled.bytes_total, "bytes_fetched": pulled.bytes_fetched}
    if as_json:
        write_json({"schema": 1, "name": name, **found, **counts})
    else:
        typer.echo(str(pulled.folder))


@models_app.command("path")
def path_command(name: Name, debug: opt.Debug = False) -> None:
    """Print the folder of a model that is on this disk."""
    from dycoke_cli.models.names import find

    folder = find(name)
    if folder is None:
        raise ModelError(f"{name!r} is not on this disk", f"Fetch it with: dycoke models pull {name}")
    typer.echo(str(folder))
