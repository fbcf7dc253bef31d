"""VideoLayout: newlines between the remaining tokens, indices in the uncompressed block, pooling."""

import pytest
import torch

from dycoke_cli.models.families.layout import Newline, RowNewlines, VideoLayout
from dycoke_cli.tokens import VisualTokens

NEWLINE = torch.tensor([-1.0])


def video(frames: int = 2, rows: int = 2, cols: int = 2) -> VisualTokens:
    """Return tokens whose only feature is their index."""
    count = frames * rows * cols
    return VisualTokens.uncompressed(torch.arange(float(count)).reshape(frames, rows, cols, 1))


def arranged(layout: VideoLayout, tokens: VisualTokens) -> list[int]:
    return [int(value) for value in layout.arrange(tokens, NEWLINE).embeds.flatten()]


@pytest.mark.parametrize(
    ("newline", "wanted"),
    [
        ("one_token", [0, 1, 2, 3, 4, 5, 6, 7, -1]),
        ("no_token", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("frame", [0, 1, 2, 3, -1, 4, 5, 6, 7, -1]),
        ("grid", [0, 1, -1, 2, 3, -1, 4, 5, -1, 6, 7, -1]),
    ],
)
def test_whole_video(newline: Newline, wanted: list[int]) -> None:
    """Embeddings, places and computed length of an uncompressed video in all four layouts."""
    layout = VideoLayout(newline)
    block = layout.arrange(video(), NEWLINE)
    assert arranged(layout, video()) == wanted
    assert block.places.tolist() == list(range(len(wanted)))
    assert layout.length(video().grid) == len(wanted)
    assert block.embeds[block.visual].flatten().tolist() == list(range(8))


@pytest.mark.parametrize(
    ("newline", "rows", "wanted", "places"),
    [
        ("one_token", "complete", [0, 1, 2, 3, 5, -1], [0, 1, 2, 3, 5, 8]),
        ("frame", "complete", [0, 1, 2, 3, -1, 5, -1], [0, 1, 2, 3, 4, 6, 9]),
        ("grid", "complete", [0, 1, -1, 2, 3, -1, 5], [0, 1, 2, 3, 4, 5, 7]),
        ("grid", "present", [0, 1, -1, 2, 3, -1, 5, -1], [0, 1, 2, 3, 4, 5, 7, 8]),
        ("grid", "all", [0, 1, -1, 2, 3, -1, 5, -1, -1], [0, 1, 2, 3, 4, 5, 7, 8, 11]),
    ],
)
def test_compressed_video(newline: Newline, rows: RowNewlines, wanted: list[int], places: list[int]) -> None:
    """The second frame has one remaining token; its newlines follow `row_newlines`, places are the original indices."""
    tokens = video().keep(torch.tensor([0, 1, 2, 3, 5]))
    layout = VideoLayout(newline, row_newlines=rows)
    block = layout.arrange(tokens, NEWLINE)
    assert arranged(layout, tokens) == wanted
    assert block.places.tolist() == places
    assert block.embeds[block.visual].flatten().tolist() == [0, 1, 2, 3, 5]


def test_counts_of_a_real_size() -> None:
    """64 frames of 14 x 14 with the three rules for row newlines, at K=0.7 with every fourth frame uncompressed."""
    tokens = video(64, 14, 14)
    kept = torch.cat([
        tokens.index[tokens.frame == frame][: 196 if frame % 4 == 0 else 59] for frame in range(64)
    ])  # fmt: skip
    compressed = tokens.keep(kept)
    for rule, rows in (("complete", 16 * 14 + 48 * 4), ("present", 16 * 14 + 48 * 5), ("all", 64 * 14)):
        layout = VideoLayout("grid", row_newlines=rule)  # type: ignore[arg-type]
        assert len(layout.arrange(compressed, NEWLINE).places) == len(kept) + rows
    assert VideoLayout("grid").length(tokens.grid) == 13440


@pytest.mark.parametrize(("pooling", "size"), [("bilinear", 3), ("average", 2), ("max", 2)])
def test_pooling_rounds_as_the_models_do(pooling: str, size: int) -> None:
    """Five patches per side pool to three with bilinear, to two with average and max."""
    layout = VideoLayout(pooling=pooling)  # type: ignore[arg-type]
    pooled = layout.pool(torch.arange(25.0).reshape(1, 5, 5, 1))
    assert pooled.shape == (1, size, size, 1)
    if pooling == "max":
        assert pooled.flatten().tolist() == [6, 8, 16, 18]
    if pooling == "average":
        assert pooled.flatten().tolist() == [3, 5, 13, 15]
