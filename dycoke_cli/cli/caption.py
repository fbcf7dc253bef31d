"""`dycoke caption`: caption every video in a folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dycoke_cli.cli import options as opt

PROMPT = "describe the video."


@opt.add_settings(opt.SETTINGS.keys() - opt.CACHE - {"preset", "quantize", "device_map", "memory"})
def caption_command(
    places: Annotated[
        list[str],
        typer.Argument(metavar="FOLDER", help="Folder of videos; several folders and single videos work too."),
    ],
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help=f"Prompt for each video. (default: {PROMPT})")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of questions for each video, one per line, instead of a prompt."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Output, one line per video. (default: captions.jsonl in FOLDER)"),
    ] = None,
    sidecar: Annotated[bool, typer.Option("--sidecar", help="Also write NAME.txt next to each video.")] = False,
    prepend: Annotated[str, typer.Option(metavar="TEXT", help="Text to write before the caption in NAME.txt.")] = "",
    append: Annotated[str, typer.Option(metavar="TEXT", help="Text to write after the caption in NAME.txt.")] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also search subfolders.")] = False,
    ext: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="File extensions, such as mp4,webm. (default: common ones of videos)"),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Process at most N videos in this run.")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Retry videos that failed earlier.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Caption all videos again, and replace any existing NAME.txt.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first video that fails.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
    batch_size: Annotated[
        str, typer.Option(metavar="N", help="Videos per batch; auto takes as many as fit into memory.")
    ] = "auto",
    decoders: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of decoder processes. (default: by the number of cores)"),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Process share I of N, from 1. (default: the SLURM array task)")
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes with a model each: one per GPU, or several on a CPU.")
    ] = 1,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="Where workers run: local, or ray for a cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster, with --engine ray. (default: this machine)")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
    **flags: Any,
) -> None:
    """Caption every video in a folder.

    Each video is one line of the output file, written as soon as it is done. A later run with the same output
    captions only new videos, and those whose prompt, model, method, frame count or file has changed. A video that
    fails is a line with the reason, and the run continues; --retry-errors tries it again. Ctrl-C or SIGTERM stops
    after the current batch, a second one stops immediately.
    """
    from dycoke_cli.captioning.request import Request, asked_questions
    from dycoke_cli.captioning.sidecar import Sidecars
    from dycoke_cli.cli.caption_run import run_captions
    from dycoke_cli.video.path import video_path

    settings = opt.merge_flags(flags, config)
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
    run_captions(request, dry_run, as_json, quiet)
