"""CUDA results equal CPU results; captured graphs equal eager steps: `pytest -m gpu`."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.memory import compare
from dycoke_cli.engine.attention import attention_row, causal_attention, grouped_attention
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.kernels.checked import NAMES, checked_operators
from dycoke_cli.engine.operators import Operators
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.methods.registry import METHODS as TABLE
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.flops import TextShape
from tests.conftest import GOLDEN, clip_frames
from tests.engine.test_generate import QUESTIONS, answer, prompt_for, read_set, run
from tests.engine.test_graph import assert_same, static

CHAINS = ["vidcom2+dynamic", "evs+fastv"]
METHODS = [Dycoke(variant="official"), *(make_method(name, {}) for name in [*TABLE, *CHAINS])]


pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("without_tf32")]


def load(dtype: torch.dtype) -> Llava:
    checkpoint = checkpoints.locate(str(GOLDEN / "checkpoints" / "tiny-ov"))
    return loading.load(checkpoint, torch.device("cuda"), dtype)


def resized(frames: torch.Tensor, model: Llava) -> torch.Tensor:
    side = model.model.config.vision_config.image_size
    small = F.interpolate(frames.permute(0, 3, 1, 2), (side, side), mode="bicubic", antialias=True)
    return small.permute(0, 2, 3, 1).contiguous()


def test_resizing_on_the_device(tiny: Llava) -> None:
    """Resized pixels differ from the CPU's by at most 2 of 255; a frame of the model's size stays unchanged."""
    cuda = load(torch.float32)
    frames = clip_frames()[:5]
    difference = (cuda.pixels(frames.numpy()).cpu() - tiny.pixels(frames.numpy())).abs() * 127.5
    assert difference.max() <= 2.01
    assert difference.mean() < 0.05
    fitting = resized(frames, tiny).numpy()
    torch.testing.assert_close(cuda.pixels(fitting).cpu(), tiny.pixels(fitting))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_cuda_gives_the_tokens_of_the_cpu(tiny: Llava, method: Method) -> None:
    """In float32, both produce the same tokens and read sets at every step."""
    # Frames of the model's size, because resizing rounds differently on the two devices.
    frames, cuda = resized(clip_frames()[:9], tiny).numpy(), load(torch.float32)
    here = run(tiny, [prompt_for(tiny, frames, QUESTIONS[0], method)], method)
    there = run(cuda, [prompt_for(cuda, frames, QUESTIONS[0], method)], method)
    assert answer(there) == answer(here)
    assert [read_set(step) for step in there] == [read_set(step) for step in here]
    torch.testing.assert_close(there[-1].logits.cpu(), here[-1].logits, atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", [Full(), Dycoke(gate=0.97)], ids=repr)
def test_compiled_graphs_give_the_tokens_of_eager_steps(method: Method) -> None:
    """In float32, a captured step of torch.compile returns the same tokens as the eager step."""
    model, device = load(torch.float32), torch.device("cuda")
    graphs, eager = GraphStore.of(model.language_model, compiled=True), GraphStore(device, replayed=False)
    for count in (9, 16):
        prompt = prompt_for(model, clip_frames()[:count].numpy(), QUESTIONS[0], method)
        assert_same(static(model, [prompt], method, graphs), static(model, [prompt], method, eager), 1)
    assert [step.refused for step in graphs.steps] == [None] * len(graphs.steps)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("kernels", [True, False])
def test_graphs_give_the_tokens_of_eager_steps(method: Method, kernels: bool) -> None:
    """float32; first and later runs, single prompts and batches, with and without the Triton kernels."""
    model, device = load(torch.float32), torch.device("cuda")
    graphs = GraphStore(device, operators=None if kernels else Operators())
    eager = GraphStore(device, operators=Operators(), replayed=False)
    for counts in ((5, 9, 16), (6, 9, 15)):
        prompts = [prompt_for(model, clip_frames()[:count].numpy(), QUESTIONS[0], method) for count in counts]
        assert_same(static(model, prompts, method, graphs), static(model, prompts, method, eager), 3)
        assert_same(static(model, prompts[:1], method, graphs), static(model, prompts[:1], method, eager), 1)
    assert all(step.replays and step.refused is None for step in graphs.steps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head_norms", [False, True])
@pytest.mark.parametrize("name", ["0.5b", "7b", "tiny"])
def test_every_kernel_is_accepted(name: str, dtype: torch.dtype, head_norms: bool) -> None:
    """None is left to PyTorch, at the sizes of real models."""
    sizes = {"0.5b": (24, 896, 4864, 14, 2, 64, 9), "7b": (28, 3584, 18944, 28, 4, 128, 9)}
    shape = TextShape(*sizes.get(name, (8, 64, 100, 4, 2, 16, 9)))
    chosen = checked_operators(torch.device("cuda"), dtype, shape, head_norms)
    assert [kernel for kernel in NAMES if getattr(chosen, kernel) is getattr(Operators(), kernel)] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("starts", [[0], [3000], [3000, 3000], [700, 3000]])
def test_a_later_chunk_is_masked_attention(dtype: torch.dtype, starts: list[int]) -> None:
    """The flash kernel without a mask, for rows of one length, and blocks with one, for others."""
    query = torch.randn(len(starts), 1300, 14, 64, device="cuda", dtype=dtype)
    keys, values = torch.randn(2, len(starts), 2, max(starts) + 1300, 64, device="cuda", dtype=dtype)
    last = torch.tensor(starts, device="cuda")[:, None] + torch.arange(1300, device="cuda")
    mask = torch.arange(keys.shape[2], device="cuda") <= last[:, :, None]
    wanted = grouped_attention(query, keys, values, mask[:, None])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(causal_attention(query, keys, values, starts), wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 28, 4, 128, 6000), (16, 14, 2, 64, 900)])
def test_the_decode_kernel_equals_attention(dtype: torch.dtype, shape: tuple[int, int, int, int, int]) -> None:
    """Head counts of real models, rows of different length, a slot table with gaps; and its weights."""
    from dycoke_cli.engine.kernels.attention import attend_and_score, attend_in_place

    batch, heads, kv_heads, width, slots = shape
    store = torch.randn(2, batch, slots, kv_heads, width, device="cuda", dtype=dtype)
    query = torch.randn(batch, 1, heads, width, device="cuda", dtype=dtype)
    newest = torch.randint(1, slots, (batch,), device="cuda")
    places = torch.arange(slots, device="cuda")
    counts = places <= newest[:, None]
    keys, values = store.transpose(2, 3)
    gaps = torch.where(counts, places + torch.arange(batch, device="cuda")[:, None] * slots, -1)
    wanted = grouped_attention(query, keys, values, counts[:, None, None])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for table in (None, gaps):
        ours = attend_in_place(query, store, newest, table)
        torch.testing.assert_close(ours, wanted, atol=tolerance, rtol=tolerance)
    out, row = attend_and_score(query, store, newest)
    torch.testing.assert_close(out, wanted, atol=tolerance, rtol=tolerance)
    scores = attention_row(query, keys, counts[:, None, None])
    torch.testing.assert_close(row, scores, atol=tolerance * float(scores.max()), rtol=tolerance)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_half_precision_batches_run(method: Method) -> None:
    """A bfloat16 batch of three videos of different length returns finite logits and three answers."""
    model = load(torch.bfloat16)
    prompts = [prompt_for(model, clip_frames()[:count].numpy(), QUESTIONS[0], method) for count in (5, 9, 16)]
    steps = run(model, prompts, method)
    assert all(bool(step.logits.isfinite().all()) for step in steps)
    assert all(answer(steps, row) for row in range(3))


def test_peak_above_weights_on_the_device() -> None:
    """The CPU's bound on peak memory also holds for the CUDA allocator."""
    ratios = {run["arm"]: run["ratio_to_generate"] for run in compare(32, "cuda", ("generate", "dycoke"))["runs"]}
    assert ratios["dycoke"] <= 0.6
