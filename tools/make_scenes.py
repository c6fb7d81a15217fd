#!/usr/bin/env python3
"""Makes the bundled demo scene from procedural geometry, scenes/led_stage.spz, and a hash-grid field of it, scenes/led_stage.ingp.

    make_scenes.py [--output scenes/led_stage.spz]
    make_scenes.py --field [scenes/led_stage.ingp]       # photographs the scene that is there, and trains on that

A film stage with a curved LED wall that shows a desert at sunset. Everything is drawn from formulas and fixed seeds, lit
by the wall, the ceiling panel and the lamps, and written as flat Gaussians; scenes/README.md tells how. Needs numpy and scipy, and for
the field PyTorch.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scenes_car import car
from scenes_light import Field, Lights, display, fit_harmonics, irradiance
from scenes_props import MATTE, apple_boxes, chair, cinema_camera, flight_case, floor_cable, monitor_cart, softbox, stand
from scenes_stage import ARC, BOTTOM, CEILING, LAMPS, RADIUS, TOP, ceiling, ceiling_picture, floor, picture, rigging, wall
from scenes_surfels import Material, Surfels, join
from scipy import ndimage

from splatview import harmonics
from splatview.cli import main as splatview
from splatview.formats import spz, spz_container
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.geometry import quat_from_matrix

HERE = Path(__file__).resolve().parent
SEED = 20
LED_GAIN, CEILING_GAIN, LAMP_GAIN, SOFTBOX_GAIN = 3.0, 3.6, 20.0, 8.0  # of what they shine over what they show
SOFTBOX_LIGHT = (1.35, 1.25, 1.12)
SOFTBOX_AT, SOFTBOX_TURN, SOFTBOX_HEIGHT, SOFTBOX_TILT = (-3.7, -1.0), -62.0, 2.15, 22.0
DEGREE = 3
CAPTURE = "--photos", "200"
FIT = "--log2-size", "15", "--finest", "512", "--downscale", "2", "--steps", "4500", "--device", "cpu", "--restart"
LOW, HIGH = np.array([-8.6, -9.8, -0.1]), np.array([8.6, 7.2, 6.3])  # where things cast shadows


def say(text: str) -> None:
    print(f"[{time.perf_counter() - STARTED:5.1f} s] {text}", flush=True)


def props(image: NDArray) -> Surfels:
    """Everything that stands on the floor."""

    def shot(zoom: float, at: float):
        def look(u: NDArray, v: NDArray) -> NDArray:
            i = np.clip(((1 - u - 0.5) * zoom + at) * image.shape[0], 0, image.shape[0] - 1).astype(int)
            j = np.clip((0.05 + 0.8 * v) * image.shape[1], 0, image.shape[1] - 1).astype(int)
            return image[i, j] * 0.95

        return look

    mirrored = shot(0.2, 0.47)
    return join([
        car().placed((0.35, 0.95, 0.0), 138),
        cinema_camera(lambda u, v: mirrored(1 - u, v)).placed((2.75, -3.5, 0.0), 28),
        chair().placed((-2.95, -4.1, 0), -30),
        chair().placed((-2.1, -4.55, 0), -18),
        monitor_cart([shot(0.2, 0.47), shot(0.14, 0.6)]).placed((-2.1, -3.0, 0), 160),
        flight_case((1.2, 0.6, 0.7), MATTE, True).placed((4.6, -3.7, 0), 8),
        flight_case((0.7, 0.5, 0.4)).placed((4.55, -3.7, 0.83), 14),
        flight_case((0.8, 0.6, 0.6), Material((0.02, 0.05, 0.11)), True).placed((5.3, -2.7, 0), -20),
        flight_case((1.0, 0.6, 0.55), Material((0.12, 0.02, 0.02)), True).placed((-4.9, -3.2, 0), 24),
        flight_case((0.6, 0.4, 0.35)).placed((-4.95, -3.15, 0.68), 40),
        apple_boxes().placed((1.55, -2.5, 0), 35),
        softbox(SOFTBOX_HEIGHT, 1.2, SOFTBOX_TILT, SOFTBOX_LIGHT).placed((*SOFTBOX_AT, 0), SOFTBOX_TURN),
        stand(2.3).placed((3.9, -0.5, 0), 50),
        floor_cable((5.0, -3.2), (4.2, -2.6), (3.9, -1.4), (4.0, -0.6)),
        floor_cable((2.6, -4.2), (2.2, -5.0), (0.9, -4.9), (-0.4, -5.2), (-1.3, -4.0), (-2.0, -3.3)),
        floor_cable((-2.4, -3.0), (-3.3, -2.4), (-3.7, -1.8), (-3.75, -1.05)),
        floor_cable((-3.8, -1.0), (-4.6, -1.2), (-5.0, -2.2), (-4.9, -3.0)),
    ])  # fmt: skip


def lights(image: NDArray) -> Lights:
    """What shines, cut into small areas."""
    columns, rows = 16, 4
    mean = image.reshape(columns, image.shape[0] // columns, rows, image.shape[1] // rows, 3).mean((1, 3))
    turn = ((np.arange(columns) + 0.5) / columns - 0.5) * 2 * ARC
    height = BOTTOM + (np.arange(rows) + 0.5) / rows * (TOP - BOTTOM)
    turn, height = (a.ravel() for a in np.meshgrid(turn, height, indexing="ij"))
    centre = [np.stack([RADIUS * np.sin(turn), RADIUS * np.cos(turn), height], -1)]
    normal = [np.stack([-np.sin(turn), -np.cos(turn), 0 * turn], -1)]
    flux = [mean.reshape(-1, 3) * LED_GAIN * 2 * ARC * RADIUS * (TOP - BOTTOM) / (columns * rows)]
    focus = [np.ones(columns * rows)]

    x0, x1, y0, y1, z = CEILING
    x, y = np.meshgrid(x0 + (np.arange(4) + 0.5) / 4 * (x1 - x0), y0 + (np.arange(3) + 0.5) / 3 * (y1 - y0), indexing="ij")
    centre.append(np.stack([x.ravel(), y.ravel(), np.full(12, z)], -1))
    normal.append(np.tile([0.0, 0, -1], (12, 1)))
    flux.append(ceiling_picture(x.ravel(), y.ravel()) * CEILING_GAIN * (x1 - x0) * (y1 - y0) / 12)
    focus.append(np.ones(12))

    turn, tilt = np.radians(SOFTBOX_TURN), np.radians(SOFTBOX_TILT)
    facing = np.array([-np.sin(turn) * np.cos(tilt), np.cos(turn) * np.cos(tilt), -np.sin(tilt)])
    middle = np.array([*SOFTBOX_AT, SOFTBOX_HEIGHT]) + 0.4 * facing
    across = np.array([np.cos(turn), np.sin(turn), 0])
    for i in (-0.3, 0.3):
        for j in (-0.3, 0.3):
            centre.append((middle + i * across + j * np.cross(across, facing))[None])
            normal.append(facing[None])
            flux.append(np.array(SOFTBOX_LIGHT)[None] * SOFTBOX_GAIN * 1.44 / 4)
            focus.append(np.ones(1))
    for at, aim, colour in LAMPS:
        way = np.array(aim) - np.array(at)
        centre.append(np.array(at)[None] + 0.3 * way / np.linalg.norm(way))
        normal.append((way / np.linalg.norm(way))[None])
        flux.append(np.array(colour)[None] * LAMP_GAIN)
        focus.append(np.full(1, 8.0))
    return Lights(*(np.concatenate(part) for part in (centre, normal, flux, focus)))


class Mirror:
    """What a ray that leaves a shiny surface sees: the wall, the ceiling, solid things, the floor, else the dark studio."""

    def __init__(self, image: NDArray, field: Field, blur: float, floor_light: float) -> None:
        pixels = blur * image.shape[1] / (TOP - BOTTOM)
        self.image = np.stack([ndimage.gaussian_filter(image[..., i], pixels, mode="nearest") for i in range(3)], -1)
        self.field, self.floor_light = field, floor_light

    def __call__(self, points: NDArray, ways: NDArray) -> NDArray:
        light = np.full(points.shape, 0.006)
        level = np.maximum((ways[:, :2] ** 2).sum(1), 1e-9)
        dot = (points[:, :2] * ways[:, :2]).sum(1)
        inside = dot**2 - level * ((points[:, :2] ** 2).sum(1) - RADIUS**2)
        reach = (-dot + np.sqrt(np.maximum(inside, 0))) / level
        at = points + ways * reach[:, None]
        turn = np.arctan2(at[:, 0], at[:, 1])
        row = (at[:, 2] - BOTTOM) / (TOP - BOTTOM)
        hit = (inside > 0) & (reach > 0) & (np.abs(turn) < ARC) & (row > 0)
        i = np.clip((turn / ARC + 1) / 2 * self.image.shape[0], 0, self.image.shape[0] - 1).astype(int)
        j = np.clip(row * self.image.shape[1], 0, self.image.shape[1] - 1).astype(int)
        glow = np.exp(-np.clip(row - 1, 0, None) / 0.45)[:, None]  # haze above the wall
        light[hit] = self.image[i[hit], j[hit]] * glow[hit]
        reach = np.where(hit, reach, 14.0)

        x0, x1, y0, y1, z = CEILING
        to_ceiling = (z - points[:, 2]) / np.where(ways[:, 2] > 1e-4, ways[:, 2], np.inf)
        over = points + ways * np.where(np.isfinite(to_ceiling), to_ceiling, 0)[:, None]
        shown = (ways[:, 2] > 1e-4) & (over[:, 0] > x0) & (over[:, 0] < x1) & (over[:, 1] > y0) & (over[:, 1] < y1) & (to_ceiling < reach)
        light[shown] = ceiling_picture(over[shown, 0], over[shown, 1])
        reach = np.where(shown, to_ceiling, reach)

        to_floor = np.where(ways[:, 2] < -1e-4, -points[:, 2] / np.minimum(ways[:, 2], -1e-4), np.inf)
        below = (to_floor < reach) & (points[:, 2] > 0.05)
        light[below] = self.floor_light
        reach = np.where(below, to_floor, reach)

        _, stop = self.field.trace(points, ways, reach - 0.12, steps=28)
        solid = stop >= 0
        light[solid] = self.field.colour[stop[solid]]
        return light


def eyes(elsewhere: float) -> tuple[NDArray, NDArray]:
    """Where people look from [M, 3], and how much it matters [M]: in front of the stage most, `elsewhere` times that in other places."""
    rng = np.random.default_rng(SEED)
    boxes = [
        ((-2.5, -19, 3.5), (2.5, -13, 8.0), 40, 1.0),
        ((-2.2, -11, 1.4), (2.2, -8, 3.4), 40, 1.0),
        ((-7, -9, 0.5), (7, 4, 3.0), 80, elsewhere),
        ((-10, -16, 0.5), (10, 6, 9.0), 60, elsewhere),
    ]
    places = [low + rng.random((count, 3)) * (np.array(high) - low) for low, high, count, _ in boxes]
    return np.concatenate(places), np.concatenate([np.full(count, weight) for _, _, count, weight in boxes])


def sent_out(surfels: Surfels, image: NDArray, field: Field) -> NDArray:
    """The light [N, 3] that surfels send out whichever way one looks: their own and what they scatter."""
    light = surfels.emission.copy()
    rows = np.flatnonzero(light.max(1) == 0)
    dull = surfels.take(rows)
    up = dull.normal[:, 2:]
    ambient = np.array([0.080, 0.070, 0.086]) * (0.6 + 0.4 * up) + np.array([0.035, 0.022, 0.020]) * (0.5 - 0.5 * up)
    arriving = irradiance(dull, lights(image), field, say) + ambient
    light[rows] = dull.albedo * arriving * (0.25 + 0.75 * field.occlusion(dull.centre, dull.normal)[:, None])
    return light


def plain(light: NDArray) -> NDArray:
    """The harmonics [N, K, 3] of light [N, 3] that is the same from everywhere."""
    sh = np.zeros((len(light), harmonics.coefficients(DEGREE), 3))
    sh[:, 0] = (display(light) - 0.5) / harmonics.C0
    return sh


def led_stage() -> Gaussians:
    """The demo scene, z up, metres."""
    image = picture()
    ground, screens, things = floor(), join([wall(image), ceiling()]), join([props(image), rigging()])
    say(f"{len(screens)} wall and ceiling, {len(ground)} floor, {len(things)} props and rigging")
    haze = things.take(things.alpha < 0.2)
    lit = join([ground, things.take(things.alpha >= 0.2), screens])

    blocking = np.arange(len(ground), len(lit) - len(screens))
    blocking = blocking[lit.centre[blocking, 2] > 0.03]
    field = Field.around(lit.take(blocking), LOW, HIGH, 0.05)
    say("distance field")
    light = sent_out(lit, image, field)
    say("light and shadow")

    sh = plain(light)
    field = field.coloured(lit.take(blocking), light[blocking])
    shiny = np.flatnonzero(lit.specular.max(1) >= 0.05)
    ground_rows, other_rows = np.split(shiny, [np.searchsorted(shiny, len(ground))])
    for rows, blur, lift, elsewhere in ((ground_rows, 0.14, 0.02, 0.4), (other_rows, 0.06, 0.09, 0.4)):
        mirror = Mirror(image, field, blur, 0.03)
        sh[rows] = fit_harmonics(lit.take(rows), light[rows], *eyes(elsewhere), mirror, DEGREE, lift)
        say(f"reflections in {len(rows)} surfels")

    whole = join([lit, haze])
    return Gaussians(
        means=whole.centre.astype(np.float32),
        quats=quat_from_matrix(whole.frame).astype(np.float32),
        log_scales=np.log(whole.sigma).astype(np.float32),
        opacity_logits=np.log(whole.alpha / (1 - whole.alpha)).astype(np.float32),
        sh=np.concatenate([sh, plain(haze.emission)]).astype(np.float32),
    )


def spz_bytes(splats: Gaussians) -> bytes:
    """The scene as `.spz` version 3 whose harmonics keep all 8 bits; the usual 5 and 4 would mottle the floor."""
    report = Report()
    header, planes = spz_container.unpack(spz.encode(splats.with_max_degree(0)), report)
    rest = np.clip(np.rint(splats.sh[:, 1:] * 128) + 128, 0, 255).astype(np.uint8)
    return spz_container.pack(replace(header, degree=DEGREE), [*planes[:5], rest.ravel()], report)


def train_field(splats: Path, output: Path) -> None:
    """Photograph the scene and train on that, by the commands that anybody may give."""
    with tempfile.TemporaryDirectory() as folder:
        photos = f"{folder}/{output.stem}"
        for command in (["capture", str(splats), photos, *CAPTURE], ["fit", photos, str(output), *FIT]):
            say(f"splatview {' '.join(command)}")
            if code := splatview(command):
                raise SystemExit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE.parent / "scenes" / "led_stage.spz")
    field = HERE.parent / "scenes" / "led_stage.ingp"
    parser.add_argument("--field", type=Path, nargs="?", const=field, help="train this field from the scene in --output instead")
    args = parser.parse_args()
    if args.field:
        train_field(args.output, args.field)
        return
    splats = led_stage()
    args.output.write_bytes(spz_bytes(splats))
    say(f"{args.output}: {len(splats)} Gaussians, {args.output.stat().st_size / 1e6:.2f} MB")


STARTED = time.perf_counter()

if __name__ == "__main__":
    main()
