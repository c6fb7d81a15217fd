"""The cameras that a command draws from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from splatview.camera import Camera
from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_FILE
from splatview.cli.sizes import MaybeSize, Size
from splatview.framing import UpAxis, frame_scene
from splatview.scene import Scene


@dataclass(frozen=True)
class CameraFlags:
    """Where to draw from."""

    camera: Annotated[Path | None, MAYBE_FILE] = None
    """A file with one camera or a path of them: JSON of ours, nerfstudio camera_path.json, transforms.json, INRIA cameras.json.
    Without it the scene is shown whole, from the front; a field whose photographs are known, from where one was taken."""
    size: MaybeSize = None
    """Size of the picture. Default: the camera file's, or 1280x720. Another aspect keeps the vertical field of view."""
    fov: float = 50.0
    """Vertical field of view in degrees, where no camera file says it."""
    up: UpAxis = "auto"
    """The axis of the scene that points up, where no camera file says it."""

    def cameras(self, scene: Scene) -> list[Camera]:
        """One camera or more; UserError if the file holds none, or a flag makes no sense."""
        if self.camera is None:
            size = self.size or Size(1280, 720)
            if not 0 < self.fov < 180:
                raise UserError(f"--fov: expected degrees between 0 and 180, got {self.fov:g}")
            return [frame_scene(scene, self.up).camera(size.width, size.height, math.radians(self.fov))]
        return self.listed(self.camera)

    def listed(self, path: Path) -> list[Camera]:
        """Those of a file, one or more; UserError if it holds none."""
        from splatview.formats.cameras import load_cameras

        with users_fault(ValueError, OSError):
            cameras = list(load_cameras(path))
        if not cameras:
            raise UserError(f"{path}: expected at least one camera, found none")
        return [self.size.fit(camera) for camera in cameras] if self.size else cameras
