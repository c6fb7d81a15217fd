"""Faster ways to run a model's networks: made in the background, checked, and only then taken.

A network runs as it is until a faster way is ready for the shapes that it is called with, and again while one is made for other shapes:
frames never wait. A way that fails, or whose results differ, is left out, and the next one is tried; a line says which is in use, and why.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from splatview.stylize.parts import Model
from splatview.stylize.recording import Graph

log = logging.getLogger(__name__)

Accelerator = Literal["auto", "eager", "compile", "graphs", "tensorrt"]
Run = Callable[..., Tensor]
Progress = Callable[[float], bool]  # how far it is -> whether it is still wanted

PATIENCE = 1.0  # seconds that `close` waits for a compiler, which nothing can stop
KEPT = 8  # shapes of a network that are kept ready
TOLERANCE = 0.05  # of the largest number: halves, summed in another order
COMPILED = 1 << 16  # forms of a function that PyTorch keeps; of more than 8 it would compile no more, and not say so
NAMES = {"unet": "the denoiser", "encode": "the encoder", "decode": "the decoder"}


@dataclass(frozen=True)
class Signature:
    """The shapes that a network is called with: of its tensors, those in mappings by name."""

    shapes: tuple[tuple[str, tuple[int, ...], torch.dtype], ...]

    @staticmethod
    def of(inputs: Sequence[Any]) -> Signature:
        return Signature(tuple((name, tuple(tensor.shape), tensor.dtype) for name, tensor in flat(inputs)))

    def sample(self, device: torch.device, seed: int = 0) -> list[Tensor]:
        """Tensors of these shapes, in their order: noise, and timesteps."""
        draw = torch.Generator().manual_seed(seed)
        numbers = lambda shape, dtype: torch.randn(shape, generator=draw) if dtype.is_floating_point else torch.full(shape, 499)
        return [numbers(shape, dtype).to(device, dtype) for _, shape, dtype in self.shapes]


@dataclass(frozen=True)
class Way:
    """How a network is made faster: `make` takes it, sample inputs as `flat` has them, and whom to tell how far it is."""

    name: str
    make: Callable[[Flat, Signature, list[Tensor], Progress], Run]


def flat(inputs: Sequence[Any]) -> list[tuple[str, Tensor]]:
    """All tensors among `inputs`, with names: of mappings theirs, in alphabetical order, of others their number."""
    named: list[tuple[str, Tensor]] = []
    for number, one in enumerate(inputs):
        named += sorted(one.items()) if isinstance(one, Mapping) else [(str(number), one)]
    return named


class Flat(nn.Module):
    """A network that takes its tensors in a row, as graphs and files do."""

    def __init__(self, network: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)
        self.eval()

    def forward(self, *tensors: Tensor) -> Tensor:
        mapping = {name: tensor for name, tensor in zip(self.names, tensors, strict=True) if not name.isdigit()}
        plain = [tensor for name, tensor in zip(self.names, tensors, strict=True) if name.isdigit()]
        return self.network(*plain, mapping) if mapping else self.network(*plain)


def twin(network: Any) -> Any:
    """A network with the same weights in the same memory, whatever is put in their place in one of them.

    Tracers do that for as long as they trace: frames that go through the same modules meanwhile would be given the tracers' tensors.
    """
    if not isinstance(network, nn.Module):
        return network
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


class Part:
    """One network of a model, in whatever way is ready for its inputs."""

    def __init__(self, name: str, plain: Any, want: Callable[[Part, Signature], None], failed: Callable[[Exception], None]) -> None:
        self.name, self.plain, self._want, self._failed = name, plain, want, failed
        self._ready: OrderedDict[Signature, Run] = OrderedDict()
        self.asked: set[Signature] = set()  # for these a faster way is ready, or is being made

    def __call__(self, *inputs: Any) -> Tensor:
        signature = Signature.of(inputs)
        run = self._ready.get(signature)
        if run is not None:
            try:
                return run(*(tensor for _, tensor in flat(inputs)))
            except Exception as error:  # of memory that others take by now, for instance
                self._ready = OrderedDict((one, way) for one, way in self._ready.items() if one != signature)
                self._failed(error)
        if signature not in self.asked:
            self.asked.add(signature)
            self._want(self, signature)
        return self.plain(*inputs)

    @property
    def ready(self) -> bool:
        """Whether there is a faster way for any inputs."""
        return bool(self._ready)

    def forget(self) -> None:
        """Be as plain as at first."""
        self._ready, self.asked = OrderedDict(), set()

    def put(self, signature: Signature, run: Run) -> None:
        """From now on inputs of `signature` go through `run`."""
        ready = OrderedDict(self._ready)
        ready[signature] = run
        while len(ready) > KEPT:
            self.asked.discard(ready.popitem(last=False)[0])
        self._ready = ready  # whole: another thread may be reading


# One at a time in a process: PyTorch records no two graphs at once, and compilers wait for the device, at which a recording would fail.
_making = threading.Lock()


class Acceleration:
    """The networks of `model`, made faster by the first of `ways` that works, on a thread of its own. `close` ends it."""

    def __init__(self, model: Model, ways: Sequence[Way]) -> None:
        self._ways, self._device = list(ways), model.device
        self._changed = threading.Condition()
        self._wanted: dict[Part, Signature] = {}  # of each part the newest
        self._busy = self._closed = False
        self._doing = ""
        self.faults: list[str] = []  # why ways were left out
        parts = {"unet": model.unet, "encode": model.codec.encode, "decode": model.codec.decode}
        self.parts = {name: Part(name, plain, self._want, self._failed) for name, plain in parts.items()}
        codec = replace(model.codec, encode=self.parts["encode"], decode=self.parts["decode"])
        self.model = replace(model, unet=self.parts["unet"], codec=codec) if ways else model
        self._thread = threading.Thread(target=self._work, name="acceleration", daemon=True)
        if ways:
            self._thread.start()

    @property
    def in_use(self) -> str:
        """Which way is taken, what is being made, and what did not work, in one line."""
        ways = self._ways[:1] if any(part.ready for part in self.parts.values()) else []
        way = ways[0].name if ways else "eager"
        return "; ".join([f"{way}{f', {self._doing}' if self._doing else ''}", *self.faults])

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is wanted any more, or for `timeout` seconds; whether nothing is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._wanted or self._busy), timeout)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)

    def _failed(self, error: Exception) -> None:
        """A way that was ready failed at work: those inputs are run as they are from now on."""
        self._tell(f"{self._ways[0].name if self._ways else 'a faster way'} failed at work: {_one_line(error)}")

    def _tell(self, fault: str) -> None:
        if fault not in self.faults:
            log.warning(fault)
            self.faults.append(fault)

    def _want(self, part: Part, signature: Signature) -> None:
        with self._changed:
            if self._closed:
                return
            if part in self._wanted:
                part.asked.discard(self._wanted[part])  # it may come back
            self._wanted[part] = signature
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._wanted or self._closed)
                if self._closed:
                    return
                part = next(iter(self._wanted))
                signature, self._busy = self._wanted.pop(part), True
            self._made(part, signature)
            self._doing = ""

    def _made(self, part: Part, signature: Signature) -> None:
        """Have `part` ready for `signature` in the first way that works; ways that do not are not tried again."""
        while self._ways and not self._closed:
            way = self._ways[0]
            try:
                with _making, self._on_device():
                    if not self._closed:  # while others were at work
                        part.put(signature, self._checked(way, part, signature))
                return
            except Exception as error:  # of compilers and drivers, in words of their own
                if self._closed:  # that may be why
                    return
                self._tell(f"{way.name} does not work here: {_one_line(error)}")
                self._ways.pop(0)
                for other in self.parts.values():
                    other.forget()

    def _on_device(self) -> AbstractContextManager[Any]:
        """With the model's GPU, of several, as the one that is meant."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

    @torch.no_grad()
    def _checked(self, way: Way, part: Part, signature: Signature) -> Run:
        """`part` made faster; ValueError if what it gives is something else."""

        def tell(fraction: float) -> bool:
            self._doing = f"making {way.name} of {NAMES[part.name]} ({fraction:.0%})"
            return not self._closed

        tell(0)
        network = Flat(twin(part.plain), [name for name, *_ in signature.shapes])
        run = way.make(network, signature, signature.sample(self._device), tell)
        others = signature.sample(self._device, 1)  # what has only kept its results would give those again
        expected, found = network(*others), run(*others)
        difference = float((expected - found).abs().max() / expected.abs().max().clamp_min(1e-6))
        if not difference <= TOLERANCE:
            raise ValueError(f"the results of {NAMES[part.name]} differ by {difference:.1%}")
        return run


