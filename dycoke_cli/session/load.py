"""The model that the settings ask for: chosen, checked against the device's memory, and loaded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.checkpoints import Checkpoint
from dycoke_cli.models.names import find
from dycoke_cli.system.callbacks import Callbacks

if TYPE_CHECKING:
    import torch

    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.models.families.family import Family, Outline, Size


def choose_checkpoint(settings: Settings) -> Checkpoint:
    """Return the checkpoint that the settings name; `auto` chooses one that is on this disk. Raises ModelError."""
    return checkpoints.locate(checkpoints.choose_auto() if settings.model == "auto" else settings.model)


def notice_demo(checkpoint: Checkpoint, settings: Settings, callbacks: Callbacks) -> None:
    """Tell the user if `auto` chose the demo model."""
    if checkpoint.name == "demo" and settings.model == "auto":
        callbacks.notice(checkpoints.DEMO_NOTICE)


def load_model(
    checkpoint: Checkpoint,
    settings: Settings,
    methods: "Sequence[Method]" = (),
    size: "Size | None" = None,
) -> "Family":
    """Load a model on the device, in the dtype and with the layout that the settings ask for.

    methods: that will run, if known, which are checked against the model; size: of the frames, if known. Raises a
    DyCokeError; OutOfMemoryError for what cannot fit the device before anything is loaded.
    """
    loading.refuse_broken_torchvision()
    from dycoke_cli.system.device import choose_device, choose_dtype, out_of_memory_explained

    with out_of_memory_explained():
        device = choose_device(settings.device)
        dtype = choose_dtype(settings.dtype, device)
        given = {key: getattr(settings, key) for key in ("newline", "pooling", "row_newlines")}
        layout = {key: value for key, value in given.items() if value is not None}
        spread = settings.device_map == "auto"
        if settings.compile:
            _check_compiler(device, spread)
        if settings.memory == "check":
            outline = checkpoints.outline(checkpoint, **layout)
            _check_memory(checkpoint, settings, methods, size, outline, device, dtype)
        model = loading.load(checkpoint, device, dtype, settings.quantize, spread, **layout)
    for method in methods:
        method.check(model.facts)
    return model


def _check_compiler(device: "torch.device", spread: bool) -> None:
    """Raise UsageError if decode steps cannot be compiled on this device."""
    from dycoke_cli.engine.compiled import check_compiler

    if spread:
        raise UsageError("--compile is for a model on one device, and --device-map auto is several", "Leave one out")
    check_compiler(device)


def _check_memory(
    checkpoint: Checkpoint,
    settings: Settings,
    methods: "Sequence[Method]",
    size: "Size | None",
    outline: "Outline",
    device: "torch.device",
    dtype: "torch.dtype",
) -> None:
    """Raise OutOfMemoryError if the run needs more memory than is free; frames of unknown size count as HD."""
    from dycoke_cli.capacity.fit import check_fit, run_sizes
    from dycoke_cli.models.families.family import HD
    from dycoke_cli.models.sizes import stored_sizes
    from dycoke_cli.system.free_memory import known_free_bytes

    sizes = stored_sizes(checkpoint.folder)
    frames = settings.frames or (settings.max_frames if settings.fps else None) or checkpoint.default_frames
    needed = run_sizes(checkpoint.name, outline, sizes, methods, frames, size or HD, settings, device, dtype.itemsize)
    check_fit(needed, known_free_bytes(device, every=settings.device_map == "auto"))


def describe(name: str, model: "Family") -> dict[str, str]:
    """Return the model's name, family, dtype and device for records, and its hub revision and quantisation if any."""
    from dycoke_cli.models.quantization import quantized

    language_model = model.language_model
    folder, quantize = find(name), quantized(model.model)
    revision = folder.name if folder is not None and folder.parent.name == "snapshots" else None
    return {
        "name": name,
        "family": model.family,
        "dtype": str(language_model.dtype).removeprefix("torch."),
        "device": str(language_model.device),
        **({"revision": revision} if revision else {}),
        **({"quantize": quantize} if quantize else {}),
    }
