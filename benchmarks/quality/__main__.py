"""Right answers under compression, on unseen clips of the easy and the hard world.

    uv run python -m benchmarks.quality [--clips 100] [--workers 2] [--out benchmarks/results/quality.json]

All arms see the same 16 frames, encoded once, with the same model, engine and questions. What was asked already is kept
in a file beside the results, so that a run that was stopped goes on. `--tables` prints the results as Markdown, and
`--readme` puts them into the README.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.quality.arms import all_arms, first_stages
from benchmarks.quality.grading import event_tokens, given_answers, grades
from benchmarks.quality.summary import summarise
from benchmarks.quality.tables import into_readme, tables
from dycoke_cli import checkpoints
from dycoke_cli.families.llava import Llava
from dycoke_cli.fingerprint import folder_fingerprint
from training.exam import paper

FRAMES = 16
# What only the course of time answers is asked twice: there compression can do harm.
QUOTA = {
    "colour": 1, "shape": 1, "exists": 1, "count": 1, "position": 1, "relation": 1,
    "motion": 2, "order": 2, "change": 2, "event": 2, "describe": 1,
}  # fmt: skip
ROOT = Path(__file__).parent.parent.parent

_model: list[Llava] = []  # of this process


def load() -> None:
    """Load the bundled model once in each process."""
    torch.set_num_threads(1)
    _model.append(checkpoints.load(checkpoints.locate("demo"), torch.device("cpu"), torch.float32))


@torch.inference_mode()
def examine(job: tuple[str, int]) -> dict[str, Any]:
    """Put every arm to one clip: its grades and shares by arm, and what is left of its short events."""
    (world, number), (model,) = job, _model
    clip = paper(number, FRAMES, world, QUOTA)
    whole = model.encode(clip.pixels, saliency=True)
    texts = [question.text for question in clip.questions]
    asked = []
    for arm in all_arms(model.facts, whole.grid):
        given, prefill, read = given_answers(model, arm.method(model.facts, whole.grid), whole, texts)
        asked.append(
            {"arm": arm.label, "seed": arm.seed, "prefill": prefill, "read": read, "grades": grades(clip, given)}
        )
    brief = event_tokens(clip.timeline, torch.from_numpy(clip.owners))
    survived = []
    for arm in first_stages(model.facts, whole.grid) if brief else ():
        kept = torch.zeros(whole.grid.total, dtype=torch.bool)
        kept[arm.method(model.facts, whole.grid).compress(whole).index] = True
        survived.append({"arm": arm.label, "events": [kept[places].float().mean().item() for places in brief]})
    return {"world": world, "clip": number, "asked": asked, "survived": survived}


def examined(jobs: list[tuple[str, int]], workers: int, kept: Path, head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the result of every job, taken from the file `kept` where it is there, else found and put there.

    A file that was made under another `head` (model, versions, questions) is begun anew.
    """
    lines = kept.read_text().splitlines() if kept.exists() else []
    known = [json.loads(line) for line in lines[1:]] if lines and json.loads(lines[0]) == head else []
    if not known:
        kept.write_text(json.dumps(head) + "\n")
    yield from (result for result in known if (result["world"], result["clip"]) in set(jobs))
    done = {(result["world"], result["clip"]) for result in known}
    left = [job for job in jobs if job not in done]
    with multiprocessing.get_context("spawn").Pool(workers, load) as pool, kept.open("a") as file:
        for result in pool.imap_unordered(examine, left):
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(f"{result['world']} {result['clip']}", flush=True)
            yield result


def main() -> None:
    """Parse, run, sum up, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100, help="clips of each world")
    parser.add_argument("--workers", type=int, default=2, help="processes, one CPU thread each")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/quality.json")
    parser.add_argument("--tables", action="store_true", help="print the tables of --out, run nothing")
    parser.add_argument("--readme", action="store_true", help="put the tables of --out into README.md, run nothing")
    given = parser.parse_args()
    if given.tables or given.readme:
        text = tables(json.loads(given.out.read_text()))
        if given.readme:
            into_readme(ROOT / "README.md", text)
        else:
            print(text)
        return
    head = {
        "model": folder_fingerprint(checkpoints.locate("demo").folder, checkpoints.FILES),
        "frames": FRAMES,
        "questions": QUOTA,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    jobs = [(world, number) for number in range(given.clips) for world in ("easy", "hard")]
    results = list(examined(jobs, given.workers, given.out.with_suffix(".partial.jsonl"), head))
    given.out.write_text(json.dumps(head | {"clips": given.clips} | summarise(results), indent=1) + "\n")
    print(tables(json.loads(given.out.read_text())))


if __name__ == "__main__":
    main()
