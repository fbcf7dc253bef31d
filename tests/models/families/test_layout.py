"""VideoLayout: newlines between the remaining tokens, indices in the uncompressed block, pooling."""

import pytest
import torch
import torch.nn.functional as F

from dycoke_cli.models.families.layout import Newline, Pooling, RowNewlines, VideoLayout
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hidden", [1, 3, 40])
@pytest.mark.parametrize(("rows", "cols"), [(27, 27), (24, 24), (5, 4), (2, 3), (1, 1), (1, 4)])
def test_bilinear_pooling_is_exact(rows: int, cols: int, hidden: int, dtype: torch.dtype) -> None:
    """Equal to torch on channels-first memory, and to weights in float64, within float32's and bfloat16's precision."""
    features = torch.randn(3, rows, cols, hidden, generator=torch.Generator().manual_seed(rows)).to(dtype)
    pooled = VideoLayout().pool(features)
    first = features.permute(0, 3, 1, 2).contiguous()
    size = (-(-rows // 2), -(-cols // 2))
    wanted = F.interpolate(first, size=size, mode="bilinear").permute(0, 2, 3, 1)
    slow = torch.einsum("fijh,ir,jc->frch", features.double(), halving(rows), halving(cols))
    assert pooled.dtype == dtype
    tolerance = 5e-7 if dtype == torch.float32 else 2.0**-8
    torch.testing.assert_close(pooled, wanted, rtol=tolerance, atol=tolerance * 1e-3)
    # Torch computes positions in float32, to within half of 27 * 2^-23.
    torch.testing.assert_close(pooled.double(), slow, rtol=tolerance, atol=1e-5)


def halving(count: int) -> torch.Tensor:
    """Return the bilinear weights (count, pooled) float64 of one axis, written out."""
    pooled = (count + 1) // 2
    weights = torch.zeros(count, pooled, dtype=torch.float64)
    for place in range(pooled):
        at = max(0.0, (place + 0.5) * count / pooled - 0.5)
        low = int(at)
        weights[low, place] += 1 - (at - low)
        weights[min(low + 1, count - 1), place] += at - low
    return weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hidden", [1, 3, 40])
@pytest.mark.parametrize(("rows", "cols"), [(27, 27), (24, 24), (5, 4), (2, 3)])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_other_pooling_is_exact(pooling: Pooling, rows: int, cols: int, hidden: int, dtype: torch.dtype) -> None:
    """Equal to the mean, computed in float32 and rounded once, and to the maximum of each block of four."""
    features = torch.randn(3, rows, cols, hidden, generator=torch.Generator().manual_seed(rows)).to(dtype)
    pooled = VideoLayout(pooling=pooling).pool(features)
    corners = [features[:, i : rows // 2 * 2 : 2, j : cols // 2 * 2 : 2].float() for i in (0, 1) for j in (0, 1)]
    block = torch.stack(corners)
    wanted = block.mean(dim=0) if pooling == "average" else block.amax(dim=0)
    assert pooled.dtype == dtype
    tolerance = 5e-7 if dtype == torch.float32 else 2.0**-8
    torch.testing.assert_close(pooled, wanted.to(dtype), rtol=tolerance, atol=5e-7)


@pytest.mark.parametrize("pooling", ["bilinear", "average", "max"])
def test_pooling_never_moves_the_hidden_axis(pooling: Pooling) -> None:
    """Pooled features are in the memory order of the tokens, so that flattening them copies nothing."""
    pooled = VideoLayout(pooling=pooling).pool(torch.zeros(2, 27, 27, 40))
    assert pooled.is_contiguous()


@pytest.mark.parametrize("newline", ["grid", "frame"])
@pytest.mark.parametrize("rows", ["complete", "present", "all"])
def test_newlines_by_a_slow_loop(newline: Newline, rows: RowNewlines) -> None:
    """Tokens in any order with any lines missing: embeddings, places and visual slots are those of a loop."""
    layout = VideoLayout(newline, row_newlines=rows)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        tokens = video(3, 2, 3)
        kept = torch.randperm(18, generator=generator)[: int(torch.randint(0, 19, (1,), generator=generator))]
        tokens = tokens.keep(kept)
        width = 3 if newline == "grid" else 6
        needed = {"complete": width, "present": 1, "all": 0}[rows] if newline == "grid" else 1
        wanted = []
        for line in range(18 // width):
            inside = sorted(index for index in kept.tolist() if index // width == line)
            wanted += [(index + line, index) for index in inside]
            if len(inside) >= needed:
                wanted.append((line * (width + 1) + width, -1))
        block = layout.arrange(tokens, NEWLINE)
        assert list(zip(block.places.tolist(), block.embeds.flatten().tolist(), strict=True)) == wanted
        assert block.embeds[block.visual].flatten().tolist() == kept.tolist()
        assert layout.compressed_length(tokens) == len(wanted)
