"""`dycoke caption`: parse, call, present."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dycoke_cli.cli import options as opt

PROMPT = "describe the video."


def caption_command(
    places: Annotated[
        list[str], typer.Argument(metavar="FOLDER", help="A folder of videos; several, or single videos, are fine.")
    ],
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help=f"What the model is asked. (default: {PROMPT})")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask each video all of these instead, one a line.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="One line a video. (default: captions.jsonl in FOLDER)")
    ] = None,
    sidecar: Annotated[bool, typer.Option("--sidecar", help="Also write NAME.txt beside each video.")] = False,
    prepend: Annotated[str, typer.Option(metavar="TEXT", help="Put this before the caption in NAME.txt.")] = "",
    append: Annotated[str, typer.Option(metavar="TEXT", help="Put this after the caption in NAME.txt.")] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also look in the folders below.")] = False,
    ext: Annotated[
        str | None, typer.Option(metavar="LIST", help="Endings of videos, as mp4,webm. (default: the usual ones)")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="No more than so many videos now.")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Try again what failed before.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do everything again, NAME.txt of others included.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End with the first video that fails.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    batch_size: Annotated[
        str, typer.Option(metavar="N", help="Videos that run together; auto takes as many as fit. (default: auto)")
    ] = "auto",
    decoders: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that decode ahead. (default: by the cores)")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="One of N shares, from 1. (default: SLURM's array task)")
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes with a model each, one a GPU or several on a CPU.")
    ] = 1,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="local, or ray for a cluster. (default: local)")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The cluster, with --engine ray. (default: this machine)")
    ] = None,
    model: opt.Model = None,
    method: opt.Method = None,
    option: opt.MethodOption = None,
    retain: opt.Retain = None,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
) -> None:
    """Caption every video in a folder, and go on where an earlier run ended.

    Each video becomes one line of the output file, at once. Run again, only what is missing is done: what is new,
    and whatever another prompt, model, method, frame count or file makes another caption. A video that fails
    gives a line that says why, and the others go on; --retry-errors tries it again. Ctrl-C or SIGTERM
    finishes what the model is at, and a second one ends at once.
    """
    flags: dict[str, Any] = {key: value for key, value in locals().items() if key in opt.SETTINGS}
    from dycoke_cli.captioning.request import Request, asked_questions
    from dycoke_cli.captioning.sidecar import Sidecars
    from dycoke_cli.cli.caption_run import carry_out
    from dycoke_cli.config.settings import merged, parse_options, user_file
    from dycoke_cli.video.path import video_path

    flags["options"] = parse_options(option) if option else None
    settings, _ = merged(flags, config, user_file=user_file())
    request = Request(
        places=tuple(Path(video_path(place)) for place in places),
        settings=settings,
        questions=asked_questions(prompt, questions, PROMPT),
        captioned=questions is None,
        output=output,
        sidecars=Sidecars(prepend, append, overwrite) if sidecar or prepend or append else None,
        recursive=recursive,
        ext=ext,
        limit=limit,
        retry_errors=retry_errors,
        overwrite=overwrite,
        fail_fast=fail_fast,
        batch_size=batch_size,
        decoders=decoders,
        shard=shard,
        workers=workers,
        engine=engine,
        ray_address=ray_address,
    )
    carry_out(request, dry_run, as_json, quiet)
