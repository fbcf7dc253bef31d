"""`dycoke caption`: parse, call, present."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt

if TYPE_CHECKING:
    from rich.console import Console

    from dycoke_cli.captioning.item import Item
    from dycoke_cli.captioning.job import Job
    from dycoke_cli.captioning.plan import Plan
    from dycoke_cli.captioning.request import Request
    from dycoke_cli.captioning.run import Tally
    from dycoke_cli.captioning.shard import Shard
    from dycoke_cli.captioning.summary import Summary

PROMPT = "describe the video."


def caption_command(
    places: Annotated[
        list[Path], typer.Argument(metavar="FOLDER", help="A folder of videos; several, or single videos, are fine.")
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
    gives a line that says why, and the others go on; --retry-errors tries it again.
    """
    flags: dict[str, Any] = {key: value for key, value in locals().items() if key in opt.SETTINGS}
    from dycoke_cli.captioning.request import Request, asked_questions
    from dycoke_cli.captioning.sidecar import Sidecars
    from dycoke_cli.settings import merged, parse_options, user_file

    flags["options"] = parse_options(option) if option else None
    settings, _ = merged(flags, config, user_file=user_file())
    request = Request(
        places=tuple(places),
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
    _carry_out(request, dry_run, as_json, quiet)


def _carry_out(request: "Request", dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Find the videos, do what is left, and say what it came to."""
    from rich.console import Console

    from dycoke_cli.captioning.output import Output, known_beside
    from dycoke_cli.captioning.plan import plan_of
    from dycoke_cli.captioning.summary import summarise

    console = Console(stderr=True, quiet=quiet, highlight=False)
    share = request.share(os.environ)
    items = _items(request, share, console)
    job = request.job()
    if dry_run:
        known = known_beside(request.file)
        plan = plan_of(items, known, job.recipe, request.retry_errors, request.overwrite, request.limit)
        _forecast(job, plan, as_json)
        return
    with Output(request.file, share) as output:
        plan = plan_of(items, output.known, job.recipe, request.retry_errors, request.overwrite, request.limit)
        if request.sidecars is not None:
            request.sidecars.check(items)
        if not output.locked:
            _notice(console, "This disk knows no locks: do not start a second run on the same output.")
        tally, stopped = _captioned(request, job, plan, output, console)
    summary = summarise(tally, plan.kept)
    if tally.records or plan.kept or stopped is None:
        _show(summary, request, job, as_json)
    _end(summary, stopped)


def _forecast(job: "Job", plan: "Plan", as_json: bool) -> None:
    """Print what a run would do."""
    from rich.console import Console

    from dycoke_cli.captioning.forecast import forecast_of
    from dycoke_cli.present.captions import SCHEMA, forecast_table

    forecast = forecast_of(job, plan)
    if as_json:
        sys.stdout.write(json.dumps({"schema": SCHEMA, "dry_run": True, **forecast.described}) + "\n")
    else:
        console = Console(highlight=False)
        for part in forecast_table(forecast):
            console.print(part, soft_wrap=True)
    sys.stdout.flush()


def _items(request: "Request", share: "Shard | None", console: "Console") -> "list[Item]":
    """Find this run's share of the videos, and tell of what was left out. Raises InputError where there is none."""
    from dycoke_cli.errors import InputError

    found = request.find()
    if found.again:
        _notice(console, f"{_videos(len(found.again))} found twice, by another name or a link: done once")
    if found.below:
        _notice(console, f"{_videos(found.below)} in folders below are left out: add --recursive for them")
    if not found.items:
        named = ", ".join(repr(str(place)) for place in request.places)
        raise InputError(f"no videos are in {named}", "Name another folder, or its endings with --ext")
    if share is None:
        return list(found.items)
    mine = [item for item in found.items if share.holds(item)]
    where = "" if request.shard else ", from SLURM_ARRAY_TASK_ID; --shard 1/1 does all of them"
    _notice(console, f"Shard {share.number} of {share.count}: {len(mine)} of {_videos(len(found.items))}{where}")
    return mine


def _captioned(
    request: "Request", job: "Job", plan: "Plan", output: Any, console: "Console"
) -> "tuple[Tally, BaseException | None]":
    """Carry the plan out; what stopped it comes back beside what was done until then."""
    from dycoke_cli.captioning.interrupt import Interrupt
    from dycoke_cli.captioning.run import CaptionRun
    from dycoke_cli.checkpoints import DEMO_NOTICE
    from dycoke_cli.present.captions import CaptionProgress

    if plan.todo and job.settings.model == "demo":
        _notice(console, DEMO_NOTICE)
    if plan.kept:
        _notice(console, f"{len(plan.kept)} of {_videos(len(plan.kept) + len(plan.todo))} are kept from before")
    if plan.changed:
        _notice(console, f"{plan.changed} had a caption that no longer holds: they are done again")
    with CaptionProgress(console) as progress:
        run = CaptionRun(plan, output, request.sidecars, progress.update, request.fail_fast)
        told = "Finishing what the model is at; Ctrl-C again ends at once"
        with Interrupt(lambda: _notice(console, told)) as interrupt:
            try:
                run.run(lambda items, stopped: request.records(job, items, stopped), lambda: interrupt.asked)
            except (KeyboardInterrupt, Exception) as error:
                return run.tally, error
            return run.tally, KeyboardInterrupt() if interrupt.asked else None


def _show(summary: "Summary", request: "Request", job: "Job", as_json: bool) -> None:
    """Print what the run came to: a table, or one object."""
    from rich.console import Console

    from dycoke_cli.present.captions import summary_record, summary_table, visible

    if as_json:
        settings = job.settings
        method = {"name": settings.method, "options": settings.options, "retain": settings.retain}
        described = {
            "output": str(request.file), "questions": list(job.questions), "model": settings.model, "method": method
        }  # fmt: skip
        sys.stdout.write(json.dumps(summary_record(summary, described)) + "\n")
    else:
        console = Console(highlight=False)
        for part in summary_table(summary):
            console.print(part)
        console.print(f"Captions: {visible(str(request.file))}", soft_wrap=True, markup=False)
    sys.stdout.flush()  # here, where a full disk is still reported


def _end(summary: "Summary", stopped: BaseException | None) -> None:
    """End a run as it went. Raises what stopped it, and FailedItemsError where videos failed."""
    from dycoke_cli.errors import FailedItemsError

    if stopped is not None:
        raise stopped
    if summary.failed:
        raise FailedItemsError(
            f"{summary.failed} of {_videos(summary.videos)} have no caption: the output says why",
            "Mend or replace them and run again; --retry-errors tries those that are as they were",
        )


def _notice(console: "Console", line: str) -> None:
    from rich.text import Text

    console.print(Text(line, style="yellow"), soft_wrap=True)


def _videos(count: int) -> str:
    return f"{count:,} video{'' if count == 1 else 's'}"
