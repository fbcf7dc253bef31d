"""How much arithmetic a language model does for one answer: two ways to count it. Computed, never measured."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class TextShape(NamedTuple):
    """The sizes of a decoder that its arithmetic and its memory depend on."""

    layers: int
    hidden: int
    intermediate: int  # width of the feed-forward network
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "TextShape":
        """Read them from the text configuration of a model."""
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
    def kv_numbers(self) -> int:
        """Count the numbers that the keys and values of one position are, over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def working_numbers(self) -> int:
        """Count the numbers alive at once for one position while a layer works.

        Three of the feed-forward part's widest, the residual stream before and after, queries, keys, values and output.
        """
        return 3 * self.intermediate + 6 * self.hidden


class VisionShape(NamedTuple):
    """The sizes of a vision tower and its projector that their arithmetic depends on."""

    layers: int
    hidden: int
    intermediate: int
    patches: int  # of one frame
    patch_values: int  # numbers in one patch of pixels
    projected: int  # width of the language model

    @classmethod
    def of(cls, config: Any) -> "VisionShape":
        """Read them from the configuration of a loaded model, vision and text."""
        vision = config.vision_config
        return cls(
            vision.num_hidden_layers,
            vision.hidden_size,
            vision.intermediate_size,
            (vision.image_size // vision.patch_size) ** 2,
            vision.num_channels * vision.patch_size**2,
            config.text_config.hidden_size,
        )


def vision_flops(shape: VisionShape, frames: int) -> int:
    """Count the floating-point operations of tower and projector on some frames, a multiply-add as two.

    Counted are the embedding of patches, projections, attention and feed-forward of every layer, and the projector's
    two matrices. Not counted: norms, activations, softmax, pooling.
    """
    d, n = shape.hidden, shape.patches
    layer = 4 * 2 * n * d * d + 4 * n * n * d + 2 * 2 * n * d * shape.intermediate
    projector = 2 * n * d * shape.projected + 2 * n * shape.projected**2
    return frames * (2 * n * shape.patch_values * d + shape.layers * layer + projector)


def paper_flops(shape: TextShape, prefill: Sequence[float], decode: float, generated: int) -> float:
    """Compute the formula of the DyCoke paper: T(4nd² + 2n²d + 2ndm) + TR(4d² + 2dm + 2(d n_dec + d(R + 1)/2)).

    prefill: (layers,) n, the visual tokens that each layer works on; decode: n_dec, the visual tokens read at a decode
    step, taken for all layers; generated: R. As published it counts visual tokens alone, a multiply-add as one, full
    heads for keys and values, and two matrices in the feed-forward network. Source: Tao et al., arXiv 2411.15024.
    """
    d, m = shape.hidden, shape.intermediate
    before = sum(4 * n * d**2 + 2 * n**2 * d + 2 * n * d * m for n in prefill)
    step = 4 * d**2 + 2 * d * m + 2 * (d * decode + d * (generated + 1) / 2)
    return before + shape.layers * generated * step


def true_flops(shape: TextShape, prefill: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    """Count the floating-point operations of the matrices that really run, a multiply-add as two.

    prefill: (layers,) positions that each layer works on, text included, each attending to itself and what is before
    it; reads: (decode steps, layers) keys that the new token attends to. Counted are the projections of queries, keys,
    values (fewer heads: GQA) and output, attention, the three matrices of SwiGLU, and the output layer once for each
    new token. Not counted: norms, activations, softmax, rotary embedding, and what a method itself computes.
    """
    row, pair = _row_flops(shape), 4 * shape.heads * shape.head_dim
    before = sum(n * row + n * (n + 1) // 2 * pair for n in prefill)
    steps = sum(row + read * pair for step in reads for read in step)
    return before + steps + (1 + len(reads)) * 2 * shape.hidden * shape.vocabulary


def _row_flops(shape: TextShape) -> int:
    """Operations of one layer's matrices for one position, attention itself apart."""
    projections = 2 * shape.hidden * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    return projections + 3 * 2 * shape.hidden * shape.intermediate
