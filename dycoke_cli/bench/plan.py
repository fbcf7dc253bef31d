"""Turn the options of `bench` into a plan: the network, the cases and the arms to measure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from dycoke_cli.bench.case import Case
from dycoke_cli.bench.random_model import Shape
from dycoke_cli.bench.target import CPU, GPU, target_cases
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.arm import Arm
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import choose_device
from dycoke_cli.system.free_memory import free_bytes

BYTES_FOR_7B = 24e9  # free memory: weights in bfloat16, and stock `generate` on 64 frames
# Defaults; a bench with the CPU values takes half a minute.
DEMO_FRAMES, DEMO_TOKENS = (8, 16, 32), 16
GPU_FRAMES, GPU_TOKENS = (16, 32, 64), 128


@dataclass(frozen=True)
class Plan:
    """What to measure on each of `cases`: `arms` on this engine, and transformers' `generate` if `stock`.

    compiled_stock: whether `generate` with a compiled forward is an arm too; "if_possible": if there is a compiler.
    compiled_stock_cases: it runs on so many of the first cases, each of which it compiles anew; None: on all.
    """

    shape: Shape
    cases: tuple[Case, ...]
    arms: tuple[Arm, ...]
    stock: bool
    repeats: int
    settings: Settings  # device, dtype, and the decoding options of the video
    video: str | None = None  # a file; None: frames of noise
    threads: int | None = None  # of the CPU; None: torch's default
    compiled_stock: Literal["no", "yes", "if_possible"] = "no"
    compiled_stock_cases: int | None = None

    def runs(self, label: str, number: int) -> bool:
        """Return whether an arm runs on the case with this number, from 0."""
        limited = label == STOCK_COMPILED and self.compiled_stock_cases is not None
        return not limited or number < (self.compiled_stock_cases or 0)

    @property
    def stocks(self) -> list[str]:
        """The arms of transformers alone, from `parsing.STOCKS`."""
        return [STOCK] * self.stock + [STOCK_COMPILED] * (self.compiled_stock != "no")


@dataclass(frozen=True)
class BenchOptions:
    """The options of the command; None: the default for the device."""

    shape: str | None = None
    layers: int | None = None
    frames: tuple[int, ...] | None = None
    visual_tokens: tuple[int, ...] | None = None
    batch: tuple[int, ...] = (1,)
    new_tokens: int | None = None
    repeats: int = 3
    video: str | None = None
    threads: int | None = None


def make_plan(
    wish: BenchOptions, arms: Sequence[Arm], stock: bool, settings: Settings, compiled_stock: bool | None = False
) -> Plan:
    """Build a plan with one case for each combination of size and batch.

    compiled_stock: None: on CUDA, if there is a compiler; on a CPU compiling takes minutes. Only cases with batch 1
    include vision: the vision tower encodes a few frames at a time for any batch, so its time does not depend on it.
    Raises UsageError.
    """
    device = choose_device(settings.device)
    shape = Shape(wish.shape or _default_shape(device), wish.layers)
    small = device.type == "cpu"
    new_tokens = wish.new_tokens or (DEMO_TOKENS if small else GPU_TOKENS)
    frames = wish.frames or (DEMO_FRAMES if small else GPU_FRAMES)
    if wish.visual_tokens is not None:
        if wish.frames is not None or wish.video is not None:
            raise UsageError(
                "--visual-tokens runs no vision, so it cannot be combined with frames", "Leave out --frames and --video"
            )
        frames = tuple(_frames_of(shape, count) for count in wish.visual_tokens)
    grid = shape.outline(torch.float32).grid
    cases = tuple(
        Case(count, grid(count).total, batch, new_tokens, batch == 1 and wish.visual_tokens is None)
        for batch in wish.batch
        for count in frames
    )
    compiled = _default_compiled_stock(device) if compiled_stock is None else "yes" if compiled_stock else "no"
    return Plan(shape, cases, tuple(arms), stock, wish.repeats, settings, wish.video, wish.threads, compiled)


def target_plan(settings: Settings, repeats: int = 3) -> Plan:
    """Return the plan that measures the targets of `target.py` for the device of the settings."""
    device = choose_device(settings.device)
    arms = (Arm.of("full", {}), Arm.of("dycoke", {}))
    if device.type == "cuda":
        cases, compiled = target_cases(device.type), _default_compiled_stock(device)
        return Plan(
            Shape(GPU.shape), cases, arms, True, repeats, settings,
            compiled_stock=compiled, compiled_stock_cases=1,  # no target is beside it, and compiling takes a minute
        )  # fmt: skip
    return Plan(Shape(CPU.shape), (CPU.case,), arms, True, repeats, settings, threads=CPU.threads)


def with_compilers(plan: Plan, device: torch.device, callbacks: Callbacks) -> Plan:
    """Return the plan without the compiled `generate` if it is included by default and there is no compiler.

    Raises UsageError if a compiler is missing for anything else that is to be compiled.
    """
    from dycoke_cli.engine.compiled import check_compiler

    if plan.settings.compile:
        check_compiler(device)
    if plan.compiled_stock == "no":
        return plan
    try:
        check_compiler(device, STOCK_COMPILED)
    except UsageError as error:
        if plan.compiled_stock == "yes":
            raise
        callbacks.notice(f"{STOCK_COMPILED} is left out: {error.message}")
        return replace(plan, compiled_stock="no")
    return plan


def _default_compiled_stock(device: torch.device) -> Literal["no", "if_possible"]:
    """Return whether `generate` with a compiled forward is an arm by default: not on a CPU, where compiling is slow."""
    return "if_possible" if device.type == "cuda" else "no"


def whole_numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Parse `16,32,64`. Raises UsageError with the name of the option for anything else."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(f"{option} {text!r} is no list of different whole numbers above 0", f"Write {option} 16,32,64")
    return tuple(map(int, parts))


def _default_shape(device: torch.device) -> str:
    """Return the default shape for a device."""
    if device.type == "cpu":
        return "demo"
    return "7b" if free_bytes(device) >= BYTES_FOR_7B else "0.5b"


def _frames_of(shape: Shape, tokens: int) -> int:
    """Return the number of frames with so many visual tokens; raise UsageError if it is not whole."""
    per_frame = replace(shape, layers=1).outline(torch.float32).grid(1).total
    if tokens % per_frame:
        raise UsageError(
            f"--visual-tokens {tokens} is no whole number of frames, each of {per_frame} tokens in this shape",
            f"Use {max(1, round(tokens / per_frame)) * per_frame}",
        )
    return tokens // per_frame
