"""Posed photographs -> HashGrid.

load_capture(path, downscale=1, progress=None) -> Capture      transforms.json, or a folder with one or with a COLMAP model
Training(capture, recipe, device).step() ... .field() -> HashGrid
"""

from splatview.fit.capture import Capture, load_capture

__all__ = ["Capture", "load_capture"]
