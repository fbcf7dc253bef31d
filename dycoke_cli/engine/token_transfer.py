"""Asynchronous copy of new token ids from the device to the host."""

import torch
from torch import Tensor


class TokenTransfer:
    """A copy of `tokens` (batch,) int64 to the host that does not wait for later work on the device."""

    def __init__(self, tokens: Tensor) -> None:
        self.later = tokens.device.type == "cuda"
        self.tokens = tokens
        if self.later:
            self.tokens = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)
            self.tokens.copy_(tokens, non_blocking=True)
            self.event = torch.cuda.current_stream(tokens.device).record_event()

    def ids(self) -> list[int]:
        """Wait for the copy only, and return the ids."""
        if self.later:
            self.event.synchronize()
        ids: list[int] = self.tokens.tolist()
        return ids
