"""Networks of ONNX files at work. The one file that knows `onnxruntime`.

A file is not trusted: it is read whole, names no other file, and what it takes and gives is tried with a small picture.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from splatview.arrays import Bytes, Floats
from splatview.frame import Interrupted
from splatview.stylize.onnx_graph import Graph, read
from splatview.stylize.onnx_style import FOUND_OUT, LEAST_SIDE, Declared, Values

LARGEST = 1 << 30  # bytes of a file
MULTIPLES = (4, 8, 16, 32, 64)  # of which the sides of a network's pictures may have to be
SCALES = {"0..1": (1 / 255, 0.0), "0..255": (1.0, 0.0), "-1..1": (1 / 127.5, -1.0)}  # of a byte


def load_network(path: Path, declared: Declared = FOUND_OUT, threads: int | None = None) -> OnnxNetwork:
    """The network of an ONNX file, on a GPU where onnxruntime has one; `threads` of a CPU, None: as many as it has cores.

    ValueError if it is no network that makes a picture of a picture. OSError if it cannot be read.
    """
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path}: expected an ONNX model of at most {LARGEST >> 20} MiB, got {size >> 20} MiB")
    if not size:
        raise ValueError(f"{path}: the file is empty")
    try:
        return OnnxNetwork.of(read(path.read_bytes()), declared, threads)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class Calls:
    """Calls that are in progress, on any thread. Once they are closed they end where the network has its next node, and no other begins."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._now: set[onnxruntime.RunOptions] = set()
        self._over = False

    @contextmanager
    def one(self) -> Iterator[onnxruntime.RunOptions]:
        """A call, with its options; Interrupted if it is ended."""
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4  # that it was ended is told by its error
        with self._changing:
            if self._over:
                raise Interrupted("the network was closed")
            self._now.add(options)
        try:
            yield options
        except Exception:  # onnxruntime's have no class of their own
            if options.terminate:
                raise Interrupted("the network was closed") from None
            raise
        finally:
            with self._changing:
                self._now.remove(options)

    def close(self) -> None:
        with self._changing:
            self._over = True
            for options in self._now:
                options.terminate = True


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """Redraws pictures of any size: mirrored at their borders up to a size that it takes, or brought to the only one."""

    graph: Graph
    session: onnxruntime.InferenceSession
    multiple: int  # of which its sides must be; 0: it has but one size
    convention: Declared  # nothing is "auto"
    calls: Calls = field(default_factory=Calls)

    @staticmethod
    def of(graph: Graph, declared: Declared = FOUND_OUT, threads: int | None = None) -> OnnxNetwork:
        """ValueError if it does not run."""
        found, fault = _session(graph.resizable, threads)
        if found is not None:
            for multiple in MULTIPLES:
                network = OnnxNetwork(graph, found, multiple, Declared("RGB", "0..1"))
                if not (fault := network._fault(LEAST_SIDE + multiple, LEAST_SIDE + 3 * multiple)):
                    return network._with(declared)
        if graph.source.size is not None:
            found, fault = _session(graph.model, threads)
            if found is not None:
                network = OnnxNetwork(graph, found, 0, Declared("RGB", "0..1"))
                if not (fault := network._fault(*graph.source.size)):
                    return network._with(declared)
        raise ValueError(f"the network does not run: {fault}")

    @property
    def about(self) -> tuple[str, ...]:
        return self.convention.channels, self.convention.values, self.session.get_providers()[0].removesuffix("ExecutionProvider")

    def __call__(self, rgb8: Bytes) -> Floats:
        """[H, W, 3] sRGB, 0..255 and a little beyond."""
        height, width = rgb8.shape[:2]
        if self.multiple:
            below, right = -height % self.multiple, -width % self.multiple
            given = cv2.copyMakeBorder(rgb8, 0, below, 0, right, cv2.BORDER_REFLECT_101)
            return self._redrawn(given)[:height, :width]
        rows, columns = self.graph.source.size or (height, width)
        return np.asarray(cv2.resize(self._redrawn(cv2.resize(rgb8, (columns, rows))), (width, height)), np.float32)

    def close(self) -> None:
        self.calls.close()

    def again(self) -> OnnxNetwork:
        return replace(self, calls=Calls())

    def _redrawn(self, rgb8: np.ndarray) -> Floats:
        scale, offset = (np.float32(one) for one in SCALES[self.convention.values])
        order = slice(None, None, -1 if self.convention.channels == "BGR" else 1)
        return (self._run((rgb8 * scale + offset)[..., order])[..., order] - offset) / scale

    def _run(self, values: Floats) -> Floats:
        """[H, W, 3] in the network's own channels and values."""
        source, result = self.graph.source, self.graph.result
        given = values.transpose(2, 0, 1) if source.channels_first else values
        with self.calls.one() as options:
            found = self.session.run([result.name], {source.name: np.ascontiguousarray(given[None], source.dtype)}, options)[0]
        picture = np.asarray(found, np.float32)[0]
        return picture.transpose(1, 2, 0) if result.channels_first else picture

    def _fault(self, height: int, width: int) -> str:
        """Why it makes no picture of a picture of that size; "" if it does."""
        try:
            shape = self._run(_test_picture(height, width)).shape
        except Exception as error:  # onnxruntime's have no class of their own
            return " ".join(str(error).split())
        return "" if shape == (height, width, 3) else f"of a picture of {width} x {height} it makes {list(shape)}"

    def _with(self, declared: Declared) -> OnnxNetwork:
        """The same with the convention that is declared, or else that the file tells, or else that a picture of 0..1 brings to light:

        what it makes of it are values beyond 2 (0..255), many below 0 (-1..1) or neither (0..1). Channels are then RGB.
        """
        says = self.graph.says
        values = declared.values if declared.values != "auto" else says.values
        channels = declared.channels if declared.channels != "auto" else says.channels
        if values == "auto":
            values = "0..255" if self.graph.source.dtype is np.uint8 else self._values_by_trial()
        return replace(self, convention=Declared("RGB" if channels == "auto" else channels, values))

    def _values_by_trial(self) -> Values:
        rows, columns = (LEAST_SIDE + self.multiple,) * 2 if self.multiple else self.graph.source.size or (LEAST_SIDE,) * 2
        low, high = np.percentile(self._run(_test_picture(rows, columns)), (5, 99))
        return "0..1" if low >= -0.25 and high <= 2 else "-1..1" if low >= -2 and high <= 2 else "0..255"


def _session(model: bytes, threads: int | None) -> tuple[onnxruntime.InferenceSession | None, str]:
    """A session, or why there is none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave their cores to the camera
    options.log_severity_level = 4  # what is wrong is told by its errors
    known = onnxruntime.get_available_providers()
    providers = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in known]
    fault = ""
    for place in range(len(providers)):  # by itself it would do so, too, and print it
        try:
            return onnxruntime.InferenceSession(model, options, providers=providers[place:], enable_fallback=0), ""
        except Exception as error:  # onnxruntime's have no class of their own
            fault = " ".join(str(error).split())
    return None, fault


def _test_picture(height: int, width: int) -> Floats:
    """[H, W, 3] of waves of all colours, 0 to 1."""
    down, across = np.arange(height, dtype=np.float32)[:, None] / height, np.arange(width, dtype=np.float32) / width
    return np.stack([0.5 + 0.5 * np.sin(20 * across + 7 * turn * down + 2 * turn) for turn in range(3)], -1).astype(np.float32)
