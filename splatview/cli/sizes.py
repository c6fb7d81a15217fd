"""Picture sizes on the command line: 1280x720."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from splatview.camera import Camera


@dataclass(frozen=True)
class Size:
    """Pixels."""

    width: int
    height: int

    @staticmethod
    def parse(text: str) -> Size:
        """The size written as WIDTHxHEIGHT; ValueError if it is not one of 1 to 32768 pixels a side."""
        match = re.fullmatch(r"(\d+)[xX](\d+)", text)
        size = Size(int(match[1]), int(match[2])) if match else Size(0, 0)
        if not (1 <= size.width <= 32768 and 1 <= size.height <= 32768):
            raise ValueError(f"expected WIDTHxHEIGHT such as 1280x720, 1 to 32768 pixels a side, got {text!r}")
        return size

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def fit(self, camera: Camera) -> Camera:
        """The view of `camera` at this size: its vertical field of view is kept, its sides are cut or widened evenly."""
        scale = self.height / camera.height
        K = camera.K.copy()
        K[:2] *= scale
        K[0, 2] += (self.width - scale * camera.width) / 2
        return Camera(K, camera.camera_from_world, self.width, self.height)


MaybeSize = Annotated[  # one constructor for the whole: of a union tyro would tell what every part of it is, with addresses
    Size | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="WIDTHxHEIGHT",
        instance_from_str=lambda words: Size.parse(words[0]),
        is_instance=lambda value: value is None or isinstance(value, Size),
        str_from_instance=lambda size: [str(size)],
    ),
    arg(help_behavior_hint=""),
]
