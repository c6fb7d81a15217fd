"""Posed photographs -> HashGrid.

load_capture(path, downscale=1, box_scale=None, progress=None) -> Capture    transforms.json, or a folder with one or a COLMAP model
training.Training(capture, recipe, device): .step(progress) ... .value() -> HashGrid
"""

from splatview.fit.capture import Capture, load_capture

__all__ = ["Capture", "load_capture"]
