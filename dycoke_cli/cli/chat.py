"""`dycoke chat`: ask questions about a video, at a prompt or one per line from a pipe."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.completion import option_values
from dycoke_cli.cli.streams import print_error

if TYPE_CHECKING:
    from dycoke_cli.cli.prompt import KeyboardPrompt, PipedLines
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.session.chat import Chat


def chat_command(
    video: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO",
            help="Video, picture, folder of pictures, or sample:cube.",
            autocompletion=option_values,
        ),
    ],
    preset: opt.Preset = None,
    model: opt.Model = None,
    method: opt.Method = None,
    option: opt.MethodOption = None,
    retain: opt.Retain = None,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    newline: opt.Newline = None,
    pooling: opt.Pooling = None,
    row_newlines: opt.RowNewlines = None,
    frames: opt.Frames = None,
    fps: opt.Fps = None,
    max_frames: opt.MaxFrames = None,
    start: opt.Start = None,
    end: opt.End = None,
    sample: opt.Sample = None,
    decoder: opt.Decoder = None,
    video_timeout: opt.VideoTimeout = None,
    max_new_tokens: opt.MaxNewTokens = None,
    temperature: opt.Temperature = None,
    top_p: opt.TopP = None,
    seed: opt.Seed = None,
    repetition_penalty: opt.RepetitionPenalty = None,
    cache: opt.UseCache = None,
    cache_size: opt.CacheSize = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Print token counts, times and memory after each answer.")
    ] = False,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
) -> None:
    """Ask one question after another about a video.

    The video is decoded, encoded and prefilled once. /help at the prompt lists commands: change the method or the
    frames, write a report, a trace or a transcript. Ctrl-C stops an answer; Ctrl-D, /quit, or Ctrl-C twice at the
    prompt ends the chat. From a pipe, each line is a question. Answers go to stdout, everything else to stderr.
    """
    flags: dict[str, Any] = {key: value for key, value in locals().items() if key in opt.SETTINGS}
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.config.settings import merge_settings, parse_options, user_file
    from dycoke_cli.errors import UsageError
    from dycoke_cli.video.path import video_path

    if video == "-":
        raise UsageError("video and questions cannot both be read from stdin", "Save the video to a file first")
    video = video_path(video)
    flags["options"] = parse_options(option) if option else None
    settings, _ = merge_settings(flags, config, user_file=user_file())
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
    from dycoke_cli.cli.interrupt import Terminated
    from dycoke_cli.cli.stopper import Stopper
    from dycoke_cli.errors import DyCokeError

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


def _answer(chat: "Chat", question: str, terminal: "Terminal", stopper: Any) -> None:
    turn = chat.ask(question, replace(terminal.callbacks, phase=stopper.phase), stopper.stop_requested)
    if turn.answer.finish == "interrupted":
        terminal.notice("Stopped; the incomplete answer stays in the conversation.")
    if terminal.stats:
        terminal.finish(replace(chat.outcome(), answers=(turn.answer,)))
    elif terminal.console.is_terminal:
        from dycoke_cli.display.chat import turn_line

        terminal.console.print(turn_line(turn.answer, turn.reused, chat.conversation.context), soft_wrap=True)
