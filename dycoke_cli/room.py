"""Whether a model and a video fit a device, before anything is loaded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dycoke_cli.errors import OutOfMemoryError, UsageError
from dycoke_cli.flops import TextShape
from dycoke_cli.methods import Method
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.sizes import KNOWN, QUANTIZED, SHAPES, Sizes
from dycoke_cli.tokens import Grid, VisualTokens

PROBE = 8  # frames that tell how much a method keeps: two whole windows of DyCoke
WIDTH = 4  # channels of the stand-in features
TEXT = 1024  # tokens of template, question and time instruction, at most
CHUNK = {"cpu": 4, "cuda": 16}  # frames that pass the vision tower together
# What a device needs beside tensors: workspaces of its libraries, and what its allocator loses to odd sizes.
RESERVE = {"cpu": 2**26, "cuda": 2**29}
_MEMORY, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Need:
    """Bytes that a run takes: arithmetic over sizes, never measured."""

    weights: int
    kv: int
    work: int  # the largest of what the vision tower and the prefill hold at once

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.work


@dataclass(frozen=True)
class Plan:
    """A model and a video, as sizes."""

    name: str
    sizes: Sizes
    text: TextShape
    vision: Any  # the vision tower's configuration
    frames: int
    share: float  # of the visual tokens that enter the language model
    room: int  # tokens that may be generated
    itemsize: int
    quantize: str | None = None

    def need(self, chunk: int, frames: int | None = None, quantize: str | None = None) -> Need:
        """Work out what a run takes, with other frames or another quantisation where given."""
        frames, quantize = frames or self.frames, quantize or self.quantize
        text, size = self.text, self.itemsize
        visual = frames * _per_frame(self.vision)
        length = int(visual * self.share) + TEXT
        kv = 2 * text.layers * text.kv_heads * text.head_dim * (length + self.room) * size
        # Residual stream, queries, keys and values, and three of the feed-forward part's widest at one layer.
        prefill = length * (3 * text.intermediate + 6 * text.hidden) + (visual + length) * text.hidden
        patches = min(chunk, frames) * (self.vision.image_size // self.vision.patch_size) ** 2
        inside = max(2 * self.vision.intermediate_size + 3 * self.vision.hidden_size, 3 * text.hidden)
        tower = patches * inside + visual * text.hidden
        return Need(self.sizes.weight_bytes(size, quantize), kv, max(prefill, tower) * size)


def plan(
    name: str, config: Any, sizes: Sizes, methods: Sequence[Method], frames: int, settings: Any, itemsize: int
) -> Plan:
    """Turn a model's full configuration, the methods that are to run and the settings of a run into sizes.

    itemsize: bytes of a number that is not quantised. The method that keeps most counts; without one, everything does.
    """
    text = TextShape.of(config.get_text_config())
    share = max((_share(method, settings.retain, text.layers) for method in methods), default=1.0)
    vision, quantize = config.vision_config, settings.quantize
    return Plan(name, sizes, text, vision, frames, share, settings.max_new_tokens, itemsize, quantize)


def _per_frame(vision: Any) -> int:
    """Count the visual tokens of a frame at most: pooled by two, and a newline after each row."""
    side = (vision.image_size // vision.patch_size + 1) // 2
    return int(side * (side + 1))


def _share(method: Method, retain: float | None, layers: int) -> float:
    """Let a method show on a short stand-in video how much it keeps."""
    stand_in = torch.rand(PROBE, 6, 6, WIDTH, generator=torch.Generator().manual_seed(0))
    try:
        kept = with_retain(method, retain, ModelFacts(layers, "one_token", True), Grid(PROBE, 6, 6))
        tokens = kept.compress(VisualTokens.whole(stand_in, stand_in[..., 0]))
    except UsageError:
        return 1.0  # the run will say what is wrong
    return len(tokens) / (PROBE * 36)


def refuse_what_cannot_fit(wanted: Plan, device: torch.device, free: int | None) -> None:
    """Raise OutOfMemoryError where a run needs more than `free` bytes (None: unknown), naming what would fit."""
    chunk, reserve = CHUNK[device.type], RESERVE[device.type]
    need = wanted.need(chunk)
    if free is None or need.total + reserve <= free:
        return

    def fits(other: Need) -> bool:
        return other.total + reserve <= free

    format_ = wanted.quantize or {2: "16 bits", 4: "float32"}[wanted.itemsize]
    shares = f"weights {_gib(need.weights)}, KV cache {_gib(need.kv)}, work {_gib(need.work)}"
    raise OutOfMemoryError(
        f"{wanted.name!r} in {format_} with {wanted.frames} frames needs {_gib(need.total + reserve)} "
        f"({shares}), and {device} has {_gib(free)} free",
        _remedy(wanted, chunk, fits),
    )


def _remedy(wanted: Plan, chunk: int, fits: Callable[[Need], bool]) -> str:
    ways = list(_ways(wanted, chunk, fits))
    hint = "--memory ignore tries all the same"
    return f"Would fit: {', '.join(ways)}. {hint}" if ways else f"Nothing that dycoke offers but demo would fit. {hint}"


def _ways(wanted: Plan, chunk: int, fits: Callable[[Need], bool]) -> Iterator[str]:
    """Name what would fit: fewer frames, fewer bits, both, a smaller model."""
    frames = [count for count in (64, 32, 16, 8, 4) if count < wanted.frames]
    if fewer := next((count for count in frames if fits(wanted.need(chunk, count))), None):
        yield f"--frames {fewer}"
    if wanted.itemsize == 4 and fits(replace(wanted, itemsize=2).need(chunk)):
        yield "--dtype bfloat16"
    for name in QUANTIZED if wanted.quantize is None else ():
        if fits(wanted.need(chunk, quantize=name)):
            yield f"--quantize {name}"
        elif fewer := next((count for count in frames if fits(wanted.need(chunk, count, name))), None):
            yield f"--quantize {name} --frames {fewer}"
    smaller = [name for name, sizes in KNOWN.items() if sizes.parameters < 0.9 * wanted.sizes.parameters]
    for name in sorted(smaller, key=lambda name: -KNOWN[name].parameters):
        if fits(replace(wanted, sizes=KNOWN[name], text=SHAPES[name]).need(chunk)):
            yield f"--model {name}"
            return


def free_memory(device: torch.device, every: bool = False) -> int | None:
    """Say how many bytes a device has free, or all CUDA devices together; None where the system does not tell.

    On a CPU: what Linux calls available, or what is left of the control group's limit where that is less.
    """
    if device.type == "cuda":
        devices = range(torch.cuda.device_count()) if every else [device]
        return sum(int(torch.cuda.mem_get_info(one)[0]) for one in devices)
    try:
        lines = _MEMORY.read_text().splitlines()
    except OSError:
        return None
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if free is None or limit is None or used is None:
        return free
    return min(free, max(0, limit - used))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 // 10 else f"{count / 2**20:.1f} MiB"
