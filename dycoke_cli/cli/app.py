"""The `dycoke` command: its subcommands, and how failures end it."""

import os
import sys
from typing import Annotated

import click
import typer

from dycoke_cli import __version__
from dycoke_cli.cli.ask import ask_command
from dycoke_cli.errors import DyCokeError

INTERRUPTED = 130
UNEXPECTED = 1
USAGE = 2

app = typer.Typer(
    name="dycoke",
    help="Ask a video a question, with DyCoke token compression.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask")(ask_command)


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
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="dycoke", standalone_mode=False)
    except DyCokeError as error:
        if debug:
            raise
        return _complain(error.message, error.remedy, error.exit_code)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        usage = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "dycoke"
        return _complain(error.format_message().rstrip("."), f"See {usage} --help", USAGE)
    except KeyboardInterrupt:
        return _complain("interrupted", "", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has had enough; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNEXPECTED
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _complain(f"unexpected failure, {what}", "Run again with --debug and report what it prints", UNEXPECTED)
    return code if isinstance(code, int) else 0


def _complain(message: str, remedy: str, code: int) -> int:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble(("dycoke: ", "bold red"), one_line(message)))
    if remedy:
        console.print(Text(f"  {one_line(remedy)}", style="dim"))
    return code


def one_line(text: str) -> str:
    """Show line breaks and control characters, which file names may hold, instead of obeying them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
