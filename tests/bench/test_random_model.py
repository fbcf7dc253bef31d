"""Random networks have the sizes of the real ones, and run."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dycoke_cli.bench.random_model import Shape
from dycoke_cli.errors import OutOfMemoryError, UsageError
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.flops import VisionShape, vision_flops
from dycoke_cli.system.free_memory import free_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "parameters", "layers"),
    # Qwen2's published counts, 397.7 M of SigLIP without its last layer and head, and the projector.
    [("0.5b", 893_618_208, 24), ("7b", 8_030_348_832, 28), ("72b", 73_180_522_016, 80)],
)
def test_real_sizes(name: str, parameters: int, layers: int) -> None:
    """Parameter counts are published ones, without weights in memory; 27 by 27 patches pool to 14 by 14 tokens."""
    outline = Shape(name).outline(torch.bfloat16)
    assert sum(weight.numel() for weight in outline.model.parameters()) == parameters
    assert outline.weight_bytes == 2 * parameters
    assert outline.facts.layers == layers
    assert outline.model.config.vision_config.num_hidden_layers == 26
    assert outline.grid(64) == (64, 14, 14)


def test_the_demo_is_the_bundled_network() -> None:
    """Shape demo has the tensors of the checkpoint, and equal buffers, which no checkpoint contains."""
    made = Shape("demo").build(CPU, torch.float32, free_bytes(CPU)).model
    real = loading.load(checkpoints.locate("demo"), CPU, torch.float32).model
    assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in real.state_dict().items()}
    tables, expected = dict(made.named_buffers()), dict(real.named_buffers())
    assert tables.keys() == expected.keys()
    assert all(torch.equal(tables[name], expected[name]) for name in tables)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weights_are_noise_and_logits_finite(dtype: torch.dtype) -> None:
    """Weights have the requested dtype, are tied as in the real network, and none is uninitialised."""
    made = Shape("demo", layers=2).build(CPU, dtype, free_bytes(CPU))
    language = made.language_model
    assert {weight.dtype for weight in made.model.parameters()} == {dtype}
    assert language.head.weight is language.body.embed_tokens.weight
    assert language.layers == 2
    matrices = [weight for weight in made.model.parameters() if weight.dim() > 1]
    assert all(0.015 < weight.float().std() < 0.025 for weight in matrices)
    assert all(weight.flatten()[:-1].ne(weight.flatten()[1:]).float().mean() > 0.9 for weight in matrices)
    with torch.inference_mode():
        logits = made.model(input_ids=torch.tensor([[5, 6, 7]])).logits
    assert logits.isfinite().all()
    assert logits.float().std() > 0
    assert torch.get_default_dtype() == torch.float32


def test_a_network_that_does_not_fit_is_refused_before_allocation() -> None:
    """72 B weights in float32 take 292.7 GB, more than a test machine can allocate."""
    with pytest.raises(OutOfMemoryError, match=r"shape 72b has 292.7 GB .* cpu has 100.0 GB free"):
        Shape("72b").build(CPU, torch.float32, 100 * 10**9)


@pytest.mark.parametrize(("name", "layers", "what"), [("8b", None, "'8b'"), ("7b", 0, "--layers is 0")])
def test_other_shapes_are_refused(name: str, layers: int | None, what: str) -> None:
    """An unknown name and a depth below 1 raise UsageError."""
    with pytest.raises(UsageError, match=what):
        Shape(name, layers)


def test_the_towers_arithmetic_is_what_torch_counts() -> None:
    """The computed FLOPs of patches, tower and projector equal those that torch counts, attention included."""
    made = Shape("demo").build(CPU, torch.float32, free_bytes(CPU))
    made.model.set_attn_implementation("eager")  # torch counts no operation of the CPU's fused kernel
    config = made.model.config
    side, hidden = config.vision_config.image_size, config.text_config.hidden_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        made.features(torch.zeros(3, 3, side, side))
    assert counter.get_total_flops() == vision_flops(VisionShape.of(config.vision_config), hidden, 3)
