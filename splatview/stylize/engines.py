"""Networks on TensorRT. The one file that knows it. An engine takes minutes to build, and is kept for the next time.

Written against TensorRT 10 and 11: in both a network in halves is built from a file that is in halves ("strongly typed").
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from splatview.extras import MissingExtra
from splatview.stylize.acceleration import Flat, Progress, Run, Signature
from splatview.stylize.export import MOST, OUTPUT, export, input_names

SPACE = 4 << 30  # bytes that the builder may use to try kernels


def engine(network: Flat, signature: Signature, sample: list[Tensor], progress: Progress) -> Run:
    """`network` on TensorRT, for rows of the size of `sample`, 16 at a time: read, or built and kept."""
    tensorrt = _tensorrt()
    place = folder() / f"{key(network, signature, torch.cuda.get_device_name(sample[0].device), tensorrt.__version__)}.engine"
    if not place.exists():
        plan = built(network, sample, progress)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.write(plan)
        Path(file.name).replace(place)
    return in_parts(Engine(_opened(place), input_names(network)), MOST)


def in_parts(run: Run, most: int) -> Run:
    """`run` for any number of rows, `most` at a time."""

    def all_rows(*tensors: Tensor) -> Tensor:
        if len(tensors[0]) <= most:
            return run(*tensors)
        return torch.cat([run(*part) for part in zip(*(tensor.split(most) for tensor in tensors), strict=True)])

    return all_rows


def _tensorrt() -> Any:
    if find_spec("tensorrt") is None:
        raise MissingExtra("it is not installed: pip install tensorrt-cu13, or tensorrt-cu12, as your PyTorch's CUDA, and onnxscript")
    if find_spec("onnxscript") is None:
        raise MissingExtra("it is given networks by way of onnxscript: pip install onnxscript")
    return import_module("tensorrt")


_open: WeakValueDictionary[Path, Any] = WeakValueDictionary()


def _opened(place: Path) -> Any:
    """The engine in a file, once for all numbers of rows, as long as any is run: its weights take gigabytes of the GPU."""
    if (there := _open.get(place)) is not None:
        return there
    tensorrt = _tensorrt()
    runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(place.read_bytes())
    if engine is None:
        raise ValueError(f"TensorRT does not take {place}, which it built itself: remove it")
    _open[place] = engine
    return engine


def folder() -> Path:
    """Where engines are kept: in the XDG cache folder."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".cache") / "splatview" / "engines"


def key(network: Flat, signature: Signature, gpu: str, release: str) -> str:
    """The name of an engine: another for other weights (with LoRAs), sizes of a row, GPU, TensorRT or PyTorch."""
    digest = hashlib.sha256(f"{gpu}|{release}|{version('torch')}|{MOST}".encode())
    for name, shape, dtype in signature.shapes:
        digest.update(f"{name}{shape[1:]}{dtype}".encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}{_sums(value)}".encode())
    return digest.hexdigest()[:32]


def _sums(value: Tensor) -> tuple[int, ...]:
    """Two sums over the bits of a tensor, the second by place; the same on every device."""
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[value.element_size()]
    bits = value.detach().contiguous().view(-1).view(whole).to(torch.int64)
    return int(bits.sum()), int((bits * (torch.arange(len(bits), device=bits.device) % 65521 + 1)).sum())


def built(network: Flat, sample: Sequence[Tensor], progress: Progress) -> bytes:
    """The engine of `network`, by way of an ONNX file."""
    tensorrt = _tensorrt()
    log = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(log)
    old = int(tensorrt.__version__.partition(".")[0]) < 11  # then types are not strong by themselves
    flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if old else 0
    definition = builder.create_network(flags)
    parser = tensorrt.OnnxParser(definition, log)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "network.onnx"
        export(network, sample, path)
        progress(0.1)
        if not parser.parse_from_file(str(path)):
            raise ValueError(f"TensorRT does not take the network: {parser.get_error(0)}")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, SPACE)
    for name, tensor in zip(input_names(network), sample, strict=True):
        row = tuple(tensor.shape[1:])
        profile.set_shape(name, (1, *row), (min(MOST, len(tensor)), *row), (MOST, *row))
    config.add_optimization_profile(profile)
    monitor = _monitor(tensorrt, lambda fraction: progress(0.1 + 0.9 * fraction))  # it has to live as long as the builder uses it
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(definition, config)
    if plan is None:
        raise ValueError(
            "TensorRT could not build an engine (too little memory of the GPU?)" if progress(1) else "nobody wants it any more"
        )
    return bytes(plan)


class Engine:
    """A built network: tensors in, a tensor out, in the order of the current stream. Its memory is its own: one thread at a time.

    It runs on a stream of its own: on the default one TensorRT would have the processor wait.
    """

    def __init__(self, engine: Any, names: Sequence[str]) -> None:
        tensorrt = _tensorrt()
        self._engine, self._context, self._stream = engine, engine.create_execution_context(), torch.cuda.Stream()
        taken = {engine.get_tensor_name(number) for number in range(engine.num_io_tensors)}
        self._names = [name for name in names if name in taken]  # what a network does not use is not in it
        self._places = [place for place, name in enumerate(names) if name in taken]
        kinds = {tensorrt.float32: torch.float32, tensorrt.float16: torch.float16, tensorrt.int64: torch.int64, tensorrt.int32: torch.int32}
        self._types = [kinds[engine.get_tensor_dtype(name)] for name in self._names]

    def __call__(self, *tensors: Tensor) -> Tensor:
        inputs = [tensors[place].to(kind).contiguous() for place, kind in zip(self._places, self._types, strict=True)]
        device = inputs[0].device
        for name, tensor in zip(self._names, inputs, strict=True):
            self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())
        output = torch.empty(tuple(self._context.get_tensor_shape(OUTPUT)), dtype=torch.float32, device=device)
        self._context.set_tensor_address(OUTPUT, output.data_ptr())
        with torch.cuda.device(device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            done = self._context.execute_async_v3(self._stream.cuda_stream)
            current.wait_stream(self._stream)  # and so what is let go here is used again only afterwards
        if not done:
            raise RuntimeError("TensorRT could not run the engine")
        return output


def _monitor(tensorrt: Any, progress: Callable[[float], bool]) -> Any:
    """What TensorRT tells how far it is with its outermost phase, and asks whether it shall go on."""

    class Monitor(tensorrt.IProgressMonitor):
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._done = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                self._done = (step + 1) / max(1, self._steps[phase_name])
            return progress(self._done)

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
