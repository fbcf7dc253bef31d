"""The `dycoke` command: its subcommands, and the messages and exit codes of its errors."""

import os
import sys
from typing import Annotated

import typer

from dycoke_cli import __version__
from dycoke_cli.cli.ask import ask_command
from dycoke_cli.cli.bench import bench_command
from dycoke_cli.cli.cache import cache_app
from dycoke_cli.cli.caption import caption_command
from dycoke_cli.cli.chat import chat_command
from dycoke_cli.cli.compare import compare_command
from dycoke_cli.cli.config import config_app
from dycoke_cli.cli.doctor import doctor_command
from dycoke_cli.cli.eval import eval_command
from dycoke_cli.cli.interrupt import INTERRUPTED
from dycoke_cli.cli.methods import methods_command
from dycoke_cli.cli.models import models_app
from dycoke_cli.cli.streams import print_error, replace_unencodable
from dycoke_cli.errors import DyCokeError

UNEXPECTED = 1
USAGE = 2
COMPLETION = "_DYCOKE_COMPLETE"  # set by the shell when it requests completions

app = typer.Typer(
    name="dycoke",
    help="Ask questions about a video, with DyCoke token compression.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich for the help takes half a second
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask")(ask_command)
app.command("caption")(caption_command)
app.command("chat")(chat_command)
app.command("compare")(compare_command)
app.command("eval")(eval_command)
app.command("bench")(bench_command)
app.command("methods")(methods_command)
app.add_typer(config_app, name="config")
app.add_typer(cache_app, name="cache")
app.command("doctor")(doctor_command)
app.add_typer(models_app, name="models")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"dycoke {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Ask questions about a video, with DyCoke token compression."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Every error is printed as two lines: the problem with the value, and the remedy.
    """
    replace_unencodable()
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in arguments
    if COMPLETION in os.environ:
        os.environ["COLUMNS"] = "10000"  # Typer wraps help at this width; shells read a line as a word
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="dycoke", standalone_mode=False)
    except DyCokeError as error:
        if debug:
            raise
        return _fail(error.message, error.remedy, error.exit_code)
    except typer.TyperException as error:
        # format_message() has more detail than str().
        return _fail(error.format_message().rstrip("."), _help_for(arguments), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe. Output still in the buffer goes to devnull, where flushing cannot fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNEXPECTED
    except Exception as error:
        if debug:
            raise
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        return _fail(f"unexpected failure, {problem}", "Run again with --debug and report what it prints", UNEXPECTED)
    if code == INTERRUPTED:  # newer versions of Typer return an interruption as a code
        return _fail("interrupted", "", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _help_for(arguments: list[str]) -> str:
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    command = next((f" {argument}" for argument in arguments if argument in known), "")
    return f"See dycoke{command} --help"


def _fail(message: str, remedy: str, code: int) -> int:
    print_error(message, remedy)
    return code
