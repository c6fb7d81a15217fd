"""`splatview render`: pictures of a scene."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from splatview.cli.cameras import CameraFlags
from splatview.cli.documents import DocumentFlags
from splatview.cli.drawing import DrawingFlags
from splatview.cli.faults import UserError
from splatview.cli.flags import MaybeLevel, ScenePaths
from splatview.cli.loading import renderer
from splatview.cli.waiting import counted
from splatview.render import Backend


@dataclass(frozen=True)
class Command:
    """Draw a scene, or what a document (.splatview) has made of one: one picture, or one for each camera of a path.

    Example: splatview render garden.ply -o out.png --size 1920x1080
    """

    scenes: ScenePaths
    """Scene files, several are drawn together; or one document (.splatview)."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="PICTURE")]
    """The picture: .png, .jpg or .webp. For a path of cameras a name such as out_%04d.png is numbered from 0;
    out.png then becomes out_0000.png, out_0001.png, ..."""
    level: MaybeLevel = None
    """Level of detail of streamed scenes, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    depth: bool = False
    """Also write the depth along the view axis beside each picture; 0 where there is nothing.
    out_depth.npy, float32 in scene units (exact), and out_depth.png, 16 bits, thousandths of a scene unit, at most 65.534."""
    alpha: bool = False
    """Leave the background transparent: write RGBA (straight alpha) instead of RGB. Needs .png or .webp."""
    backend: Backend = "auto"
    """What draws."""
    viewpoint: OmitArgPrefixes[CameraFlags] = field(default_factory=CameraFlags)
    drawing: OmitArgPrefixes[DrawingFlags] = field(default_factory=DrawingFlags)
    documents: OmitArgPrefixes[DocumentFlags] = field(default_factory=DocumentFlags)

    def run(self) -> None:
        from splatview.cli.pictures import PICTURE_SUFFIXES, numbered, write_picture

        if self.output.suffix.lower() not in PICTURE_SUFFIXES:
            raise UserError(f"--output: expected a name that ends in {', '.join(PICTURE_SUFFIXES)}, got {self.output}")
        if self.alpha and self.output.suffix.lower() in (".jpg", ".jpeg"):
            raise UserError(f"--alpha: a JPEG file holds no transparency; name a .png or .webp instead of {self.output}")
        options = self.drawing.options(alpha=self.alpha, depth=self.depth)
        state = self.documents.state(self.scenes, self.level, self.backend)
        options = replace(options, hidden=state.undrawn)
        cameras = self.viewpoint.cameras(state.scene)
        paths = numbered(self.output, len(cameras))
        draw = renderer(self.backend)
        started = time.perf_counter()
        for path, camera in counted(list(zip(paths, cameras, strict=True)), "drawing"):
            write_picture(path, draw.render(state.scene, camera, options), alpha=self.alpha, depth=self.depth)
        names = paths[0] if len(paths) == 1 else f"{paths[0]} .. {paths[-1]}"
        print(f"{names}: {cameras[0].width} x {cameras[0].height}, {len(paths)} drawn in {time.perf_counter() - started:.2f} s")
