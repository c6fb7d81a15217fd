"""Pictures of a webcam, as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from splatview.arrays import Bytes

FAILS = 10  # times in a row that a camera may give nothing before it is gone
MOST = (1 << 31) - 1  # that OpenCV can be told: no machine has so many
PATIENCE = 0.5  # seconds that closing waits for a picture that is on its way


class Webcam:
    """The camera `number` of this machine; `size` (width, height) is asked for, and it gives what is nearest. OSError if there is none."""

    def __init__(
        self, number: int, size: tuple[int, int] | None = None, opened: Callable[[int], Any] = cv2.VideoCapture, devices: str = "/dev"
    ) -> None:
        self.number = number
        self._using, self._closed = threading.Lock(), False
        with _quiet():
            self._capture = opened(min(number, MOST))
            if not self._capture.isOpened():
                here = ", ".join(sorted(path.name.removeprefix("video") for path in Path(devices).glob("video[0-9]*")))
                raise OSError(f"webcam {number}: there is none, or another program has it (here: {here or 'no webcam'})")
            if size is not None:
                self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
                self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # what waits in there is late

    @property
    def rate(self) -> float:
        """Pictures a second, as it says."""
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        return rate if 1 <= rate <= 1000 else 30.0

    def pictures(self) -> Iterator[Bytes]:
        """[H, W, 3] sRGB, without end. OSError when the camera is gone."""
        fails = 0
        while fails < FAILS:
            with self._using:
                if self._closed:
                    self._capture.release()
                    return
                there, picture = self._capture.read()
            fails = 0 if there else fails + 1
            if there:
                yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        raise OSError(f"webcam {self.number}: it gives no pictures any more")

    def close(self) -> None:
        """Let it go; a camera that does not answer is let go when it does, since it must not be while it is read."""
        self._closed = True
        if self._using.acquire(timeout=PATIENCE):
            self._capture.release()
            self._using.release()


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV's own words about what it cannot open are left out."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
