"""The `dycoke` command: its subcommands, and how failures end it."""

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
from dycoke_cli.cli.errors import print_error
from dycoke_cli.cli.eval import eval_command
from dycoke_cli.cli.interrupt import INTERRUPTED
from dycoke_cli.cli.methods import methods_command
from dycoke_cli.cli.models import models_app
from dycoke_cli.cli.streams import replace_what_cannot_be_encoded
from dycoke_cli.errors import DyCokeError

UNEXPECTED = 1
USAGE = 2
COMPLETION = "_DYCOKE_COMPLETE"  # a shell sets it when it asks what could come next

app = typer.Typer(
    name="dycoke",
    help="Ask a video a question, with DyCoke token compression.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the rich help needs half a second for its imports alone
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


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dycoke {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Ask a video a question, with DyCoke token compression."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Every failure ends as one line that says what and which value, and one that says what to do.
    """
    replace_what_cannot_be_encoded()
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in arguments
    if COMPLETION in os.environ:
        os.environ["COLUMNS"] = "10000"  # Typer breaks explanations at this width, and shells take each line for a word
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="dycoke", standalone_mode=False)
    except DyCokeError as error:
        if debug:
            raise
        return _complain(error.message, error.remedy, error.exit_code)
    except typer.TyperException as error:
        return _complain(_usage_message(error), _help_for(arguments), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNEXPECTED
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _complain(f"unexpected failure, {what}", "Run again with --debug and report what it prints", UNEXPECTED)
    if code == INTERRUPTED:  # newer versions of Typer give an interruption as a code
        return _complain("interrupted", "", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _usage_message(error: typer.TyperException) -> str:
    """Give the sentence of a parsing error, without its full stop; it knows more than the exception's text."""
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return str(text).rstrip(".")


def _help_for(arguments: list[str]) -> str:
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    command = next((f" {argument}" for argument in arguments if argument in known), "")
    return f"See dycoke{command} --help"


def _complain(message: str, remedy: str, code: int) -> int:
    print_error(message, remedy)
    return code
