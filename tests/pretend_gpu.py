"""A GPU that is not there: tensors have the device "cuda", shapes, strides and dtypes, and no numbers.

Operations are PyTorch's own, in the form in which its compilers try them (FakeTensorMode): those that mix devices or dtypes fail as they do
on a GPU. What goes to the device and what is waited for is written down; numbers that come back are all the same. How many places there
are of something (`nonzero`) only the device would know: it is refused, or they are all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray}
READ = {Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__}
MOVED = {Tensor.to, Tensor.cpu, Tensor.cuda}
FIND = {torch.nonzero, Tensor.nonzero}
ALIKE = {functional.linear, functional.layer_norm, functional.group_norm}  # these FakeTensorMode lets mix floats, CUDA's kernels do not


class PretendGpu(TorchFunctionMode):
    """While it is entered, on any number of threads, there is a device "cuda"."""

    def __init__(self, number: float = 0, finds: bool = False) -> None:
        """`number`: what comes back; `finds`: `nonzero` finds all places, and is not refused."""
        super().__init__()
        self._number, self._finds = number, finds
        self._fake = FakeTensorMode()
        self._thread = 0  # whose doings are written down
        self.uploads: list[tuple[int, ...]] = []  # the shapes of what was sent to the device
        self.waits: list[str] = []  # for what the processor waited until the device had done all that it was given

    @contextmanager
    def counted(self) -> Iterator[PretendGpu]:
        """Write down anew what this thread does inside."""
        self.uploads, self.waits, self._thread = [], [], get_ident()
        yield self
        self._thread = 0

    def _waited(self, what: str) -> None:
        if get_ident() == self._thread:
            self.waits.append(what)

    def put(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """One of the same shape there; nothing is counted."""
        with self._fake:
            return torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype or tensor.dtype, device=CUDA)

    def hold(self, network: nn.Module) -> None:
        """Put the weights of `network` there."""
        for module in network.modules():
            for name, value in module._parameters.items():
                module._parameters[name] = None if value is None else nn.Parameter(self.put(value), requires_grad=False)
            for name, value in module._buffers.items():
                module._buffers[name] = None if value is None else self.put(value)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        wanted = kwargs.get("device")
        there = wanted is not None and torch.device(wanted).type == "cuda"
        mine = [one for one in tree_leaves((args, kwargs)) if isinstance(one, FakeTensor)]
        if func in MOVED:
            return self._moved(func, *args, **kwargs)
        if func in FROM_NUMBERS and there and not mine:
            return self._sent(func(*args, **{**kwargs, "device": "cpu"}))
        if not (mine or there):
            return func(*args, **kwargs)
        if func in READ:
            return self._read(func.__name__, func, args[0])
        if func is Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func is Tensor.copy_:
            given = args[1] if isinstance(args[1], FakeTensor) else self._sent(args[1], waits=not kwargs.get("non_blocking", False))
            return self._there(_put_in, (args[0], ..., given), {})
        if func in FIND and self._finds:
            self._waited("places are counted")
            return self._there(_everywhere, (mine[0], kwargs.get("as_tuple", False)), {})
        if func is Tensor.__invert__:  # Python's own looks for a device first
            return self._there(torch.bitwise_not, args, {})
        if func is Tensor.contiguous:
            kept = {"memory_format": torch.contiguous_format, **kwargs}
            return args[0] if args[0].is_contiguous(**kept) else self._there(Tensor.clone, args, kept)
        if func is Tensor.__getitem__:
            if any(_far(one) for one in tree_leaves(args[1])):
                self._waited("to the device: places")
            return self._there(_taken, args, {})
        if func is Tensor.__setitem__:
            if any(one.dtype == torch.bool for one in tree_leaves(args[1]) if isinstance(one, Tensor)):
                self._waited("a mask is counted")
            return self._there(_put_in, args, {})
        if func in ALIKE | {functional.grid_sample} and len({one.dtype for one in mine}) > 1:
            raise RuntimeError(f"{func.__name__}: expected all of one dtype, got {[one.dtype for one in mine]}")
        if func is functional.grid_sample:  # its form for compilers cannot be tried here
            return self.put(torch.empty(*args[0].shape[:2], *args[1].shape[1:3], dtype=args[0].dtype))
        return self._there(func, args, kwargs)

    def _there(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self._fake:
            return func(*args, **kwargs)

    def _moved(self, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """`to`, `cpu` and `cuda`."""
        given = [*args, *kwargs.values()]
        like = [one for one in given if isinstance(one, Tensor)]
        devices = [torch.device(one) for one in given if isinstance(one, (str, torch.device))] + [one.device for one in like]
        device = {Tensor.cpu: "cpu", Tensor.cuda: "cuda"}.get(func) or (devices[0].type if devices else tensor.device.type)
        dtype = next((one for one in given if isinstance(one, torch.dtype)), like[0].dtype if like else tensor.dtype)
        form, at_once = kwargs.get("memory_format", torch.preserve_format), not kwargs.get("non_blocking", False)
        here = not isinstance(tensor, FakeTensor)
        if here and device == "cuda":
            return self._sent(tensor.to(dtype, memory_format=form), waits=at_once)
        if here:
            return func(tensor, *args, **kwargs)
        if device == "cpu" and at_once:
            return self._read("to the processor", lambda read: read.to(dtype), tensor)
        if device == "cpu":
            return self._number_of(tensor, dtype)
        return self._there(Tensor.to, (tensor, dtype), {"memory_format": form, "copy": kwargs.get("copy", False)})

    def _sent(self, tensor: Tensor, waits: bool = True) -> Tensor:
        """To the device. PyTorch waits for it, unless it is told not to."""
        if get_ident() == self._thread:
            self.uploads.append(tuple(tensor.shape))
        if waits:
            self._waited(f"to the device {tuple(tensor.shape)}")
        return self.put(tensor)

    def _read(self, what: str, read: Any, tensor: Tensor) -> Any:
        self._waited(what)
        return read(self._number_of(tensor, tensor.dtype))

    def _number_of(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.full(tensor.shape, self._number, dtype=dtype)


def _taken(tensor: Tensor, key: Any) -> Tensor:
    """`tensor[key]`, which PyTorch does for devices that are there only; a mask, whose count would have to be waited for, fails."""
    alike = lambda one: torch.empty_strided(one.shape, one.stride(), dtype=one.dtype, device="meta") if isinstance(one, Tensor) else one
    found = alike(tensor)[tree_map(alike, key)]
    if not found._is_view():
        return torch.empty_strided(found.shape, found.stride(), dtype=found.dtype, device=tensor.device)
    return torch.as_strided(tensor, found.shape, found.stride(), found.storage_offset() + tensor.storage_offset())


def _everywhere(tensor: Tensor, apart: bool) -> Tensor | tuple[Tensor, ...]:
    """As `torch.nonzero` of what is 0 nowhere."""
    places = torch.empty_strided((tensor.numel(), tensor.ndim), (1, tensor.numel()), dtype=torch.int64, device=tensor.device)
    return places.unbind(1) if apart else places


def _put_in(tensor: Tensor, key: Any, value: Any) -> Tensor:
    """`tensor[key] = value`."""
    place = _taken(tensor, key)
    _ = torch.broadcast_to(value, place.shape) + place if isinstance(value, Tensor) else place + value  # whether they fit
    return tensor


def _far(one: Any) -> bool:
    """Whether it is a tensor of places on the processor."""
    return isinstance(one, Tensor) and not isinstance(one, FakeTensor) and one.ndim > 0
