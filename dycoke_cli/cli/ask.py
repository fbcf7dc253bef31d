"""`dycoke ask`: answer questions about a video."""

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.completion import option_values
from dycoke_cli.cli.streams import write_json

if TYPE_CHECKING:
    from dycoke_cli.config.settings import Settings


def ask_command(
    video: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO",
            help="Video, picture, folder of pictures, - for stdin, or sample:cube.",
            autocompletion=option_values,
        ),
    ],
    questions: Annotated[
        list[str],
        typer.Argument(metavar="QUESTION", help="One or more questions.", autocompletion=option_values),
    ],
    preset: opt.Preset = None,
    model: opt.Model = None,
    method: opt.Method = None,
    option: opt.MethodOption = None,
    retain: opt.Retain = None,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    quantize: opt.Quantize = None,
    device_map: opt.DeviceMap = None,
    memory: opt.Memory = None,
    compile: opt.Compile = None,
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
    baseline: opt.Baseline = False,
    as_json: opt.Json = False,
    trace: opt.TraceFile = None,
    report: opt.ReportFile = None,
    stats: opt.Stats = None,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
) -> None:
    """Answer questions about a video.

    Answers are printed to stdout; the panel with token counts, times and memory to stderr.

    Without --model, a model that is already on this disk is used, else the small bundled demo,
    which is trained on drawn shapes only.
    """
    flags: dict[str, Any] = {key: value for key, value in locals().items() if key in opt.SETTINGS}
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.config.settings import merge_settings, parse_options, user_file
    from dycoke_cli.errors import UsageError
    from dycoke_cli.video.path import video_path

    video = video_path(video)
    flags["options"] = parse_options(option) if option else None
    settings, _ = merge_settings(flags, config, user_file=user_file())
    if any(not question.strip() for question in questions):
        raise UsageError("the question is empty", 'Ask something: dycoke ask video.mp4 "what happens?"')
    from dycoke_cli.display.output_files import check_outputs
    from dycoke_cli.display.records import ask_record, trace_record, write_whole
    from dycoke_cli.session.ask import ask

    check_outputs({"--trace": trace, "--report": report}, [video, config])  # before the run, not after it
    traced = trace is not None or report is not None
    with Terminal(quiet=quiet, stats=stats, answers=not as_json, several=len(questions) > 1) as terminal:
        outcome = ask(video, questions, settings, baseline, traced, terminal.callbacks)
        terminal.finish(outcome)
    if as_json:
        write_json(ask_record(outcome))
    if trace is not None:
        write_whole(trace, json.dumps(trace_record(outcome)) + "\n")
    if report is not None:
        from dycoke_cli.display.report import ask_runs, write_report

        settings = settings.model_copy(update={"model": outcome.model["name"]})
        command = _command(video, questions, settings, baseline)
        write_report(report, ask_runs(outcome), outcome.frames, outcome.model, settings.model_dump(), command)


def _command(video: str, questions: list[str], settings: "Settings", baseline: bool) -> str:
    """Return the shell command that repeats a run without its settings files and variables."""
    words = ["dycoke", "ask", *settings.as_flags(), *(["--baseline"] if baseline else [])]
    asked = [video, *questions]
    if any(word.startswith("-") for word in asked):
        asked.insert(0, "--")
    return shlex.join([*words, *asked])