def _one_line(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"


def compiled(network: Flat, signature: Signature, sample: list[Tensor], progress: Progress) -> Run:
    """By torch.compile; on a GPU with its calls recorded."""
    from torch._dynamo import config as dynamo  # here: this takes a second

    on_gpu = sample[0].is_cuda
    quick = torch.compile(network, dynamic=False, mode="max-autotune-no-cudagraphs" if on_gpu else None)
    with dynamo.patch(cache_size_limit=COMPILED, accumulated_cache_size_limit=COMPILED):
        quick(*sample)
    progress(0.9)
    return Graph(quick, sample) if on_gpu else quick


def recorded(network: Flat, signature: Signature, sample: list[Tensor], progress: Progress) -> Run:
    """As it is, its calls recorded in a CUDA graph."""
    return Graph(network, sample)


def ways(accelerator: Accelerator, model: Model) -> list[Way]:
    """What is tried, in order; ValueError for an accelerator that is not known.

    `auto` is TensorRT where it is installed and CUDA graphs elsewhere. On a processor it is nothing: compiling takes longer than it saves.
    """
    if accelerator not in get_args(Accelerator):
        raise ValueError(f"accelerator: expected one of {', '.join(get_args(Accelerator))}; got {accelerator!r}")
    compiling, graphs = Way("torch.compile", compiled), Way("CUDA graphs", recorded)
    if accelerator == "eager" or (accelerator == "auto" and model.device.type != "cuda"):
        return []
    if accelerator == "tensorrt" or (accelerator == "auto" and find_spec("tensorrt")):
        from splatview.stylize.engines import engine  # the one file that knows TensorRT

        return [Way("TensorRT", engine), compiling, graphs]
    return [compiling, graphs] if accelerator == "compile" else [graphs]
