"""Networks that people drop on the page: tried, and kept where all of them are."""

from __future__ import annotations

import filecmp
import shutil
from itertools import count
from pathlib import Path

from splatview.outputs.beside import beside
from splatview.stylize import hub
from splatview.stylize.onnx_style import open_onnx

SUFFIX = ".onnx"


def kept(path: Path) -> Path:
    """Where the network of `path` is from now on: in the folder of models, under its own name as long as no other has it.

    ValueError: it makes no picture of a picture. MissingExtra: its packages are not installed. OSError: it cannot be kept.
    """
    open_onnx(path)
    home = hub.home()
    home.mkdir(parents=True, exist_ok=True)
    names = (path.stem if number == 1 else f"{path.stem} {number}" for number in count(1))
    for place in (home / (name + SUFFIX) for name in names):
        if not place.exists():
            with beside(place) as part:
                shutil.copyfile(path, part)
            return place
        if filecmp.cmp(path, place, shallow=False):
            return place
    raise AssertionError  # numbers do not end
