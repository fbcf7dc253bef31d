"""`dycoke config`: print settings and their origins, write a settings file, print the paths of settings files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json
from dycoke_cli.errors import UsageError

config_app = typer.Typer()


@config_app.callback(invoke_without_command=True)
def config_group(ctx: typer.Context) -> None:
    """Print settings and their origins, or write a settings file.

    Precedence: flags, then DYCOKE_* variables, then dycoke.yaml in this folder or the nearest parent, then your own
    dycoke.yaml. A preset ranks directly below the source that names it.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@config_app.command("show")
def show_command(
    preset: opt.Preset = None,
    config: opt.Config = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Print every setting with its value and origin."""
    from dycoke_cli.config.settings import merge_settings
    from dycoke_cli.config.settings_file import user_file

    settings, origins = merge_settings({"preset": preset}, config, user_file=user_file())
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
    """Print the settings files in use, the stronger first; if there are none, the path of your own."""
    from dycoke_cli.config.settings_file import nearest_file, user_file

    own = user_file()
    read = [path for path in (nearest_file(Path.cwd()), own if own.is_file() else None) if path is not None]
    for path in dict.fromkeys(read or [own]):
        typer.echo(str(path))
    if not read:
        typer.echo("It does not exist yet; `dycoke config init --user` writes it.", err=True)


@config_app.command("init")
def init_command(
    user: Annotated[bool, typer.Option("--user", help="Write your own file, which applies in every folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    debug: opt.Debug = False,
) -> None:
    """Write a dycoke.yaml with the meaning and default of every setting, all commented out."""
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.config.settings_file import FILE_NAME, user_file
    from dycoke_cli.display.output_files import check_writable, write_file
    from dycoke_cli.display.settings import settings_template

    path = user_file() if user else Path(FILE_NAME)
    if path.exists() and not force:
        raise UsageError(f"{str(path)!r} already exists", "Edit it, or replace it with --force")
    if user:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{str(path.parent)!r} cannot be created: {error.strerror}", "Leave out --user") from None
    check_writable(path)
    meanings = {key: option.help for key, option in opt.SETTINGS.items()}
    write_file(path, settings_template(Settings.model_validate({}).model_dump(), meanings))
    typer.echo(str(path))
