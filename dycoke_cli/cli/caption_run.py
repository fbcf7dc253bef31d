"""The run of `dycoke caption` after its options are parsed: find videos, caption them, print the summary."""

import os
import shlex
import sys
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.output import Output, read_all_records
from dycoke_cli.captioning.plan import Plan, plan_of
from dycoke_cli.captioning.request import Request
from dycoke_cli.captioning.run import Tally, run_plan
from dycoke_cli.captioning.shard import Shard
from dycoke_cli.captioning.sidecar import count_unwritten
from dycoke_cli.captioning.summary import Summary, summarise
from dycoke_cli.cli.interrupt import Interrupt
from dycoke_cli.cli.streams import write_json
from dycoke_cli.display.captions import CaptionProgress, estimate_table, summary_record, summary_table, visible
from dycoke_cli.display.output_files import check_writable
from dycoke_cli.display.records import SCHEMA
from dycoke_cli.errors import FailedItemsError, InputError
from dycoke_cli.models.checkpoints import DEMO_NOTICE
from dycoke_cli.video.image_sequence import list_images


def run_captions(request: Request, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Find the videos, caption those that need it, and print a summary, or with `dry_run` an estimate."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    share = request.share(os.environ)
    items = _find_items(request, share, console)
    if not dry_run:
        # Before the model is located, which may download it.
        check_writable(share.output(request.file) if share else request.file)
        if request.sidecars is not None:
            request.sidecars.check(items)
    job = request.job()
    if dry_run:
        known = read_all_records(request.file)
        plan = plan_of(items, known, job.recipe, request.retry_errors, request.overwrite, request.limit)
        _print_estimate(job, plan, as_json)
        return
    with Output(request.file, share) as output:
        plan = plan_of(items, output.known, job.recipe, request.retry_errors, request.overwrite, request.limit)
        if not output.locked:
            _notice(console, "This file system has no file locks: do not start a second run with the same output.")
        tally, stopped = _caption(request, job, plan, output, console)
        if request.sidecars is not None:
            records = [output.known[item.id] for item in items if item.id in output.known]
            if alone := count_unwritten(records):
                _notice(
                    console, f"{_videos(alone)} had a text file not written by dycoke, which is kept; see --overwrite"
                )
    summary = summarise(tally, plan.kept)
    if tally.records or plan.kept or stopped is None:
        _print_summary(summary, request, job, as_json)
    _raise_failures(summary, stopped)


def _print_estimate(job: Job, plan: Plan, as_json: bool) -> None:
    """Print what a run would do, with its tokens and its memory."""
    from dycoke_cli.captioning.estimate import estimate_of  # imports torch

    estimate = estimate_of(job, plan)
    if as_json:
        write_json({"schema": SCHEMA, "dry_run": True, **asdict(estimate)})
    else:
        console = Console(highlight=False)
        for part in estimate_table(estimate):
            console.print(part, soft_wrap=True)
    sys.stdout.flush()


def _find_items(request: Request, share: Shard | None, console: Console) -> list[Item]:
    """Return this run's share of the videos, and print which were left out. Raises InputError if there are none."""
    found = request.find()
    if found.duplicates:
        _notice(console, f"{_videos(len(found.duplicates))} found twice, by another name or a link: captioned once")
    if found.skipped_in_subfolders:
        _notice(
            console,
            f"{_videos(found.skipped_in_subfolders)} in subfolders are left out: add --recursive to include them",
        )
    if not found.items:
        named = ", ".join(repr(str(place)) for place in request.places)
        remedy = "Name another folder, or its file extensions with --ext"
        if pictures := [place for place in request.places if place.is_dir() and list_images(str(place))]:
            remedy = f"To use its pictures as one video: dycoke ask {shlex.quote(str(pictures[0]))} QUESTION"
        raise InputError(f"no videos are in {named}", remedy)
    if share is None:
        return list(found.items)
    mine = [item for item in found.items if share.holds(item)]
    where = "" if request.shard else ", from SLURM_ARRAY_TASK_ID; --shard 1/1 processes all of them"
    _notice(console, f"Shard {share.number} of {share.count}: {len(mine)} of {_videos(len(found.items))}{where}")
    return mine


def _caption(
    request: Request, job: Job, plan: Plan, output: Output, console: Console
) -> tuple[Tally, BaseException | None]:
    """Run the plan; return its tally, and the exception that stopped it, if any."""
    if plan.todo and job.settings.model == "demo" and request.settings.model == "auto":
        _notice(console, DEMO_NOTICE)
    if plan.kept:
        _notice(console, f"{len(plan.kept)} of {_videos(len(plan.kept) + len(plan.todo))} are kept from before")
    if plan.changed:
        _notice(console, f"{_videos(plan.changed)} had an outdated caption: captioned again")
    with CaptionProgress(console) as progress:
        tally = Tally(len(plan.todo) + len(plan.kept), len(plan.kept))
        message = "Finishing the current batch; Ctrl-C again stops immediately"
        with Interrupt(lambda: _notice(console, message)) as interrupt:
            try:
                run_plan(request, job, plan, output, tally, progress.update, lambda: interrupt.requested)
            except (KeyboardInterrupt, Exception) as error:
                return tally, error
            return tally, KeyboardInterrupt() if interrupt.requested else None


def _print_summary(summary: Summary, request: Request, job: Job, as_json: bool) -> None:
    """Print the summary as a table or as one JSON object."""
    if as_json:
        settings = job.settings
        method = {"name": settings.method, "options": settings.options, "retain": settings.retain}
        described = {
            "output": str(request.file), "questions": list(job.questions), "model": settings.model, "method": method
        }  # fmt: skip
        write_json(summary_record(summary, described))
    else:
        console = Console(highlight=False)
        for part in summary_table(summary):
            console.print(part)
        console.print(f"Captions: {visible(str(request.file))}", soft_wrap=True, markup=False)
    sys.stdout.flush()  # a full disk raises here


def _raise_failures(summary: Summary, stopped: BaseException | None) -> None:
    """Raise the exception that stopped the run, or FailedItemsError if videos failed."""
    if stopped is not None:
        raise stopped
    if summary.failed:
        raise FailedItemsError(
            f"{summary.failed} of {_videos(summary.videos)} have no caption: the output contains the reasons",
            "Repair or replace them and run again; --retry-errors also retries unchanged files",
        )


def _notice(console: Console, line: str) -> None:
    console.print(Text(line, style="yellow"), soft_wrap=True)


def _videos(count: int) -> str:
    return f"{count:,} video{'' if count == 1 else 's'}"
