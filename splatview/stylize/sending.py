"""Numbers on their way to a device, without a wait.

`torch.tensor(numbers, device=...)` and `tensor.to(device)` wait until a GPU has done all that it was given before: a frame that sends some
numbers would stand still until the frame before is finished. Told not to wait, CUDA has copied what lies in ordinary memory when the call
comes back, so that it may be written over or let go ("API synchronization behavior" of the CUDA runtime).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sent(values: Any, device: torch.device | str) -> Tensor:
    """Numbers, an array (which may be written over later) or a tensor on `device`; nobody waits for it."""
    tensor = values if isinstance(values, Tensor) else torch.tensor(values)
    return tensor.to(device, non_blocking=True)
