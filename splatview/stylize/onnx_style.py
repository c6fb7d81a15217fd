"""Redrawn by a small network: any image-to-image model in an ONNX file, live on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from splatview.arrays import Bytes, Floats
from splatview.extras import need
from splatview.frame import Frame
from splatview.stylize.controls import check, option, slider

LEAST_SIDE = 64  # pixels that a network sees at least: some mirror 40 of them at their borders


Channels = Literal["auto", "RGB", "BGR"]
Values = Literal["auto", "0..1", "0..255", "-1..1"]


@dataclass(frozen=True)
class Declared:
    """How a model wants its pictures and gives them; what is "auto" is found out."""

    channels: Channels = "auto"
    values: Values = "auto"


FOUND_OUT = Declared()


@dataclass(frozen=True)
class Redrawing:
    """How a network redraws frames."""

    width: int = slider(320, 96, 1920, 16, "of what the network sees, at most the frame's; the frame gets what it changed")
    strength: float = slider(1.0, 0, 1.5, 0.05, "how much of what the network changed is changed")
    file: str = option("", "its ONNX file, where a saved style is to find it again")

    def __post_init__(self) -> None:
        check(self)


SMALL = Redrawing()


class Network(Protocol):
    """Redraws pictures of any size."""

    @property
    def about(self) -> tuple[str, ...]:
        """For people: how it wants its pictures, and where it runs."""
        ...

    def __call__(self, rgb8: Bytes) -> Floats:
        """[H, W, 3] sRGB, 0..255 and a bit beyond, of `rgb8` [H, W, 3], with sides of LEAST_SIDE or more; Interrupted if it is closed."""
        ...

    def close(self) -> None:
        """Have calls that are in progress given up, on any thread, and all that come later."""
        ...

    def again(self) -> Network:
        """The same network, open, and to be closed by itself."""
        ...


class OnnxStyle:
    """A stylizer. The network sees frames at the width of its controls, and what it changes is enlarged and added to the whole frame."""

    def __init__(self, network: Network, controls: Redrawing = SMALL) -> None:
        self.network = network
        self.controls = controls

    def close(self) -> None:
        """Nothing is redrawn any more, and what is in progress is given up."""
        self.network.close()

    def style(self, frame: Frame) -> Bytes:
        """[H, W, 3] sRGB; Interrupted if it was closed."""
        rgb8, controls = frame.rgb8, self.controls
        height, width = rgb8.shape[:2]
        seen_width = min(width, controls.width)
        seen_height = max(1, round(height * seen_width / width))
        seen = np.asarray(cv2.resize(rgb8, (seen_width, seen_height), interpolation=cv2.INTER_AREA), np.uint8)
        more = max(0, LEAST_SIDE - seen_height), max(0, LEAST_SIDE - seen_width)
        mirrored = cv2.copyMakeBorder(seen, 0, more[0], 0, more[1], cv2.BORDER_REFLECT_101)
        redrawn = self.network(np.asarray(mirrored, np.uint8))[:seen_height, :seen_width]
        change = cv2.resize(np.nan_to_num(redrawn) - seen, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.addWeighted(rgb8, 1, change, controls.strength, 0, dtype=cv2.CV_8U), np.uint8)


def open_onnx(path: Path, declared: Declared = FOUND_OUT, controls: Redrawing = SMALL) -> OnnxStyle:
    """The stylizer of an ONNX file.

    MissingExtra: its packages are not installed. OSError: the file cannot be read. ValueError: it is no image-to-image model.
    """
    need("a style from an ONNX file", "onnx", "onnx", "onnxruntime")
    from splatview.stylize.onnx_model import load_network

    return OnnxStyle(load_network(path, declared), controls)
