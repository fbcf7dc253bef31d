"""`dycoke config`: what the settings are and where they come from, a file to begin with, and where it lies."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json

config_app = typer.Typer(help="Show where settings come from, or begin a file of them.")


@config_app.callback(invoke_without_command=True)
def config_group(ctx: typer.Context) -> None:
    """Show where settings come from, or begin a file of them.

    Flags win over DYCOKE_* variables, over dycoke.yaml here or in a parent folder, over your own dycoke.yaml.
    A preset stands right below whatever names it.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@config_app.command("show")
def show_command(
    preset: opt.Preset = None,
    config: opt.Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    debug: opt.Debug = False,
) -> None:
    """Print every setting with its value and where it comes from."""
    from dycoke_cli.config.settings import merged, user_file

    settings, origins = merged({"preset": preset}, config, user_file=user_file())
    values: dict[str, Any] = {}
    for key, value in settings.model_dump().items():
        values |= (
            {f"options.{name}": text for name, text in value.items()} if key == "options" and value else {key: value}
        )
    if as_json:
        record = {key: {"value": value, "origin": origins[key]} for key, value in values.items()}
        write_json({"schema": 1, "settings": record})
        return
    from rich.console import Console

    from dycoke_cli.display.settings import settings_table

    Console(highlight=False).print(settings_table(values, origins, Path.cwd(), Path.home()))


@config_app.command("path")
def path_command(debug: opt.Debug = False) -> None:
    """Print the files that are read, the stronger one first; without any, where yours would be."""
    from dycoke_cli.config.settings_file import nearest_file, user_file

    own = user_file()
    read = [path for path in (nearest_file(Path.cwd()), own if own.is_file() else None) if path is not None]
    for path in dict.fromkeys(read or [own]):
        typer.echo(str(path))
    if not read:
        typer.echo("It is not there yet; `dycoke config init --user` writes it.", err=True)


@config_app.command("init")
def init_command(
    user: Annotated[bool, typer.Option("--user", help="Write your own file, for every folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    debug: opt.Debug = False,
) -> None:
    """Write a dycoke.yaml with every setting, its meaning and default, all commented out."""
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.config.settings_file import FILE_NAME, user_file
    from dycoke_cli.display.output_files import check_writable
    from dycoke_cli.display.records import write_whole
    from dycoke_cli.display.settings import settings_template
    from dycoke_cli.errors import UsageError

    path = user_file() if user else Path(FILE_NAME)
    if path.exists() and not force:
        raise UsageError(f"{str(path)!r} is there already", "Edit it, or replace it with --force")
    if user:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{str(path.parent)!r} cannot be made: {error.strerror}", "Leave out --user") from None
    check_writable(path)
    write_whole(path, settings_template(Settings.model_validate({}).model_dump(), _meanings()))
    typer.echo(str(path))


def _meanings() -> dict[str, str]:
    """Give the help of each setting's flag, by its key."""
    from typing import get_type_hints

    from dycoke_cli.cli.ask import ask_command

    hints = get_type_hints(ask_command, include_extras=True)
    keyed = {key: hints[key] for key in opt.SETTINGS} | {"options": hints["option"]}
    return {key: hint.__metadata__[0].help for key, hint in keyed.items()}
