"""Check that a run fits the memory of a device, by arithmetic over sizes, before the model is loaded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch

from dycoke_cli.capacity.footprint import prefill_values, remaining_tokens, visual_values
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.prefill import TOGETHER
from dycoke_cli.errors import OutOfMemoryError, UsageError
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.models.families.family import CHUNK, Outline, Size
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.families.original_llava import SIGLIP_SO400M
from dycoke_cli.models.flops import TextShape
from dycoke_cli.models.sizes import KNOWN, QUANTIZED, SHAPES, Sizes
from dycoke_cli.tokens import Grid

PROBE = Grid(8, 6, 6)  # of the video with which a method's retention is determined: two whole windows of DyCoke
TEXT = 1024  # tokens of template, question and time instruction, at most
# Bytes needed beside tensors: workspaces of libraries, and fragmentation of the allocator.
RESERVE = {"cpu": 2**26, "cuda": 2**29}


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a run needs; computed from sizes, never measured."""

    weights: int
    kv: int
    work: int  # activations: the larger of the vision tower's and the prefill's

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.work


@dataclass(frozen=True)
class RunSizes:
    """The sizes of a run that decide its memory: of model, video and methods."""

    name: str
    sizes: Sizes
    text: TextShape
    outline: Outline
    frames: int
    size: Size  # of the frames
    share: float  # of the visual tokens that enter the language model
    unchunked: bool  # a method prunes inside the prefill, which then runs the whole prompt at once
    max_new_tokens: int
    itemsize: int
    device: torch.device
    quantize: str | None = None

    def need(self, frames: int | None = None, quantize: str | None = None) -> MemoryNeed:
        """Return the memory that the run needs, or would need with other frames or another quantisation."""
        frames, quantize = frames or self.frames, quantize or self.quantize
        text, levels = self.text, self.outline.levels
        grid = self.outline.grid(frames, self.size)
        kept = int(grid.total * self.share)
        length = int(self.outline.video_length(grid) * self.share) + TEXT
        together = length if self.unchunked else min(length, TOGETHER[self.device.type])
        visual = visual_values(text, levels, grid.total)
        prompt = (length + kept * levels) * text.hidden
        prefill = visual + prompt + prefill_values(text, levels, together, self.device)
        patches = min(CHUNK[self.device.type], grid.frames) * self.outline.patches_of(frames, self.size)
        tower = visual + self.outline.tower_activations(patches)
        return MemoryNeed(
            self.sizes.weight_bytes(self.itemsize, quantize),
            kv=text.kv_values_per_position * (length + self.max_new_tokens) * self.itemsize,
            work=max(prefill, tower) * self.itemsize,
        )


def run_sizes(
    name: str,
    outline: Outline,
    sizes: Sizes,
    methods: Sequence[Method],
    frames: int,
    size: Size,
    settings: Settings,
    device: torch.device,
    itemsize: int,
) -> RunSizes:
    """Return the sizes of a run, of which the method that retains most decides; without methods, all tokens count.

    itemsize: bytes of a weight that is not quantised.
    """
    text = TextShape.of(outline.model.config.get_text_config())
    share = max((_share(method, settings.retain, text.layers) for method in methods), default=1.0)
    unchunked, room = any(method.prefill_pruner() is not None for method in methods), settings.max_new_tokens
    return RunSizes(
        name, sizes, text, outline, frames, size, share, unchunked, room, itemsize, device, settings.quantize
    )


def _share(method: Method, retain: float | None, layers: int) -> float:
    """Return the share of visual tokens that a method retains, by running it on random features of a short video."""
    try:
        kept = with_retain(method, retain, ModelFacts(layers, "one_token", True), PROBE)
        return len(remaining_tokens(kept, PROBE)) / PROBE.total
    except UsageError:
        return 1.0  # the run itself raises it with its message


def check_fit(wanted: RunSizes, free: int | None) -> None:
    """Raise OutOfMemoryError if a run needs more than `free` bytes (None: unknown); the remedy lists what would fit."""
    reserve, need = RESERVE[wanted.device.type], wanted.need()
    if free is None or need.total + reserve <= free:
        return

    def fits(other: MemoryNeed) -> bool:
        return other.total + reserve <= free

    format_ = wanted.quantize or {2: "16 bits", 4: "float32"}[wanted.itemsize]
    shares = f"weights {_gib(need.weights)}, KV cache {_gib(need.kv)}, work {_gib(need.work)}"
    raise OutOfMemoryError(
        f"{wanted.name!r} in {format_} with {wanted.frames} frames needs {_gib(need.total + reserve)} "
        f"({shares}), and {wanted.device} has {_gib(free)} free",
        _remedy(wanted, fits),
    )


def _remedy(wanted: RunSizes, fits: Callable[[MemoryNeed], bool]) -> str:
    ways = list(_ways(wanted, fits))
    hint = "--memory ignore tries all the same"
    return f"Would fit: {', '.join(ways)}. {hint}" if ways else f"Nothing that dycoke offers but demo would fit. {hint}"


def _ways(wanted: RunSizes, fits: Callable[[MemoryNeed], bool]) -> Iterator[str]:
    """Yield options that would fit: fewer frames, fewer bits, both, a smaller model."""
    frames = [count for count in (64, 32, 16, 8, 4) if count < wanted.frames]
    if fewer := next((count for count in frames if fits(wanted.need(count))), None):
        yield f"--frames {fewer}"
    if wanted.itemsize == 4 and fits(replace(wanted, itemsize=2).need()):
        yield "--dtype bfloat16"
    for name in QUANTIZED if wanted.outline.quantizable and wanted.quantize is None else ():
        if fits(wanted.need(quantize=name)):
            yield f"--quantize {name}"
        elif fewer := next((count for count in frames if fits(wanted.need(count, name))), None):
            yield f"--quantize {name} --frames {fewer}"
    smaller = [name for name, sizes in KNOWN.items() if sizes.parameters < 0.9 * wanted.sizes.parameters]
    for name in sorted(smaller, key=lambda name: -KNOWN[name].parameters):
        if fits(replace(wanted, sizes=KNOWN[name], text=SHAPES[name], outline=_known(name)).need()):
            yield f"--model {name}"
            return


def _known(name: str) -> Outline:
    """Return the outline of a released model: LLaVA with its vision tower, in the layout with most newlines."""
    vision, text = SimpleNamespace(**SIGLIP_SO400M), SimpleNamespace(hidden_size=SHAPES[name].hidden)
    config = SimpleNamespace(vision_config=vision, text_config=text)
    return Llava(SimpleNamespace(config=config), None, VideoLayout("grid"))


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 // 10 else f"{count / 2**20:.1f} MiB"
