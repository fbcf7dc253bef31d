"""Accuracy under compression, on unseen clips of the easy and the hard world.

    uv run python -m benchmarks.quality [--clips 100] [--workers 2] [--out benchmarks/results/quality.json]

All arms use the same 16 frames, encoded once, with the same model, engine and questions. Results of finished clips are
stored in a file beside the results, so that an interrupted run resumes. `--tables` prints the results as Markdown, and
`--readme` writes them into the README.
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

from benchmarks.quality.clip_evaluation import FRAMES, QUOTA, evaluate_clip, load
from benchmarks.quality.summary import summarise
from benchmarks.quality.tables import into_readme, tables
from dycoke_cli.cache.fingerprint import folder_fingerprint
from dycoke_cli.models import checkpoints
from dycoke_cli.models.hub.cache import FILES

ROOT = Path(__file__).parent.parent.parent


def evaluated(jobs: list[tuple[str, int]], workers: int, kept: Path, head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the result of every job (world, clip), read from the file `kept` or computed and appended to it.

    A file with another `head` (model, versions, questions) is overwritten.
    """
    lines = kept.read_text().splitlines() if kept.exists() else []
    known = [json.loads(line) for line in lines[1:]] if lines and json.loads(lines[0]) == head else []
    if not known:
        kept.write_text(json.dumps(head) + "\n")
    yield from (result for result in known if (result["world"], result["clip"]) in set(jobs))
    done = {(result["world"], result["clip"]) for result in known}
    remaining = [job for job in jobs if job not in done]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, load) as pool, kept.open("a") as file:
        for future in as_completed([pool.submit(evaluate_clip, job) for job in remaining]):
            result = future.result()
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(f"{result['world']} {result['clip']}", flush=True)
            yield result


def main() -> None:
    """Evaluate all clips and write the results, or print or publish the tables of an existing results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100, help="clips of each world")
    parser.add_argument("--workers", type=int, default=2, help="processes, one CPU thread each")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/quality.json")
    parser.add_argument("--tables", action="store_true", help="print the tables of --out, run nothing")
    parser.add_argument("--readme", action="store_true", help="write the tables of --out into README.md, run nothing")
    given = parser.parse_args()
    if given.tables or given.readme:
        text = tables(json.loads(given.out.read_text()))
        if given.readme:
            into_readme(ROOT / "README.md", text)
        else:
            print(text)
        return
    head = {
        "model": folder_fingerprint(checkpoints.locate("demo").folder, FILES),
        "frames": FRAMES,
        "questions": QUOTA,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    jobs = [(world, number) for number in range(given.clips) for world in ("easy", "hard")]
    results = list(evaluated(jobs, given.workers, given.out.with_suffix(".partial.jsonl"), head))
    given.out.write_text(json.dumps(head | {"clips": given.clips} | summarise(results), indent=1) + "\n")
    print(tables(json.loads(given.out.read_text())))


if __name__ == "__main__":
    main()
