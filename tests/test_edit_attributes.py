"""Columns of attributes: the same numbers as numpy and colorsys give, and the same for moved Gaussians as for a placement."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad

from splatview import harmonics
from splatview.camera import Camera
from splatview.edit.attributes import ATTRIBUTES, Columns, column, histogram, hsv, in_range, surface
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, rotation_about

PLACEMENT = Similarity((0.3, -0.5, 0.7, 0.2), (1.0, -2.0, 3.0), 2.5)
CAMERA = Camera.look_at((1, -5, 2), (0, 0, 0), (0, 0, 1), 0.8, 64, 48)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_placement_is_as_good_as_moving(random_gaussians, name):
    splats = random_gaussians(300)
    placed = column(name, splats, PLACEMENT, CAMERA)
    moved = column(name, splats.transformed(PLACEMENT), Similarity(), CAMERA)
    assert placed.shape == (300,) and placed.dtype == np.float32 and np.isfinite(placed).all()
    np.testing.assert_allclose(placed, moved, rtol=2e-4, atol=2e-5)
    assert ATTRIBUTES[name].label


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_broken_gaussians_are_no_trouble(random_gaussians, name, bad):
    splats = random_gaussians(8)
    arrays = {key: getattr(splats, key).copy() for key in ("means", "quats", "log_scales", "opacity_logits", "sh")}
    for array in arrays.values():
        array[2] = bad
    broken = column(name, Gaussians(**arrays), PLACEMENT, CAMERA)
    np.testing.assert_array_equal(np.delete(broken, 2), np.delete(column(name, splats, PLACEMENT, CAMERA), 2))
    counts, edges = histogram(broken, bins=7)
    assert counts.sum() == np.isfinite(broken).sum() and (np.diff(edges) > 0).all()
    empty = column(name, splats.take([]), PLACEMENT, CAMERA)
    assert empty.shape == (0,)


def test_sizes_and_places(random_gaussians):
    splats = random_gaussians(50)
    at = Columns(splats, PLACEMENT, CAMERA)
    scales = np.stack([at("scale_min"), at("scale_mid"), at("scale_max")], 1).astype(np.float64)
    np.testing.assert_allclose(scales, 2.5 * np.sort(splats.scales, 1), rtol=1e-5)
    np.testing.assert_allclose(at("volume"), 4 / 3 * np.pi * scales.prod(1), rtol=1e-5)
    np.testing.assert_allclose(at("anisotropy"), scales[:, 2] / scales[:, 0], rtol=1e-4)
    world = PLACEMENT.apply(splats.means)
    np.testing.assert_allclose(at("depth"), (world @ CAMERA.camera_from_world[:3, :3].T + CAMERA.camera_from_world[:3, 3])[:, 2], rtol=1e-5)
    np.testing.assert_allclose(at("distance"), np.linalg.norm(world - [1, -5, 2], axis=1), rtol=1e-5)
    np.testing.assert_allclose(column("distance", splats), np.linalg.norm(splats.means, axis=1), rtol=1e-5)
    assert column("distance", splats, point=splats.means[7])[7] == 0
    assert at("x") is at("x")


def test_depth_needs_a_camera_and_names_are_checked(random_gaussians):
    with pytest.raises(ValueError, match="expected a camera"):
        column("depth", random_gaussians(3))
    with pytest.raises(ValueError, match="expected one of x, y"):
        column("hight", random_gaussians(3))
    with pytest.raises(ValueError, match="three finite numbers"):
        column("distance", random_gaussians(3), point=(0, np.nan, 0))
    assert [name for name, attribute in ATTRIBUTES.items() if attribute.needs_camera] == ["depth"]


def test_energy_of_the_view_is_the_mean_square_over_the_sphere(random_gaussians):
    splats = random_gaussians(20, degree=2)
    directions = np.random.default_rng(0).normal(size=(100_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    basis = harmonics.basis(directions, 2)[:, 1:]
    seen = np.einsum("dk,nkc->dnc", basis, splats.sh[:, 1:])
    np.testing.assert_allclose(column("sh_energy", splats), (seen**2).mean(axis=(0, 2)), rtol=0.03)
    turned = splats.transformed(Similarity(PLACEMENT.quat))
    np.testing.assert_allclose(column("sh_energy", turned), column("sh_energy", splats), rtol=1e-4)
    assert (column("sh_energy", splats.with_max_degree(0)) == 0).all()


@pytest.mark.parametrize("axes", [(1, 1, 1), (1, 2, 3), (0.001, 1, 1), (0.1, 0.1, 5)])
def test_surface_of_an_ellipsoid(axes):
    a, b, c = axes

    def element(phi, theta):
        s, k = np.sin(theta), np.cos(theta)
        return s * np.sqrt((b * c * s * np.cos(phi)) ** 2 + (a * c * s * np.sin(phi)) ** 2 + (a * b * k) ** 2)

    want = 8 * dblquad(element, 0, np.pi / 2, 0, np.pi / 2)[0]
    assert surface(np.array(axes)) == pytest.approx(want, rel=0.012)


@given(st.lists(st.tuples(*[st.floats(-0.5, 1.5, width=32)] * 3), min_size=1, max_size=20))
def test_hsv_as_colorsys(colours):
    hue, saturation, value = hsv(np.array(colours, np.float32))
    for index, colour in enumerate(np.clip(np.array(colours, np.float32), 0, 1).tolist()):
        want = colorsys.rgb_to_hsv(*colour)
        assert min(abs(hue[index] / 360 - want[0]), 1 - abs(hue[index] / 360 - want[0])) < 1e-4
        assert (saturation[index], value[index]) == pytest.approx(want[1:], abs=1e-5)


numbers = st.lists(st.floats(width=32), max_size=50).map(lambda values: np.array(values, np.float32))


@given(numbers, st.integers(1, 40), st.booleans())
def test_a_histogram_counts_everything_finite_once(values, bins, log):
    counts, edges = histogram(values, None, bins, log)
    counted = np.isfinite(values) & ((values > 0) | (not log))
    assert counts.shape == (bins,) and counts.sum() == counted.sum()
    assert np.isfinite(edges).all() and (np.diff(edges) > 0).all()
    half = np.arange(len(values)) % 2 == 0
    assert histogram(values, half, bins, log)[0].sum() == (counted & half).sum()


def test_a_span_leaves_out_the_rest():
    counts, edges = histogram(np.array([-1, 0.5, 1.5, 1e9, np.nan]), bins=2, span=(0, 2))
    assert counts.tolist() == [1, 1] and edges.tolist() == [0, 1, 2]
    for bad in ((1, 1), (2, 1), (0, np.inf), (np.nan, 1)):
        with pytest.raises(ValueError, match="span that rises"):
            histogram(np.ones(3), span=bad)
    with pytest.raises(ValueError, match="from above 0"):
        histogram(np.ones(3), span=(0, 1), log=True)
    with pytest.raises(ValueError, match="bins"):
        histogram(np.ones(3), bins=0)


@given(numbers, st.floats(), st.floats(), st.floats())
def test_ranges_are_closed_and_join(values, low, middle, high):
    low, middle, high = sorted((low, middle, high))
    whole = in_range(values, low, high)
    assert not whole[np.isnan(values)].any()
    if not np.isnan([low, middle, high]).any():
        np.testing.assert_array_equal(in_range(values, low, middle) | in_range(values, middle, high), whole)


def test_hue_turns_with_the_colour(random_gaussians):
    splats = random_gaussians(100)
    turned = replace(splats, sh=splats.sh[:, :, [2, 0, 1]])
    clear = column("saturation", splats) > 0.01
    change = np.mod(column("hue", turned) - column("hue", splats), 360)[clear]
    np.testing.assert_allclose(change, 120, atol=0.1)
    np.testing.assert_allclose(rotation_about((1, 1, 1), 2 * np.pi / 3) @ splats.colours[0], turned.colours[0], atol=1e-5)
