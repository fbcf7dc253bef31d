"""`dycoke models`: what there is, what is on this disk, and fetching what is not."""

from typing import Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json

Name = Annotated[str, typer.Argument(metavar="NAME", help="A known name or a hub id; NAME@REVISION for a certain one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]

models_app = typer.Typer(help="List models, fetch them, say where they are.", rich_markup_mode=None)


@models_app.command("list")
def list_command(as_json: AsJson = False, debug: opt.Debug = False) -> None:
    """List the models that have names: size, memory that the weights need, and whether they are on this disk.

    Sizes are arithmetic over the models' shapes. A run needs memory for the video as well;
    it is checked before a model is loaded.
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
def pull_command(name: Name, as_json: AsJson = False, quiet: opt.Quiet = False, debug: opt.Debug = False) -> None:
    """Fetch a model, or check the one that is here against the hub's checksums.

    What was cut goes on where it stopped. The commit that was fetched stays what NAME means until NAME is pulled
    again; `--model NAME@REVISION` keeps several apart. HF_TOKEN opens private and gated models.
    """
    from rich.console import Console
    from rich.text import Text

    from dycoke_cli.errors import UsageError
    from dycoke_cli.models.names import address, fetch

    if name == "demo":
        raise UsageError("'demo' comes with dycoke", "Nothing is to be fetched")
    address(name)  # refused before the hub client is imported
    from huggingface_hub.utils import disable_progress_bars

    console = Console(stderr=True, quiet=quiet, highlight=False)
    if quiet or not console.is_terminal:
        disable_progress_bars()
    pulled = fetch(name, lambda line: console.print(Text(line), soft_wrap=True))
    found: dict[str, Any] = {"hub_id": pulled.hub_id, "revision": pulled.revision, "path": str(pulled.folder)}
    counts = {"bytes": pulled.bytes_total, "bytes_fetched": pulled.bytes_fetched}
    record = {"schema": 1, "name": name, **found, **counts}
    if as_json:
        write_json(record)
    else:
        typer.echo(str(pulled.folder))


@models_app.command("path")
def path_command(name: Name, debug: opt.Debug = False) -> None:
    """Print the folder of a model that is on this disk."""
    from dycoke_cli.errors import ModelError
    from dycoke_cli.models.names import find

    folder = find(name)
    if folder is None:
        raise ModelError(f"{name!r} is not on this disk", f"Fetch it with: dycoke models pull {name}")
    typer.echo(str(folder))
