"""Saliency equals the mean of eager attention, and computing it does not change features."""

import pytest
import torch

from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families import family, saliency
from dycoke_cli.models.families.llava import Llava
from tests.conftest import GOLDEN, clip_frames


def test_it_is_the_mean_column_of_eager_attention() -> None:
    """Saliency equals the mean over heads and queries of the last layer in transformers' eager tower."""
    checkpoint = checkpoints.locate(str(GOLDEN / "checkpoints" / "tiny-ov"))
    model = loading.load(checkpoint, torch.device("cpu"), torch.float32)
    tower, pixels = model.model.model.vision_tower, model.pixels(clip_frames()[:3].numpy())
    with torch.inference_mode():
        patches, received = saliency.encode_with_saliency(tower, pixels)
        assert torch.equal(patches, tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state)
        tower.set_attn_implementation("eager")
        weights = tower(pixels, output_attentions=True).attentions[-1]
    torch.testing.assert_close(received, weights.mean(dim=(1, 2)))
    torch.testing.assert_close(received.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_asking_changes_no_feature(tiny: Llava, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Features are the same with saliency, in chunks of any size; saliency is pooled as features are."""
    frames = clip_frames()[:5].numpy()
    plain = tiny.encode(frames)
    assert plain.saliency is None
    with torch.inference_mode():
        received = saliency.encode_with_saliency(tiny.model.model.vision_tower, tiny.pixels(frames))[1]
    monkeypatch.setattr(family, "CHUNK", {"cpu": chunk})
    watched = tiny.encode(frames, saliency=True)
    torch.testing.assert_close(watched.features, plain.features, atol=1e-5, rtol=0)
    assert watched.saliency is not None
    pooled = tiny.layout.pool(received.unflatten(1, (5, 5))[..., None])
    torch.testing.assert_close(watched.saliency, pooled.flatten())
    assert watched.saliency.dtype == torch.float32


def test_one_frame_of_one_layer_at_a_time(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention weights are computed for one frame at a time: heads * patches² values."""
    shapes = []
    softmax = torch.Tensor.softmax

    def recorded(self: torch.Tensor, dim: int) -> torch.Tensor:
        shapes.append(tuple(self.shape))
        return softmax(self, dim=dim)

    monkeypatch.setattr(torch.Tensor, "softmax", recorded)
    tiny.encode(clip_frames()[:3].numpy(), saliency=True)
    assert shapes == [(2, 25, 25)] * 3
