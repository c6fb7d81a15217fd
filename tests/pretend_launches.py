"""Triton kernels that are launched on tensors of a `PretendGpu`: each is compiled for a real one, as that launch asks, and not run."""

from __future__ import annotations

import ast
import itertools
from types import ModuleType
from typing import Any

import pytest
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

_numbers = itertools.count(1000)


class Launches:
    """Those of all threads, while it is in use. It is itself a driver as Triton wants one, of a device with this compute capability."""

    def __init__(self, capability: int, folder: str, patch: pytest.MonkeyPatch) -> None:
        self.kernels: dict[str, list[Any]] = {}  # by name: one for each way in which it was compiled
        self.launched: list[str] = []
        self._target, self._device = GPUTarget("cuda", capability, 32), next(_numbers)  # nothing was compiled for this device
        patch.setenv("TRITON_CACHE_DIR", folder)
        patch.setattr(driver, "_active", self)
        patch.setattr(JITFunction, "run", self._run_of(JITFunction.run))

    def get_current_device(self) -> int:
        return self._device

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return self._target

    def _run_of(self, run: Any) -> Any:
        def launch(kernel: JITFunction, *given: Any, grid: Any, warmup: bool, **options: Any) -> Any:
            assert all(0 < size < 1 << 31 for size in grid[:1]) and all(0 < size < 1 << 16 for size in grid[1:]), grid
            compiled = run(
                kernel, *(_Pointer(one) if isinstance(one, torch.Tensor) else one for one in given), grid=grid, warmup=True, **options
            )
            known = self.kernels.setdefault(kernel.__name__, [])
            if not any(one is compiled for one in known):
                known.append(compiled)
            self.launched.append(kernel.__name__)
            return compiled

        return launch


class _Pointer:
    """A tensor for Triton, which asks of what type it is and where it lies: the device's memory comes in large pieces."""

    def __init__(self, tensor: torch.Tensor) -> None:
        assert tensor.device.type == "cuda", f"a pointer to {tensor.device}"
        self.dtype, self._at = tensor.dtype, tensor.storage_offset() * tensor.element_size()

    def data_ptr(self) -> int:
        return self._at


def kernels_of(module: ModuleType) -> set[str]:
    """What of a module is launched: functions of Triton's that return nothing."""
    functions = {name: one for name, one in vars(module).items() if isinstance(one, JITFunction) and one.module == module.__name__}
    return {name for name, one in functions.items() if not any(isinstance(node, ast.Return) for node in ast.walk(one.parse()))}
