"""The decode kernel equals plain attention, in Triton's interpreter, which needs no GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# A separate process, because TRITON_INTERPRET must be set before Triton is imported.
CHECK = """
import torch
from dycoke_cli.engine.kernel import attend_in_place

torch.manual_seed(0)
for batch, heads, kv_heads, width, slots in ((1, 14, 2, 64, 300), (3, 6, 6, 16, 130), (2, 8, 2, 32, 70)):
    store = torch.randn(2, batch, slots, kv_heads, width)
    query = torch.randn(batch, heads, 1, width)
    newest = torch.randint(slots, (batch,))
    newest[0] = 0
    everything = torch.arange(slots) <= newest[:, None]
    table = torch.stack([torch.randperm(slots)[:51] for _ in range(batch)])
    table = torch.where(torch.rand(batch, 51) < 0.3, -1, table)
    table[:, 0] = newest
    chosen = torch.zeros(batch, slots).scatter_add_(1, table.clamp(min=0), (table >= 0).float())
    flat = torch.where(table < 0, -1, table + torch.arange(batch)[:, None] * slots)
    for given, counts in ((None, everything.float()), (flat, chosen)):
        ours = attend_in_place(query, store, newest, given, 0.3)
        keys, values = store.permute(0, 1, 3, 2, 4).repeat_interleave(heads // kv_heads, dim=2)
        weights = torch.exp(query @ keys.transpose(2, 3) * 0.3) * counts[:, None, None]
        wanted = (weights / weights.sum(-1, keepdim=True) @ values).transpose(1, 2)
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-4)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here")
def test_the_kernel_is_attention_over_what_counts() -> None:
    """It reads all slots up to a row's newest, or a table with padding, for grouped heads and rows of any length."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
