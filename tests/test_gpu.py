"""CUDA results equal CPU results; captured graphs equal eager steps: `pytest -m gpu`."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.memory import compare
from dycoke_cli.engine.attention import grouped_attention
from dycoke_cli.engine.graph_store import GraphStore, decode_kernel
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.methods.registry import METHODS as TABLE
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava
from tests.conftest import GOLDEN, clip_frames
from tests.engine.test_generate import QUESTIONS, answer, prompt_for, read_set, run
from tests.engine.test_graph import assert_same, static

pytestmark = pytest.mark.gpu

CHAINS = ["vidcom2+dynamic", "evs+fastv"]
METHODS = [Dycoke(variant="official"), *(make_method(name, {}) for name in [*TABLE, *CHAINS])]


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
    torch.backends.cuda.matmul.allow_tf32 = False
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
    torch.backends.cuda.matmul.allow_tf32 = False
    model, device = load(torch.float32), torch.device("cuda")
    graphs, eager = GraphStore.of(model.language_model, compiled=True), GraphStore(device, replayed=False)
    for count in (9, 16):
        prompt = prompt_for(model, clip_frames()[:count].numpy(), QUESTIONS[0], method)
        assert_same(static(model, [prompt], method, graphs), static(model, [prompt], method, eager), 1)
    assert [step.refused for step in graphs.steps] == [None] * len(graphs.steps)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("kernel", [True, False])
def test_graphs_give_the_tokens_of_eager_steps(method: Method, kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32; first and later runs, single prompts and batches, with and without the decode kernel."""
    torch.backends.cuda.matmul.allow_tf32 = False
    model, device = load(torch.float32), torch.device("cuda")
    assert decode_kernel(device) is not None
    if not kernel:
        monkeypatch.setattr("dycoke_cli.engine.graph_store.decode_kernel", lambda device: None)
    graphs, eager = GraphStore(device), GraphStore(device, replayed=False)
    for counts in ((5, 9, 16), (6, 9, 15)):
        prompts = [prompt_for(model, clip_frames()[:count].numpy(), QUESTIONS[0], method) for count in counts]
        assert_same(static(model, prompts, method, graphs), static(model, prompts, method, eager), 3)
        assert_same(static(model, prompts[:1], method, graphs), static(model, prompts[:1], method, eager), 1)
    assert [step.refused for step in graphs.steps] == [None] * len(graphs.steps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 28, 4, 128, 6000), (16, 14, 2, 64, 900)])
def test_the_decode_kernel_equals_attention(dtype: torch.dtype, shape: tuple[int, int, int, int, int]) -> None:
    """Head counts of real models, rows of different length, a slot table with gaps."""
    batch, heads, kv_heads, width, slots = shape
    store = torch.randn(2, batch, slots, kv_heads, width, device="cuda", dtype=dtype)
    query = torch.randn(batch, heads, 1, width, device="cuda", dtype=dtype)
    newest = torch.randint(1, slots, (batch,), device="cuda")
    kernel = decode_kernel(torch.device("cuda"))
    assert kernel is not None
    places = torch.arange(slots, device="cuda")
    counts = places <= newest[:, None]
    keys, values = store.transpose(2, 3)
    gaps = torch.where(counts, places + torch.arange(batch, device="cuda")[:, None] * slots, -1)
    wanted = grouped_attention(query, keys, values, 0.1, counts[:, None, None])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for table in (None, gaps):
        torch.testing.assert_close(kernel(query, store, newest, table, 0.1), wanted, atol=tolerance, rtol=tolerance)


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
