"""Adam for tables of which a step touches few rows (Kingma and Ba 2015), the others being left alone (Müller et al. 2022)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class SparseAdam:
    """Adam on one array [rows, F]; a number with a gradient of zero keeps its value and its moments."""

    def __init__(self, table: nn.Parameter, betas: tuple[float, float], eps: float) -> None:
        self._table, self._betas, self._eps = table, betas, eps
        self._first, self._second, self._steps = torch.zeros_like(table.data), torch.zeros_like(table.data), 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Follow the table's gradient."""
        gradient = self._table.grad
        if gradient is None:
            return
        self._steps += 1
        one, two = self._betas
        touched = (gradient != 0).float()
        self._first.addcmul_(gradient - self._first, touched, value=1 - one)
        self._second.addcmul_(gradient.square() - self._second, touched, value=1 - two)
        size = rate * (1 - two**self._steps) ** 0.5 / (1 - one**self._steps)
        self._table.addcmul_(touched, self._first / (self._second.sqrt() + self._eps), value=-size)

    def state(self) -> dict[str, Any]:
        return {"first": self._first, "second": self._second, "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        self._first.copy_(state["first"])
        self._second.copy_(state["second"])
        self._steps = state["steps"]
