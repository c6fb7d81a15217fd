"""Measuring what redraws frames beside what draws them: the figures of `splatview bench --models`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from splatview.arrays import Bytes
from splatview.camera import Camera
from splatview.cli.ending import held_back
from splatview.cli.faults import one_line
from splatview.cli.measuring import measure
from splatview.cli.sizes import Size
from splatview.extras import MissingExtra, need
from splatview.fit.quality import psnr, ssim
from splatview.frame import Renderer, RenderOptions
from splatview.scene import Scene
from splatview.stylize.catalogue import Choice
from splatview.stylize.diffusing import Diffusing
from splatview.stylize.hub import NotHere
from splatview.stylize.opening import PACKAGES

if TYPE_CHECKING:
    from splatview.stylize.parts import Model
    from splatview.stylize.profiling import Way

SPLATS, FIELD = Size(1920, 1080), Size(800, 800)
SIZES = {"cpu": Size(256, 256), "cuda": Size(512, 512)}  # of what models redraw
MANY, FEW = 50, 4  # steps
STRENGTH = 0.5
FRAMES = 3
WARM = 2  # of many
PROMPT = Diffusing().prompt[0].text
PATIENCE = 600.0  # seconds that a faster way to run a model is waited for

Tell = Callable[[float, str], None]
Kind = Literal["many", "one by one", "streamed"]


@dataclass(frozen=True)
class Row:
    """One way to a picture. What could not be measured has a note alone."""

    what: str
    size: str = ""
    frame_ms: float | None = None  # from one picture to the next
    latency_ms: float | None = None  # from a frame to its picture
    psnr: float | None = None  # dB to what many steps of the same model make of the same frame
    ssim: float | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)  # of a frame
    calls: int = 0  # of the network, in the stage denoise
    text_ms: float | None = None  # once a prompt
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A model, and how it is used: titles of ways, and their kinds."""

    model: Choice
    shape: str  # of `untrained`
    ways: Mapping[str, Kind]


CASES = (
    Case(Choice("sd15-lcm", plain=True), "sd15", {f"SD 1.5, {MANY} steps": "many"}),
    Case(Choice("sd15-lcm"), "sd15", {f"LCM, {FEW} steps": "one by one", f"LCM, {FEW} steps, stream batch": "streamed"}),
    Case(Choice("sd-turbo"), "sd-turbo", {"SD-Turbo, 1 step": "one by one"}),
)


@dataclass(frozen=True, eq=False)
class Stage:
    """What is drawn, and by whom."""

    scene: Scene
    renderer: Renderer
    view: Callable[[Scene], Camera]

    def part(self, splats: bool) -> Scene:
        """Its splats, or its fields."""
        return Scene({name: layer for name, layer in self.scene.layers.items() if (name in self.scene.splat_layers) == splats})

    def rows(self, frames: int) -> Iterator[Row]:
        for what, size, splats in (("splats", SPLATS, True), ("hash grid", FIELD, False)):
            part = self.part(splats)
            if not part.layers:
                yield Row(what, str(size), note="the scene has none")
                continue
            found = measure(self.renderer, part, size.fit(self.view(part)), frames)
            yield Row(what, str(size), found.frame_ms, found.frame_ms, stages_ms=found.stages_ms, note=self.renderer.name)

    def picture(self, size: Size) -> Bytes:
        """What the models redraw."""
        part = self.part(splats=True) if self.scene.splat_layers else self.scene
        return self.renderer.render(part, size.fit(self.view(part)), RenderOptions(outputs=("rgb8",))).rgb8


def table(stage: Stage, size: Size | None, frames: int, random_weights: bool, tell: Tell) -> list[Row]:
    """All rows: of models, which redraw a picture of `size` (None: what suits the machine), then of scenes."""
    done: list[Row] = []
    total = sum(len(case.ways) for case in CASES) + 2
    told = lambda share, text: tell((len(done) + share) / total, text)
    opened: dict[str, Model] = {}  # the last one: they are large
    reference: Bytes | None = None
    for case in CASES:
        told(0.0, case.model.model)
        try:
            if not (random_weights and case.shape in opened):
                opened.clear()
                gc.collect()
                opened[case.shape] = _opened(case, random_weights)
        except (NotHere, MissingExtra, ValueError, OSError) as error:
            why = f"not here: splatview models --fetch {case.model.model}" if isinstance(error, NotHere) else one_line(error)
            done += [Row(what, note=why) for what in case.ways]
            continue
        model = opened[case.shape]
        picture = stage.picture(size or SIZES[model.device.type])
        for what, kind in case.ways.items():
            row, redrawn = _measured(model, what, kind, picture, frames, told)
            if kind == "many":
                reference = redrawn
            elif not random_weights and reference is not None and case.model.model == CASES[0].model.model:
                one, other = (np.asarray(image / 255, np.float32) for image in (redrawn, reference))
                row = replace(row, psnr=psnr(one, other), ssim=ssim(one, other))
            done.append(row)
    opened.clear()
    for row in stage.rows(frames):
        done.append(row)
        told(0.0, row.what)
    return done


def _opened(case: Case, random_weights: bool) -> Model:
    need("the diffusion stylizer", "stylize", *PACKAGES)
    with held_back():
        from splatview.stylize.models import load
    if random_weights:
        from splatview.stylize.untrained import SHAPES, untrained

        return untrained(SHAPES[case.shape])
    return load(case.model)


def _measured(model: Model, what: str, kind: Kind, picture: Bytes, frames: int, tell: Tell) -> tuple[Row, Bytes]:
    """How a way does with `picture`, and what it makes of it."""
    import torch

    from splatview.stylize.acceleration import Acceleration, ways
    from splatview.stylize.pictures import floats
    from splatview.stylize.profiling import profile, text_ms

    pixels = floats(torch.tensor(picture, device=model.device).permute(2, 0, 1)[None])
    spent = text_ms(model, PROMPT)
    with closing(Acceleration(model, ways("auto", model))) as acceleration:
        quick = acceleration.model
        for _ in range(2 if quick is not model else 1):  # then as fast as it gets
            warm = _way(quick, kind, WARM, lambda step: None)
            profile(quick, warm, pixels, warm.late)
            acceleration.settle(PATIENCE)
        way = _way(quick, kind, MANY, lambda step: tell(step / MANY, f"{what}: {step} of {MANY}"))
        tell(0.0, what)
        found = profile(quick, way, pixels, (1 if kind == "many" else frames) + way.late - 1)
        note = acceleration.in_use
    size = f"{picture.shape[1]}x{picture.shape[0]}"
    late = way.late * found.frame_ms
    return Row(what, size, found.frame_ms, late, None, None, found.stages_ms, way.calls, spent, note), found.picture


def _way(model: Model, kind: Kind, many: int, tell: Callable[[int], None]) -> Way:
    """How `model` takes its steps."""
    from splatview.stylize.denoise import Asked
    from splatview.stylize.profiling import OneByOne, Streamed
    from splatview.stylize.sampling import ManySteps

    prompt, negative = model.encode_text(PROMPT).rows, model.unwanted("").rows
    if kind == "many":
        return ManySteps(model, prompt, negative, strength=STRENGTH, steps=many, tell=tell)
    steps = 1 if model.family == "turbo" else FEW
    return (Streamed if kind == "streamed" else OneByOne)(model, Asked(prompt), STRENGTH, steps)
