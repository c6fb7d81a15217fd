"""A small capture of our own making: a coloured ball on nothing, photographed from around."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy_field

from splatview import Camera

SIZE, PHOTOS = 32, 41


def ball(camera: Camera) -> np.ndarray:
    """[H, W, 4] what a camera sees of a unit ball at the origin, whose colour tells where one looks at it."""
    origins, directions = numpy_field.rays(camera)
    middle = -(origins * directions).sum(-1)
    reach = middle**2 - (origins**2).sum(-1) + 1
    hit = reach > 0
    at = origins + (middle - np.sqrt(np.maximum(reach, 0)))[..., None] * directions
    pixels = np.concatenate([0.5 + 0.4 * at, np.ones((*hit.shape, 1))], -1) * hit[..., None]
    return (pixels * 255).round().astype(np.uint8)


def write(folder: Path, photos: int = PHOTOS, size: int = SIZE) -> Path:
    """A folder with `transforms.json` and its photos; one more is listed than there is."""
    (folder / "images").mkdir(parents=True)
    frames = []
    for number in range(photos):
        turn, height = 2.1 * number, 1.2 * np.sin(1.7 * number)
        camera = Camera.look_at((3 * np.cos(turn), 3 * np.sin(turn), height), (0, 0, 0), (0, 0, 1), 0.9, size, size)
        cv2.imwrite(str(folder / f"images/{number:02}.png"), cv2.cvtColor(ball(camera), cv2.COLOR_RGBA2BGRA))
        pose = np.linalg.inv(camera.camera_from_world) @ np.diag([1.0, -1, -1, 1])
        frames.append({"file_path": f"images/{number:02}.png", "transform_matrix": pose.tolist()})
    frames.append({**frames[0], "file_path": "images/lost.png"})
    content = {"fl_x": size / 2 / np.tan(0.45), "w": size, "h": size, "aabb_scale": 1, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder
