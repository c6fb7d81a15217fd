"""What stylizers and videos need, and whether it is here. Nothing heavy is imported."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from splatview import Camera
from splatview.frame import Frame
from splatview.render.backends import Check, installed
from splatview.stylize import hub
from splatview.stylize.catalogue import DEFAULT
from splatview.stylize.filters import FILTERS
from splatview.stylize.opening import PACKAGES

VIDEOS = "videos"


def styles() -> dict[str, list[Check]]:
    """The checks, by kind of style; and those of videos, and of webcams with them."""
    return {
        "filters": [filtered()],
        "onnx": [installed(package, package, "pip install 'splatview[onnx]'") for package in ("onnx", "onnxruntime")],
        "diffusion": [*(installed(package, package, "pip install 'splatview[stylize]'") for package in PACKAGES), models(), tensorrt()],
        VIDEOS: [installed("av", "PyAV", "pip install 'splatview[stream]'")],
    }


def filtered() -> Check:
    """Whether the filter that is usual leaves a grey picture grey."""
    what, grey = "a picture", np.full((32, 32, 3), 128, np.uint8)
    name, made = next(iter(FILTERS.items()))
    try:
        picture = made().style(Frame(Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.8, 32, 32), {"rgb8": grey}))
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        return Check(what, False, " ".join(str(error).split()), "install splatview again")
    if np.abs(picture.astype(int) - grey).max() > 2:
        return Check(what, False, f"drawn by {name}, and wrong: {picture[16, 16].tolist()} in the middle", "install splatview again")
    return Check(what, True, f"drawn by {name}")


def models() -> Check:
    """Which models are here that draw."""
    if why := hub.fault():
        return Check("models", False, why, "let it be read, or set $SPLATVIEW_MODELS")
    found = hub.pipelines()
    return Check("models", bool(found), ", ".join(found) or "none is here", "" if found else f"splatview models --fetch {DEFAULT}")


def tensorrt() -> Check:
    """What makes models faster on a GPU: that is no need."""
    if find_spec("tensorrt") is None:
        return Check("TensorRT", True, "not installed: a GPU takes CUDA graphs (pip install tensorrt-cu13 onnxscript, or tensorrt-cu12)")
    return installed("tensorrt", "TensorRT")
