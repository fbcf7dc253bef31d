"""`dycoke chat`: ask questions about a video, at a prompt or one per line from a pipe."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.completion import option_values
from dycoke_cli.cli.interrupt import Stopper, Terminated
from dycoke_cli.cli.streams import print_error
from dycoke_cli.errors import DyCokeError, UsageError

if TYPE_CHECKING:
    from dycoke_cli.cli.prompt import KeyboardPrompt, PipedLines
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.session.chat import Chat


@opt.add_settings(opt.SETTINGS.keys() - {"quantize", "device_map", "memory", "compile"})
def chat_command(
    video: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO",
            help="Video, picture, folder of pictures, or sample:cube.",
            autocompletion=option_values,
        ),
    ],
    *,
    stats: Annotated[
        bool, typer.Option("--stats", help="Print token counts, times and memory after each answer.")
    ] = False,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
    **flags: Any,
) -> None:
    """Ask one question after another about a video.

    The video is decoded, encoded and prefilled once. /help at the prompt lists commands: change the method or the
    frames, write a report, a trace or a transcript. Ctrl-C stops an answer; Ctrl-D, /quit, or Ctrl-C twice at the
    prompt ends the chat. From a pipe, each line is a question. Answers go to stdout, everything else to stderr.
    """
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.video.path import video_path

    if video == "-":
        raise UsageError("video and questions cannot both be read from stdin", "Save the video to a file first")
    video = video_path(video)
    settings = opt.merge_flags(flags, config)
    from dycoke_cli.cli.prompt import KeyboardPrompt, PipedLines
    from dycoke_cli.session.chat import Chat

    lines = KeyboardPrompt() if sys.stdin.isatty() else PipedLines()
    with Terminal(quiet=quiet, stats=stats, answers=True, several=False) as terminal:
        chat = Chat(video, settings, terminal.callbacks)
        terminal.bar.drop()
        if lines.interactive:
            terminal.notice(f"{chat.frames} frames, {chat.method_text}. /help lists commands, Ctrl-D leaves.")
        _talk(chat, lines, terminal)


def _talk(chat: "Chat", lines: "KeyboardPrompt | PipedLines", terminal: "Terminal") -> None:
    """Process lines until the input ends. At a terminal, an error does not end the chat."""
    from dycoke_cli.cli.chat_commands import ChatCommands

    commands = ChatCommands(chat, terminal.notice)
    stopper = Stopper(lines.interactive)
    while (line := lines.read()) is not None:
        try:
            with stopper:
                if line.startswith("/"):
                    if not commands.run(line):
                        return
                elif line:
                    _answer(chat, line, terminal, stopper)
                    commands.answered()
        except DyCokeError as error:
            if not lines.interactive:
                raise
            print_error(error.message, error.remedy)
        except KeyboardInterrupt as stop:
            if not lines.interactive or isinstance(stop, Terminated):
                raise
            if terminal.amid_line:
                terminal.answered("")
            terminal.notice("Stopped; the conversation is unchanged.")
        finally:
            terminal.bar.drop()


def _answer(chat: "Chat", question: str, terminal: "Terminal", stopper: Stopper) -> None:
    turn = chat.ask(question, replace(terminal.callbacks, phase=stopper.phase), stopper.stop_requested)
    if turn.answer.finish == "interrupted":
        terminal.notice("Stopped; the incomplete answer stays in the conversation.")
    if terminal.stats:
        terminal.finish(replace(chat.outcome(), answers=(turn.answer,)))
    elif terminal.console.is_terminal:
        from dycoke_cli.display.chat import turn_line

        terminal.console.print(turn_line(turn.answer, turn.reused, chat.conversation.context), soft_wrap=True)
