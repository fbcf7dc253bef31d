"""Sums over groups of rows, the same to the bit each time."""

import torch
from torch import Tensor


def sum_by_group(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Add up the rows of `values` (rows, ...) that share a number of `group` (rows,) int64, below `count`.

    Returns (count, ...); a group without rows gives 0. Adding rows at an index would be shorter, but on CUDA it adds in
    whatever order threads arrive, and the same seed would no longer give the same answer.
    """
    order = group.sort(stable=True).indices
    return torch.segment_reduce(values[order], "sum", lengths=torch.bincount(group, minlength=count), axis=0)
