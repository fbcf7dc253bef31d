"""Fuzz model loading with damaged checkpoints: each must answer or raise a ModelError, within time and memory bounds.

    uv run python -m benchmarks.fuzz_checkpoint [--cases 700] [--seed 0] [--out benchmarks/results/fuzz_checkpoint.json]

Tiny models of every family, one sharded and one in the original format, are damaged by the functions of
`checkpoint_damage`, loaded, and asked about a clip. The run fails if a case raises anything but a ModelError with a
message and a remedy, takes longer than DEADLINE_S, or allocates more than MOST_BYTES. The last line is one JSON
object.
"""

import collections
import os
import platform
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.checkpoint_damage import MUTATIONS
from benchmarks.command_line import option_parser, report_fuzzing
from dycoke_cli.cache.fingerprint import folder_fingerprint
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import ModelError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.models import checkpoints
from dycoke_cli.models.hub.cache import FILES
from dycoke_cli.session.load import load_model
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.measure import PeakMemory
from dycoke_cli.video.frames import Frames, VideoInfo
from tests.conftest import GOLDEN
from tests.models.families.tiny import MODELS, save

DEADLINE_S = 20.0
MOST_BYTES = 2**28  # of memory that a case may allocate; its files take a few MB
ADDRESS_SPACE = 8 * 2**30  # bytes above the use at the start; a larger allocation fails in this process
SETTINGS = Settings(max_new_tokens=3, device="cpu")


def whole_models(folder: Path, families: tuple[str, ...] = tuple(MODELS)) -> dict[str, Path]:
    """Save the undamaged checkpoints: the golden ones and a tiny model of each family."""
    whole = {name: GOLDEN / "checkpoints" / name for name in ("tiny-ov-tied", "tiny-video")}
    for name in families:
        whole[name] = save(name, folder / name)
    return whole


def clip() -> Video:
    """Return a clip of four frames of noise, without decoding."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 90, 120, 3), dtype=np.uint8)
    info = VideoInfo("clip", 4.0, 1.0, 4, 120, 90, "pyav", "test")
    return Video.of(Frames(pixels, (0, 1, 2, 3), (0.0, 1.0, 2.0, 3.0), info))


def outcome(folder: Path, shown: Video) -> str:
    """Load a model as a command does, ask it, and return the outcome: `answered`, `refused: ...` or `wrong: ...`."""
    method = Dycoke()
    try:
        checkpoint = checkpoints.locate(str(folder))
        folder_fingerprint(checkpoint.folder, FILES)
        model = load_model(checkpoint, SETTINGS, [method], (90, 120))
        list(Session(model, shown, method, SETTINGS).answers(["what?"], Callbacks()))
    except ModelError as error:
        valid = error.message.strip() and error.remedy.strip()
        return f"refused: {error.message}" if valid else f"wrong: no remedy for {error.message!r}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"wrong: {type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
    return "answered"


@dataclass
class Tally:
    """Outcomes, failures and resource use of all cases."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    by_mutation: dict[str, collections.Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    most_bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "outcomes": dict(self.outcomes.most_common()),
            "by_mutation": {name: dict(counter) for name, counter in sorted(self.by_mutation.items())},
            "failures": self.failures,
            "slowest_s": round(self.slowest_s, 2),
            "most_bytes": self.most_bytes,
        }


def cases(seed: int, count: int, whole: dict[str, Path], folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield a description, the mutation's name and the damaged folder, which the next step deletes."""
    names = list(whole)
    for place in range(count):
        rng = random.Random(f"{seed} {place}")
        name, mutation = names[place % len(names)], MUTATIONS[place // len(names) % len(MUTATIONS)]
        damaged = folder / f"case-{place}"
        shutil.copytree(whole[name], damaged)
        mutation(rng, damaged)
        yield f"case {place} of seed {seed}, {mutation.__name__} on {name}", mutation.__name__, damaged
        shutil.rmtree(damaged)


def fuzz(
    seed: int, count: int, whole: dict[str, Path], folder: Path, progress: Callable[[str], None] = lambda line: None
) -> Tally:
    """Load and ask `count` damaged models and record the outcomes."""
    tally, shown, memory = Tally(), clip(), PeakMemory(torch.device("cpu"))
    for case, mutation, damaged in cases(seed, count, whole, folder):
        memory.restart()
        began = time.monotonic()
        result = outcome(damaged, shown)
        took_s, grown = time.monotonic() - began, memory.above_start or 0
        word = result.partition(":")[0]
        line = f"{case}: {result} ({took_s:.1f} s, {grown / 2**20:.0f} MiB)"
        if word == "wrong" or took_s > DEADLINE_S or grown > MOST_BYTES:
            tally.failures.append(line)
        tally.outcomes[word] += 1
        tally.by_mutation.setdefault(mutation, collections.Counter())[word] += 1
        tally.slowest_s, tally.most_bytes = max(tally.slowest_s, took_s), max(tally.most_bytes, grown)
        progress(line)
    return tally


def main() -> None:
    """Run the cases; print the number of each outcome, the failures and one JSON line."""
    parser = option_parser(__doc__)
    parser.add_argument("--cases", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESS_SPACE, resource.RLIM_INFINITY))
    began = time.monotonic()

    def progress(line: str) -> None:
        if arguments.verbose or ": wrong" in line:
            print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        whole = whole_models(Path(folder))
        tally = fuzz(arguments.seed, arguments.cases, whole, Path(folder), progress)
    machine = {"system": platform.platform(), "torch": torch.__version__, "transformers": transformers.__version__}
    result = {"cases": arguments.cases, "seed": arguments.seed, "machine": machine, **tally.as_json()}
    print(f"{time.monotonic() - began:.0f} s, slowest {tally.slowest_s:.1f} s", file=sys.stderr)
    report_fuzzing(result, tally.outcomes.most_common(), tally.failures, arguments.out)


if __name__ == "__main__":
    main()
