"""CUDA graphs: the calls of a network on a GPU, recorded once and played again.

While a graph is recorded, frames go on in other threads: what only the recording thread must not do ("thread_local") they may. What nobody
in the process may do meanwhile is to wait for the device as a whole (`torch.cuda.synchronize`) or to record another one, which begins by
doing so: whoever records has to be alone in that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 3  # calls: libraries choose their kernels, and allocate


class Graph:
    """The calls of a network, played again: the processor no longer hands out hundreds of them a frame. One thread at a time."""

    def __init__(self, network: Callable[..., Tensor], sample: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone() for tensor in sample]
        device = self._inputs[0].device
        current = torch.cuda.current_stream(device)
        with torch.cuda.device(device), torch.cuda.stream(current):  # that it is again also when recording fails: PyTorch forgets it then
            stream = torch.cuda.Stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    network(*self._inputs)
            stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._output = network(*self._inputs)

    def __call__(self, *tensors: Tensor) -> Tensor:
        """On the current stream of its device."""
        for mine, given in zip(self._inputs, tensors, strict=True):
            mine.copy_(given)
        self._graph.replay()
        return self._output.clone()  # the next call writes into it
