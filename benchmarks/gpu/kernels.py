"""Profile work by kernel, and sort kernels into matrix products, attention and the rest."""

import re
from collections.abc import Callable
from typing import Any

MATRIX, ATTENTION, OTHER = "matrix product", "attention", "other"
TOP = 12
# Attention first: its kernels are built from the parts of matrix products, and carry their names.
KINDS = (
    (ATTENTION, re.compile(r"attention|attend|flash|fmha|sdpa|(^|[^a-z])_(read|combine|score)")),
    (
        MATRIX,
        re.compile(
            r"gemm|gemv|matmul|cutlass|nvjet|cublas|splitk|xmma|wgmma|implicit_convolve|"
            r"aten::(mm|addmm|bmm|baddbmm|convolution|_slow_conv|mkldnn_convolution)"
        ),
    ),
)


def kind_of(kernel: str) -> str:
    """Return the kind of a kernel by its name."""
    return next((kind for kind, pattern in KINDS if pattern.search(kernel.lower())), OTHER)


def profiled(work: Callable[[], object], device: str) -> dict[str, Any]:
    """Run `work` under the profiler; return its time by kind and the kernels that took most of it, in seconds.

    On a CPU an operator of PyTorch stands for a kernel. Raises RuntimeError if the profiler has recorded none.
    """
    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    if device == "cuda":
        torch.cuda.synchronize()  # what was started before must not be recorded
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as trace:
        work()
        if device == "cuda":
            torch.cuda.synchronize()
    wanted, field = (
        (DeviceType.CUDA, "self_device_time_total") if device == "cuda" else (DeviceType.CPU, "self_cpu_time_total")
    )
    # Operators carry the time of the kernels that they start too: only the kernels themselves count.
    events = [
        (event.key, getattr(event, field) / 1e6, event.count)
        for event in trace.key_averages()
        if event.device_type == wanted and not getattr(event, "is_user_annotation", False)
    ]
    return by_kernel([event for event in events if event[1] > 0])


def by_kernel(events: list[tuple[str, float, int]]) -> dict[str, Any]:
    """Return the sums of (kernel, seconds, count) by kind, and the first TOP kernels with count and share."""
    if not events:
        raise RuntimeError("the profiler recorded no kernel")
    total = sum(seconds for _, seconds, _ in events)
    sums = dict.fromkeys((MATRIX, ATTENTION, OTHER), 0.0)
    for name, seconds, _ in events:
        sums[kind_of(name)] += seconds
    top = sorted(events, key=lambda event: -event[1])[:TOP]
    return {
        "device_s": total,
        "by_kind_s": sums,
        "not_matrix_product_s": total - sums[MATRIX],
        "kernels": [
            {"name": name, "kind": kind_of(name), "seconds": seconds, "count": count, "share": seconds / total}
            for name, seconds, count in top
        ],
    }


def kernel_lines(found: dict[str, Any]) -> list[str]:
    """Return the kernels as lines of a table."""
    return [
        f"{1e3 * each['seconds']:10.3f} ms {each['share']:6.1%} ×{each['count']:<6g} {each['kind']:14} "
        f"{each['name'][:110]}"
        for each in found["kernels"]
    ]
