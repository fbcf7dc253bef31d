"""Parameter counts and weight bytes of a model, computed from its shape or read from its files."""

from pathlib import Path
from typing import NamedTuple

from dycoke_cli.models.flops import TextShape, VisionShape
from dycoke_cli.models.weight_files import stored_weights

QUANTIZED = ("int8", "int4")
BLOCK = 64  # weights that share one float32 scale in int4


class Sizes(NamedTuple):
    """A model's parameter counts: those that quantisation packs, and the others."""

    linear: int  # weights of the decoder layers' matrices
    rows: int  # output rows of these matrices, each with its own scale in int8
    other: int  # embeddings, output layer, vision tower, projector, norms and biases: never quantised

    @property
    def parameters(self) -> int:
        return self.linear + self.other

    def weight_bytes(self, itemsize: int, quantize: str | None = None) -> int:
        """Return the bytes of all weights. itemsize: bytes of an unquantised weight."""
        if quantize == "int8":
            return self.linear + (self.rows + self.other) * itemsize
        if quantize == "int4":
            return self.linear // 2 + self.linear // BLOCK * 4 + self.other * itemsize
        return self.parameters * itemsize


SIGLIP = VisionShape(layers=26, hidden=1152, intermediate=4304, image=384, patch=14)


def llava_sizes(text: TextShape, vision: VisionShape, tied: bool) -> Sizes:
    """Return the sizes of a LLaVA-OneVision model: SigLIP, a two-layer projector, a newline embedding, Qwen2.

    tied: the output layer shares the embeddings. Source: the modules of transformers'
    LlavaOnevisionForConditionalGeneration, which a test builds and counts.
    """
    h, m = text.hidden, text.intermediate
    queries, keys = text.heads * text.head_dim, text.kv_heads * text.head_dim
    linear = text.layers * (2 * h * queries + 2 * h * keys + 3 * h * m)
    rows = text.layers * (queries + 2 * keys + h + 2 * m + h)
    layers_other = text.layers * (queries + 2 * keys + 2 * h)  # biases and norms
    vocabulary = (1 if tied else 2) * text.vocabulary * h
    projector = vision.hidden * h + h + h * h + h
    return Sizes(linear, rows, layers_other + vocabulary + h + projector + h + vision.parameters)


def stored_sizes(folder: Path) -> Sizes:
    """Return the sizes of a model on disk, from the headers of its safetensors files. Raises ModelError."""
    linear = rows = other = 0
    for name, weight in stored_weights(folder).items():
        if len(weight.shape) == 2 and ".layers." in name and "vis" not in name:
            linear += weight.numbers
            rows += weight.shape[0]
        else:
            other += weight.numbers
    return Sizes(linear, rows, other)


def _qwen2(layers: int, hidden: int, intermediate: int, heads: int, kv_heads: int, vocabulary: int) -> TextShape:
    return TextShape(layers, hidden, intermediate, heads, kv_heads, hidden // heads, vocabulary)


# The text models of the public checkpoints. Conversions to the transformers format have a padded vocabulary.
SHAPES = {
    "llava-video-7b": _qwen2(28, 3584, 18944, 28, 4, 152064),
    "llava-video-72b": _qwen2(80, 8192, 29568, 64, 8, 152064),
    "llava-ov-0.5b": _qwen2(24, 896, 4864, 14, 2, 152000),
    "llava-ov-7b": _qwen2(28, 3584, 18944, 28, 4, 152128),
    "llava-ov-72b": _qwen2(80, 8192, 29568, 64, 8, 152128),
}
TIED = ("llava-ov-0.5b",)  # the output layer shares the embeddings
KNOWN = {name: llava_sizes(shape, SIGLIP, name in TIED) for name, shape in SHAPES.items()}
