"""`splatview bench`: how fast this machine draws a scene."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from tyro.conf import OmitArgPrefixes, arg

from splatview.cli import flicker, grain, kinds
from splatview.cli.cameras import CameraFlags
from splatview.cli.documents import DocumentFlags
from splatview.cli.ending import ended_by_signals
from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_FILE, MaybeLevel, ScenePaths
from splatview.cli.flight import DRAWN, FRAMES, SIZE, Motion, fly_through
from splatview.cli.loading import contents, demo_scene, renderer
from splatview.cli.measuring import Measurement, measure
from splatview.cli.sizes import Size
from splatview.cli.waiting import counted, waiting
from splatview.extras import MissingExtra
from splatview.frame import Renderer
from splatview.render import Backend
from splatview.scene import Scene
from splatview.stylize.library import DIFFUSION

F = TypeVar("F")

SIZES = (Size(640, 360), Size(1280, 720), Size(1920, 1080))


@dataclass(frozen=True)
class Nothing:
    """No flags."""


@dataclass(frozen=True)
class Command(Generic[F]):
    """Measure how fast this machine draws a scene: the median milliseconds of a warm frame, whole and by stage, at several sizes.

    The first camera of --camera is used, or the default view. With --stylize, how much a style's pictures flicker, and what it takes to
    steady them: on a fixed fly-through of the bundled stage, with noise in every picture of styles that do not flicker by themselves.
    With --models, how fast diffusion models redraw a picture of the bundled stage, how close quick ways come to many steps, and how fast
    the stage is drawn beside that.
    """

    scenes: ScenePaths
    """Scene files, several are drawn together; or one document (.splatview)."""
    look: OmitArgPrefixes[F]
    """What can be turned of the style; `splatview bench --style NAME --help` tells it of another one."""
    level: MaybeLevel = None
    """Level of detail of streamed scenes, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    json: Annotated[Path | None, MAYBE_FILE] = None
    """Also write the figures to this file."""
    frames: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="")] = None
    """Frames that are measured at each size, after two to warm up. Default: 15; of the fly-through 24; of models 3."""
    stylize: bool = False
    """Measure flicker instead. SCENE is the bundled stage if none is given, and 640x360 the size."""
    style: str = flicker.PAINTERLY
    """The style that is measured with --stylize: painterly, or what `splatview stylize --style` takes."""
    noises: Annotated[int | None, arg(metavar="NUMBER", help_behavior_hint="")] = None
    """Of --style diffusion: how many noises the mean that its pictures are held against is taken of. Default: 16."""
    models: bool = False
    """Measure diffusion models instead: those that are here, of many steps, few and one.
    SCENE is the bundled stage, as splats and as a field, if none is given, and 256x256 (with a GPU 512x512) the size they draw at."""
    random_weights: bool = False
    """With --models: all of them in their true sizes with random weights. They are as fast, and nothing to look at."""
    backend: Backend = "auto"
    """What draws."""
    viewpoint: OmitArgPrefixes[CameraFlags] = field(default_factory=CameraFlags)
    documents: OmitArgPrefixes[DocumentFlags] = field(default_factory=DocumentFlags)

    def run(self) -> None:
        if self.models and self.stylize:
            raise UserError("--models and --stylize measure different things: expected one of them")
        if self.random_weights and not self.models:
            raise UserError("--random-weights are of models: expected --models, too")
        if self.noises is not None and (self.style != DIFFUSION or self.noises < 1):
            raise UserError(f"--noises: expected 1 or more, with --stylize --style {DIFFUSION}, got {self.noises}")
        if self.frames is not None and self.frames < (least := 2 if self.stylize else 1):
            raise UserError(f"--frames: expected {least} or more, got {self.frames}")
        if self.json is not None and not (self.json.absolute().parent.is_dir() and os.access(self.json.absolute().parent, os.W_OK)):
            raise UserError(f"{self.json}: nothing can be written in {self.json.absolute().parent}")
        bundled = (demo_scene(), demo_scene().with_suffix(".ingp")) if self.models else (demo_scene(),) if self.stylize else ()
        measured = self.redrawing if self.models else self.flicker if self.stylize else self.speed
        with ended_by_signals():
            state = self.documents.state(self.scenes or bundled, self.level, self.backend)
            found = measured(state.result(), renderer(self.backend))
        if self.json is not None:
            with users_fault(OSError):
                self.json.write_text(json.dumps(found, indent=2) + "\n")

    def speed(self, scene: Scene, draw: Renderer) -> dict[str, Any]:
        """Measure and print how fast frames are drawn; the figures for machines."""
        camera = self.viewpoint.cameras(scene)[0]
        views = [camera] if self.viewpoint.size else [size.fit(camera) for size in SIZES]
        rows = [measure(draw, scene, view, frames=self.frames or 15) for view in counted(views, "measuring")]
        print_rows(contents(scene), draw.name, rows)
        return {"gaussians": scene.count, "backend": draw.name, "sizes": [asdict(row) for row in rows]}

    def flicker(self, scene: Scene, draw: Renderer) -> dict[str, Any]:
        """Measure and print how much a style flickers; the figures for machines."""
        style: Any
        noise, noises = grain.Switched(), self.noises or grain.NOISES
        with waiting(f"opening {self.style}"), users_fault(ValueError, OSError, MissingExtra):
            if self.style == DIFFUSION:
                os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads would spin on cores that others need
                style = kinds.diffusion(kinds.controls_of(DIFFUSION, self.look), self.look, lambda seed: noise)
            else:
                style = flicker.style_of(self.style, self.look)
        size = self.viewpoint.size or SIZE
        cameras = list(fly_through(self.frames or FRAMES, size))
        frames = [draw.render(scene, camera, DRAWN) for camera in counted(cameras, "flying")]
        motions = [Motion.between(now, before) for before, now in pairwise(frames)]
        with waiting("steadying") as tell, ExitStack() as opened:
            if hasattr(style, "close"):
                opened.callback(style.close)
            if self.style == DIFFUSION:
                rows = grain.measure(frames, motions, style, noise, noises, tell)
            else:
                rows = flicker.measure(frames, motions, style, tell)
        moved = sum(motion.pixels for motion in motions) / len(motions)
        more = "" if flicker.flickers(style) else " with noise"
        print(f"{self.style}{more}, {len(frames)} frames of {size}, {moved:.1f} pixels from one to the next")
        explained = grain.EXPLAINED.format(noises=noises) if self.style == DIFFUSION else flicker.explained(style)
        flicker.print_table(rows, explained)
        return {"style": self.style, "width": size.width, "height": size.height, "pixels": moved, "ways": [asdict(row) for row in rows]}

    def redrawing(self, scene: Scene, draw: Renderer) -> dict[str, Any]:
        """Measure and print how fast models redraw; the figures for machines."""
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads would spin on cores that others need
        from splatview.cli import modelling, shares

        size = self.viewpoint.size
        if size is not None and (size.width % 8 or size.height % 8 or min(size.width, size.height) < 64):
            raise UserError(f"--size: expected multiples of 8 from 64 on, which models draw at, got {size}")
        if self.random_weights:
            print("random weights: speeds are those of the real models, pictures are noise", file=sys.stderr)
        stage = modelling.Stage(scene, draw, lambda part: replace(self.viewpoint, size=None).cameras(part)[0])
        with waiting("measuring") as tell:
            rows = modelling.table(stage, size, self.frames or modelling.FRAMES, self.random_weights, tell)
        shares.print_rows(rows)
        return {"random_weights": self.random_weights, "backend": draw.name, "rows": [asdict(row) for row in rows]}


def print_rows(what: str, backend: str, rows: list[Measurement]) -> None:
    """Write the figures for people."""
    stages = list(rows[0].stages_ms)
    print(f"{what}, backend {backend}; median milliseconds of a warm frame")
    print("".join(f"{title:>12}" for title in ("size", "frame", "per second", *stages)))
    for row in rows:
        numbers = (row.frame_ms, 1000 / row.frame_ms, *(row.stages_ms[stage] for stage in stages))
        print(f"{row.width}x{row.height}".rjust(12) + "".join(f"{number:>12.2f}" for number in numbers))


def command(arguments: Sequence[str]) -> Any:
    """The command with the flags of the style that the arguments name."""
    name = kinds.chosen(arguments, flicker.PAINTERLY)
    flags = Nothing if name == flicker.PAINTERLY else kinds.flags_of(name, arguments, without=("grain",))
    return Command[flags]  # pyright: ignore[reportInvalidTypeArguments]
