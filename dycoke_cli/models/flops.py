"""FLOPs of the vision tower and the language model, computed from shapes: the paper's formula and exact counts."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class TextShape(NamedTuple):
    """The sizes of a decoder that determine its FLOPs and its memory."""

    layers: int
    hidden: int
    intermediate: int  # width of the feed-forward network
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "TextShape":
        """Read the sizes from a model's text configuration."""
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            config.vocab_size,
        )

    @property
    def kv_values_per_position(self) -> int:
        """Return how many numbers the keys and values of one position hold, over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def activations_per_position(self) -> int:
        """Return the peak number of activations of one position in a layer, beside its feed-forward network.

        Six of width `hidden`: the residual stream, its norm, the product of queries, keys and values, rotated queries,
        and the output.
        """
        return 6 * self.hidden

    @property
    def feed_forward_per_position(self) -> int:
        """Return the number of activations inside the feed-forward network of one position: gate, up, their product."""
        return 3 * self.intermediate


class VisionShape(NamedTuple):
    """The sizes of a SigLIP tower without its pooling head; image and patch: pixels of a side."""

    layers: int
    hidden: int
    intermediate: int
    image: int
    patch: int

    @classmethod
    def of(cls, config: Any) -> "VisionShape":
        """Read the sizes from a model's vision configuration."""
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.image_size,
            config.patch_size,
        )

    @property
    def patches(self) -> int:
        """Return the patches of one frame."""
        return (self.image // self.patch) ** 2

    @property
    def patch_values(self) -> int:
        """Return the numbers in one patch of pixels."""
        return 3 * self.patch**2

    @property
    def parameters(self) -> int:
        """Count embeddings of patches and positions, projections, feed-forward and norms per layer, a final norm."""
        h, m = self.hidden, self.intermediate
        embeddings = self.patch_values * h + h + self.patches * h
        return embeddings + self.layers * (4 * (h * h + h) + 2 * h * m + m + h + 4 * h) + 2 * h


def vision_flops(shape: VisionShape, projected: int, frames: int) -> int:
    """Return the FLOPs of the vision tower and the projector on `frames` frames; a multiply-add counts as two.

    projected: width of the language model, into which the projector maps.

    Counted: patch embedding, projections, attention and feed-forward of every layer, and the projector's two matrices.
    Not counted: norms, activations, softmax, pooling.
    """
    d, n = shape.hidden, shape.patches
    layer = 4 * 2 * n * d * d + 4 * n * n * d + 2 * 2 * n * d * shape.intermediate
    projector = 2 * n * d * projected + 2 * n * projected**2
    return frames * (2 * n * shape.patch_values * d + shape.layers * layer + projector)


def paper_flops(shape: TextShape, prefill: Sequence[float], decode: float, generated: int) -> float:
    """Return the FLOPs by the DyCoke paper's formula: T(4nd² + 2n²d + 2ndm) + TR(4d² + 2dm + 2(d n_dec + d(R + 1)/2)).

    prefill: (layers,) n, the visual tokens that each layer processes; decode: n_dec, the visual tokens read per decode
    step, the same in all layers; generated: R, the answer tokens. The published formula counts visual tokens alone, a
    multiply-add as one, as many key and value heads as query heads, and two feed-forward matrices.
    Source: Tao et al., arXiv 2411.15024.
    """
    d, m = shape.hidden, shape.intermediate
    before = sum(4 * n * d**2 + 2 * n**2 * d + 2 * n * d * m for n in prefill)
    step = 4 * d**2 + 2 * d * m + 2 * (d * decode + d * (generated + 1) / 2)
    return before + shape.layers * generated * step


def true_flops(shape: TextShape, prefill: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    """Return the FLOPs of the matrix products that are executed; a multiply-add counts as two.

    prefill: (layers,) positions that each layer processes, text included, with causal attention; reads: (decode steps,
    layers) keys that the new token attends to. Counted: the projections of queries, keys and values (fewer heads: GQA)
    and output, attention, the three SwiGLU matrices, and the output layer once for each new token. Not counted: norms,
    activations, softmax, rotary embedding, and the compression method's own arithmetic.
    """
    projections = 2 * shape.hidden * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    row = projections + 3 * 2 * shape.hidden * shape.intermediate  # one layer's matrices for one position
    pair = 4 * shape.heads * shape.head_dim
    before = sum(n * row + n * (n + 1) // 2 * pair for n in prefill)
    steps = sum(row + read * pair for step in reads for read in step)
    return before + steps + (1 + len(reads)) * 2 * shape.hidden * shape.vocabulary
