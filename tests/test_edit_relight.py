"""Relighting: the identity is exact, light adds up, and turning everything turns the result."""

from dataclasses import replace

import numpy as np
import pytest

import splatview
from splatview import harmonics
from splatview.camera import Camera
from splatview.edit import relight
from splatview.edit.relight import Directional, Point, lit, normals, relit
from splatview.gaussians import Gaussians, concatenate
from splatview.geometry import Similarity
from splatview.scene import Layer, Scene

PLACEMENT = Similarity((0.3, -0.5, 0.7, 0.2), (1.0, -2.0, 3.0), 2.5)
LIGHTS = (Directional((1, 2, -1), (1, 0.5, 0.2), 0.7), Point((2, 1, 0), (0.2, 0.5, 1), 2.0, 4.0))


def ball(count=4000, centre=(0, 0, 0), radius=1.0, seed=0, noise=0.1):
    """Flat Gaussians on a sphere, with normals of either sign that are off by about `noise` radians."""
    rng = np.random.default_rng(seed)
    outwards = rng.normal(size=(count, 3))
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    shown = outwards + noise * rng.normal(size=(count, 3))
    shown *= np.sign(rng.normal(size=(count, 1))) / np.linalg.norm(shown, axis=1, keepdims=True)
    half_way = shown + np.array([0, 0, 1])
    quats = np.concatenate([np.zeros((count, 1)), half_way / np.linalg.norm(half_way, axis=1, keepdims=True)], axis=1)
    scales = np.log(radius * np.array([0.04, 0.05, 0.004])) + rng.normal(0, 0.2, (count, 3))
    sh = np.concatenate([rng.normal(0, 0.3, (count, 1, 3)), rng.normal(0, 0.05, (count, 8, 3))], axis=1)
    return Gaussians(centre + radius * outwards, quats, scales, rng.uniform(0, 3, count), sh)


