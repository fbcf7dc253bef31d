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
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.quality.examination import FRAMES, QUOTA, examine, load
from benchmarks.quality.summary import summarise
from benchmarks.quality.tables import into_readme, tables
from dycoke_cli.cache.fingerprint import folder_fingerprint
from dycoke_cli.models import checkpoints

ROOT = Path(__file__).parent.parent.parent


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
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, load) as pool, kept.open("a") as file:
        for future in as_completed([pool.submit(examine, job) for job in left]):
            result = future.result()
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
