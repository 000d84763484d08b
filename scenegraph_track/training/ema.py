"""An exponential moving average of weights, often better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    r"""Average :math:`a \leftarrow d\,a + (1 - d)\,w` of weights and buffers over updates.

    The decay rises to its value as (1 + n) / (10 + n) over updates n, so that the first weights are soon forgotten.
    Whole numbers (counters) are copied.

    Args:
        module: What is averaged; its present weights are the first average.
        decay: In (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights as they are after update ``step`` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def load(self, average: dict[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        for name, value in average.items():
            self.average[name].copy_(value)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Give the averaged weights to the module while the block runs, then its own back, bit by bit."""
        own = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.average)
        try:
            yield
        finally:
            module.load_state_dict(own)
