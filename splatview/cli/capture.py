"""`splatview capture`: photographs of a scene, with their poses, as training wants them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import OmitArgPrefixes, Positional, arg

from splatview import ngp
from splatview.arrays import Doubles
from splatview.camera import Camera
from splatview.cli.cameras import CameraFlags
from splatview.cli.documents import DocumentFlags
from splatview.cli.drawing import DrawingFlags
from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_FILE
from splatview.cli.loading import renderer
from splatview.cli.pictures import write_picture
from splatview.cli.sizes import MaybeSize, Size
from splatview.cli.vantage import Stand, views
from splatview.cli.waiting import waiting
from splatview.fit.lens import Lens
from splatview.fit.posed import Frame, Posed
from splatview.frame import Frame as Drawn
from splatview.framing import Framing, UpAxis, frame_scene
from splatview.geometry import Similarity
from splatview.render import Backend

SIZE = Size(800, 600)
MOST = 10_000  # photos
EVERY = 8  # pixels apart, on both axes, are those that tell where there is something
STRAY = 5e-4  # of what is seen, at each end of each axis, may lie outside of the box
MARGIN = 1.04  # of the box
BOUNDED = 2.0  # a scene that reaches farther, in radii of what is worth looking at, has a background, for which the box grows
CORE = 1.25  # radii, of the part that has the finest cells then


@dataclass(frozen=True)
class Command:
    """Photograph a scene from all around and from within, for training (`splatview fit`, instant-ngp, nerfstudio).

    Writes FOLDER/transforms.json and FOLDER/images/: pictures with alpha, so that what is empty stays empty. Places are kept: a field that
    is trained from them lies where the scene does.

    Example: splatview capture scenes/led_stage.spz stage/
    """

    scene: Annotated[Positional[Path], arg(metavar="SCENE")]
    """A scene file, or a document (.splatview), whose scene is photographed as it is shown."""
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Where to write: a new folder, or an empty one."""
    photos: int = 100
    """How many; fewer where there is no room for more."""
    stand: Stand = "both"
    """Around the scene, within it, or both. What is no room, but a closed thing, is best photographed from around alone."""
    opaque: bool = False
    """Write JPEG over the background instead of PNG with alpha: for a scene that has a sky all around, or a tool that reads no alpha."""
    camera: Annotated[Path | None, MAYBE_FILE] = None
    """A file of cameras to use instead (see `splatview render --help`)."""
    size: MaybeSize = None
    """Size of the photos. Default: the camera file's, or 800x600."""
    fov: float = 60.0
    """Vertical field of view in degrees, where no camera file says it."""
    up: UpAxis = "auto"
    """The axis of the scene that points up."""
    backend: Backend = "auto"
    """What draws."""
    drawing: OmitArgPrefixes[DrawingFlags] = field(default_factory=DrawingFlags)
    documents: OmitArgPrefixes[DocumentFlags] = field(default_factory=DocumentFlags)

    def run(self) -> None:
        from splatview.fit import transforms

        self._check()
        state = self.documents.state([self.scene], None, self.backend)
        drawn = self.drawing.options(alpha=not self.opaque, depth=True)
        options = replace(drawn, outputs=("rgb", "alpha", "depth"), hidden=state.undrawn)
        scene, framing = state.scene, frame_scene(state.result(), self.up)
        render = renderer(self.backend).render
        cameras, count = self._cameras(framing, lambda camera: render(scene, camera, options))
        with users_fault(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = tempfile.TemporaryDirectory(dir=self.folder, prefix=".", ignore_cleanup_errors=True)
        with beside as work, waiting("photographing") as progress:  # what is not finished leaves nothing
            frames, seen = [], [np.zeros((0, 3))]
            for number, camera in enumerate(cameras):
                file = Path(work) / "images" / f"{number:04d}{'.jpg' if self.opaque else '.png'}"
                frame = render(scene, camera, options)
                write_picture(file, frame, alpha=not self.opaque, depth=False)
                frames.append(Frame(file, lens_of(camera), camera.world_from_camera))
                seen.append(places(frame))
                progress((number + 1) / count, f"{number + 1} of {count}")
            if not frames:
                raise UserError(f"{self.scene}: expected something that is seen from around it, found nothing: name views by --camera")
            posed = Posed(tuple(frames), *box(np.concatenate(seen), framing))
            with users_fault(OSError):
                transforms.write(posed, Path(work) / "transforms.json")
                for name in ("images", "transforms.json"):
                    (Path(work) / name).rename(self.folder / name)
        lens = frames[0].lens
        print(f"{self.folder}: {len(frames)} photos of {lens.width} x {lens.height}, aabb_scale {posed.box_scale}")
        if framing.up_axis != "z":
            print(f"up is {framing.up_axis} in it, not z as fields have it: view a field of it with --up {framing.up_axis}")

    def _check(self) -> None:
        if self.folder.exists() and not (self.folder.is_dir() and next(self.folder.iterdir(), None) is None):
            raise UserError(f"{self.folder}: expected a new folder or an empty one, found something in the way")
        if not 1 <= self.photos <= MOST:
            raise UserError(f"--photos: expected 1 to {MOST}, got {self.photos}")
        if not 0 < self.fov < 180:
            raise UserError(f"--fov: expected degrees between 0 and 180, got {self.fov:g}")

    def _cameras(self, framing: Framing, draw: Callable[[Camera], Drawn]) -> tuple[Iterable[Camera], int]:
        """Where to photograph from, and how many these are at most."""
        if self.camera is None:
            size = self.size or SIZE
            return islice(views(framing, (size.width, size.height), math.radians(self.fov), draw, self.stand), self.photos), self.photos
        cameras = CameraFlags(self.camera, self.size).listed(self.camera)
        return cameras, len(cameras)


def lens_of(camera: Camera) -> Lens:
    (fx, fy), (cx, cy) = camera.K[[0, 1], [0, 1]].tolist(), camera.K[:2, 2].tolist()
    return Lens(camera.width, camera.height, fx, fy, cx, cy)


def places(frame: Drawn) -> Doubles:
    """Where [P, 3] things are that are seen in a picture."""
    rows, columns = np.mgrid[EVERY // 2 : frame.camera.height : EVERY, EVERY // 2 : frame.camera.width : EVERY]
    there = frame.alpha[rows, columns] > 0.5
    rows, columns = rows[there], columns[there]
    return frame.camera.unproject(np.stack([columns, rows], -1) + 0.5, frame.depth[rows, columns])


def box(seen: Doubles, framing: Framing) -> tuple[Similarity, int]:
    """The field's frame, and its `aabb_scale`, that hold what is `seen` [P, 3]: as tight as can be, unless there is a background."""
    middle, edge = np.asarray(framing.centre), 2 * CORE * framing.radius
    low, high = np.quantile(seen, [STRAY, 1 - STRAY], axis=0) if len(seen) else (middle, middle)
    reach = MARGIN * float(max((high - middle).max(), (middle - low).max()))
    if reach <= BOUNDED * framing.radius:
        middle, edge, scale = (low + high) / 2, max(MARGIN * float((high - low).max()), 1e-6 * framing.radius), 1
    else:
        scale = next((one for one in ngp.EDGES if one * edge / 2 >= reach), ngp.EDGES[-1])
    return ngp.field_from_world(1 / edge, tuple((0.5 - middle / edge).tolist())), scale