def colours(splats, sh, seed=0):
    """What is displayed of each from some direction, not clamped."""
    directions = np.random.default_rng(seed).normal(size=(len(splats), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return 0.5 + np.einsum("nk,nkc->nc", harmonics.basis(directions, splats.sh_degree), sh)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_normals_of_a_ball_point_outwards(noise):
    splats = ball(noise=noise)
    along = np.einsum("ni,ni->n", normals(splats, 0), splats.means)
    smooth = np.einsum("ni,ni->n", normals(splats, 3), splats.means)
    assert (along > 0).mean() > 0.999 and (smooth > 0.9).mean() > 0.98
    rough, smoothed = (np.arccos(np.clip(cosines, -1, 1)).mean() for cosines in (along, smooth))
    assert smoothed < (0.05 if noise == 0 else rough)
    np.testing.assert_allclose(np.linalg.norm(normals(splats, 3), axis=1), 1, atol=1e-5)


def test_sheets_are_turned_one_by_one():
    two = concatenate([ball(), ball(centre=(5, 0, 0), radius=0.5, seed=1)])
    out = two.means - np.repeat([[0, 0, 0], [5, 0, 0]], 4000, axis=0)
    assert (np.einsum("ni,ni->n", normals(two), out) > 0).mean() > 0.999


def test_normals_of_a_room_face_who_stands_in_it():
    splats = ball()
    inside = normals(splats, 1, (0.2, 0.1, 0))
    assert (np.einsum("ni,ni->n", inside, splats.means) < 0).mean() > 0.999
    placed = relit(splats, PLACEMENT, LIGHTS, towards=PLACEMENT.apply([0.2, 0.1, 0]))
    np.testing.assert_allclose(placed, lit(splats, normals(splats, 2, (0.2, 0.1, 0)), PLACEMENT, LIGHTS), atol=1e-5)


def test_ambient_alone_is_the_identity():
    splats = ball(100)
    assert relit(splats) is splats.sh
    dark = (Directional((0, 0, 1), strength=0.0), Point((0, 0, 0), strength=0.0))
    np.testing.assert_array_equal(relit(splats, PLACEMENT, dark), splats.sh)
    black = colours(splats, relit(splats, ambient=(0, 0, 0)))
    np.testing.assert_allclose(black, 0, atol=1e-6)
    half = colours(splats, relit(splats, ambient=(0.5, 1, 2)))
    np.testing.assert_allclose(half, colours(splats, splats.sh) * [0.5, 1, 2], atol=1e-5)


def test_light_adds_up_and_is_linear_in_strength():
    splats, facing = ball(500), normals(ball(500))

    def shown(*lights, ambient=(0.3, 0.3, 0.3)):
        return colours(splats, lit(splats, facing, PLACEMENT, lights, ambient)).astype(np.float64)

    dark = shown()
    for light in LIGHTS:
        twice = replace(light, strength=2 * light.strength)
        np.testing.assert_allclose(shown(twice) - dark, 2 * (shown(light) - dark), atol=1e-4)
    np.testing.assert_allclose(shown(*LIGHTS) - dark, sum(shown(light) - dark for light in LIGHTS), atol=1e-4)
    np.testing.assert_allclose(shown(*LIGHTS), shown(*LIGHTS[::-1]), atol=1e-5)
    assert np.abs(shown(*LIGHTS) - dark).max() > 0.1


def test_turning_everything_turns_the_result():
    splats = ball()
    here = relit(splats, Similarity(), LIGHTS, (0.2, 0.3, 0.4))
    sun, lamp = LIGHTS
    moved = (
        replace(sun, direction=tuple(PLACEMENT.rotation @ sun.direction)),
        replace(lamp, position=tuple(PLACEMENT.apply(lamp.position)), radius=PLACEMENT.scale * lamp.radius),
    )
    placed = relit(splats, PLACEMENT, moved, (0.2, 0.3, 0.4))
    np.testing.assert_allclose(placed, here, atol=1e-4)
    baked = relit(splats.transformed(PLACEMENT), Similarity(), moved, (0.2, 0.3, 0.4))
    difference = np.abs(baked - harmonics.rotate(here, PLACEMENT.rotation)).max(axis=(1, 2))
    assert (difference < 2e-3).mean() > 0.995


def test_the_side_that_faces_the_light_is_lit():
    splats = replace(ball(), sh=np.zeros((4000, 9, 3)))
    bright = colours(splats, relit(splats, lights=[Directional((-1, 0, 0))], ambient=(0, 0, 0)))[:, 0]
    np.testing.assert_allclose(bright, 0.5 * np.maximum(splats.means[:, 0], 0), atol=0.1)
    lamp = colours(splats, relit(splats, lights=[Point((2, 0, 0), radius=1.5)], ambient=(0, 0, 0)))[:, 0]
    reached = np.linalg.norm(splats.means - [2, 0, 0], axis=1) < 1.5
    np.testing.assert_allclose(lamp[~reached], 0, atol=1e-6)
    assert lamp[reached].max() > 0.1 and (lamp[reached & (splats.means[:, 0] > 0.6)] > 0).all()


def test_a_picture_of_it():
    splats = replace(ball(), sh=np.zeros((4000, 1, 3)))
    camera = Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.7, 64, 64)
    lit_splats = replace(splats, sh=relit(splats, lights=[Directional((0, 0, -1))], ambient=(0.1, 0.1, 0.1)))
    picture = splatview.open_renderer("cpu").render(Scene({"": Layer(lit_splats)}), camera).rgb
    assert picture[16, 32, 0] > 2 * picture[48, 32, 0] > 0


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_gaussians(count):
    splats = ball(10).take(np.arange(count))
    assert normals(splats).shape == (count, 3)
    assert relit(splats, PLACEMENT, LIGHTS).shape == splats.sh.shape


def test_broken_and_round_gaussians_harm_nobody():
    splats = ball()
    scales, means, quats = splats.log_scales.copy(), splats.means.copy(), splats.quats.copy()
    scales[:50] = -4  # round: the neighbours know better
    means[50], means[51], quats[52], scales[53] = np.nan, np.inf, 0, -np.inf
    spoilt = replace(splats, log_scales=scales, means=means, quats=quats)
    facing = normals(spoilt, 2)
    assert np.isfinite(facing).all() and not facing[[50, 51, 53]].any()
    assert (np.einsum("ni,ni->n", facing, splats.means)[:50] > 0.8).mean() > 0.95
    assert np.isfinite(relit(spoilt, PLACEMENT, LIGHTS)).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Directional((0, 0, 0)),
        lambda: Directional((0, np.nan, 0)),
        lambda: Directional((1, 0, 0), strength=-1),
        lambda: Directional((1, 0, 0), colour=(1, 1)),
        lambda: Point((1, 0, np.inf)),
        lambda: Point((1, 0, 0), radius=0),
        lambda: relit(ball(10), ambient=(1, np.nan, 1)),
        lambda: normals(ball(10), -1),
    ],
)
def test_lights_are_checked(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_progress_rises_and_may_stop_the_work():
    told = []
    normals(ball(100), 3, progress=lambda share, text: told.append(share))
    assert told == sorted(told) and told[0] == 0 and told[-1] < 1 and len(told) == 6

    def stop(share, text):
        raise InterruptedError(text)

    with pytest.raises(InterruptedError, match="normals"):
        normals(ball(100), progress=stop)


def test_a_light_is_a_value():
    assert Directional((1, 0, 0)) == Directional((1, 0, 0)) != Directional((0, 1, 0))
    assert len({*LIGHTS, *LIGHTS}) == 2 and relight.SMOOTHING >= 1
