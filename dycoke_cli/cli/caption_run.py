"""`dycoke caption` once its options are read: call, tell, present."""

import os
import shlex
import sys
from typing import TYPE_CHECKING

from dycoke_cli.cli.streams import write_json

if TYPE_CHECKING:
    from rich.console import Console

    from dycoke_cli.captioning.item import Item
    from dycoke_cli.captioning.job import Job
    from dycoke_cli.captioning.output import Output
    from dycoke_cli.captioning.plan import Plan
    from dycoke_cli.captioning.request import Request
    from dycoke_cli.captioning.run import Tally
    from dycoke_cli.captioning.shard import Shard
    from dycoke_cli.captioning.summary import Summary


def carry_out(request: "Request", dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Find the videos, do what is left, and say what it came to."""
    from rich.console import Console

    from dycoke_cli.captioning.output import Output, known_beside
    from dycoke_cli.captioning.plan import plan_of
    from dycoke_cli.captioning.sidecar import left_alone
    from dycoke_cli.captioning.summary import summarise
    from dycoke_cli.display.output_files import check_writable

    console = Console(stderr=True, quiet=quiet, highlight=False)
    share = request.share(os.environ)
    items = _items(request, share, console)
    if not dry_run:
        # Before a model is looked for, which may be a download.
        check_writable(share.output(request.file) if share else request.file)
        if request.sidecars is not None:
            request.sidecars.check(items)
    job = request.job()
    if dry_run:
        known = known_beside(request.file)
        plan = plan_of(items, known, job.recipe, request.retry_errors, request.overwrite, request.limit)
        _estimate(job, plan, as_json)
        return
    with Output(request.file, share) as output:
        plan = plan_of(items, output.known, job.recipe, request.retry_errors, request.overwrite, request.limit)
        if not output.locked:
            _notice(console, "This disk knows no locks: do not start a second run on the same output.")
        tally, stopped = _captioned(request, job, plan, output, console)
        if request.sidecars is not None:
            records = [output.known[item.id] for item in items if item.id in output.known]
            if alone := left_alone(records):
                _notice(console, f"{_videos(alone)} had a text by somebody else, which stays: --overwrite replaces it")
    summary = summarise(tally, plan.kept)
    if tally.records or plan.kept or stopped is None:
        _show(summary, request, job, as_json)
    _end(summary, stopped)


def _estimate(job: "Job", plan: "Plan", as_json: bool) -> None:
    """Print what a run would do."""
    from rich.console import Console

    from dycoke_cli.captioning.estimate import estimate_of
    from dycoke_cli.display.captions import SCHEMA, estimate_table

    estimate = estimate_of(job, plan)
    if as_json:
        write_json({"schema": SCHEMA, "dry_run": True, **estimate.described})
    else:
        console = Console(highlight=False)
        for part in estimate_table(estimate):
            console.print(part, soft_wrap=True)
    sys.stdout.flush()


def _items(request: "Request", share: "Shard | None", console: "Console") -> "list[Item]":
    """Find this run's share of the videos, and tell of what was left out. Raises InputError where there is none."""
    from dycoke_cli.errors import InputError
    from dycoke_cli.video.image_sequence import list_pictures

    found = request.find()
    if found.again:
        _notice(console, f"{_videos(len(found.again))} found twice, by another name or a link: done once")
    if found.below:
        _notice(console, f"{_videos(found.below)} in folders below are left out: add --recursive for them")
    if not found.items:
        named = ", ".join(repr(str(place)) for place in request.places)
        remedy = "Name another folder, or its endings with --ext"
        if pictures := [place for place in request.places if place.is_dir() and list_pictures(str(place))]:
            remedy = f"Its pictures are one video for: dycoke ask {shlex.quote(str(pictures[0]))} QUESTION"
        raise InputError(f"no videos are in {named}", remedy)
    if share is None:
        return list(found.items)
    mine = [item for item in found.items if share.holds(item)]
    where = "" if request.shard else ", from SLURM_ARRAY_TASK_ID; --shard 1/1 does all of them"
    _notice(console, f"Shard {share.number} of {share.count}: {len(mine)} of {_videos(len(found.items))}{where}")
    return mine


def _captioned(
    request: "Request", job: "Job", plan: "Plan", output: "Output", console: "Console"
) -> "tuple[Tally, BaseException | None]":
    """Carry the plan out; what stopped it comes back beside what was done until then."""
    from dycoke_cli.captioning.run import CaptionRun
    from dycoke_cli.cli.interrupt import Interrupt
    from dycoke_cli.display.captions import CaptionProgress
    from dycoke_cli.models.checkpoints import DEMO_NOTICE

    if plan.todo and job.settings.model == "demo" and request.settings.model == "auto":
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

    from dycoke_cli.display.captions import summary_record, summary_table, visible

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
