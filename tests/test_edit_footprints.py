"""Which splats lie in a region: what a brute-force projection says, and how centres, ellipses and what is seen contain each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy_renderer
import pytest
from numpy.typing import NDArray
from render_cases import alone, cloud, flat, needles, off_centre, shot, with_logits
from test_render_broken import POISON
from test_render_contributors import regions

from splatview import Camera, Gaussians, RenderOptions, open_renderer
from splatview.edit.footprints import centres_in, ellipses_in
from splatview.gaussians import concatenate
from splatview.geometry import Similarity

PLACED = Similarity((0.8, 0.3, -0.4, 0.2), (0.3, 0.5, -0.2), 0.6)
VIEWS = {
    "plain": (cloud(), Similarity(), shot()),
    "placed": (cloud(kind="antialiased", size=-4), PLACED, shot()),
    "off centre": (cloud(size=-1.5), Similarity(), off_centre(20, 50)),
    "principal point outside": (cloud(size=-1.5), PLACED, off_centre(-30, 90)),
    "camera inside": (cloud(800), Similarity(), shot(fov_y=1.9, eye=(0.1, -0.2, 0.1))),
    "needles": (needles(), PLACED, shot(101, 37)),
    "flat": (flat(), Similarity(), shot()),
    "tiny": (cloud(2000, size=-9), Similarity(), shot()),
    "tiny, antialiased": (cloud(2000, size=-5, kind="antialiased"), Similarity(), shot()),
    "large": (cloud(60, size=1.0), Similarity(), shot(150, 90)),
    "nearly clear": (with_logits(-6, -4), Similarity(), shot()),
}


def brute_centres(splats: Gaussians, placement: Similarity, camera: Camera, region: NDArray, near: float, far: float) -> NDArray:
    with np.errstate(all="ignore"):
        flat = numpy_renderer.project(splats, placement, camera, RenderOptions())
    column, row = np.floor(flat.means.T)
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    column, row = (np.where(inside, at, 0).astype(int) for at in (column, row))
    return inside & region[row, column] & (flat.depths > 0) & (flat.depths >= near) & (flat.depths <= far) & numpy_renderer.healthy(splats)


def brute_alphas(
    splats: Gaussians, placement: Similarity, camera: Camera, region: NDArray, near: float, far: float, antialiased: bool | None = None
) -> NDArray:
    """[N] the largest alpha at a pixel of the region, below 1/255 too; 0 where a splat is out of range."""
    with np.errstate(all="ignore"):
        flat = numpy_renderer.project(splats, placement, camera, RenderOptions(antialiased=antialiased))
        rows, columns = np.nonzero(region)
        dx, dy = columns + 0.5 - flat.means[:, :1], rows + 0.5 - flat.means[:, 1:]
        xx, xy, yy = flat.conics.T[..., None]
        alpha = flat.opacities[:, None] * np.exp(-0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy)
    drawn = numpy_renderer.healthy(splats) & flat.finite & (flat.depths > 0) & (flat.depths >= near) & (flat.depths <= far)
    return np.where(drawn, alpha.max(1, initial=0), 0)


@pytest.mark.parametrize("name", VIEWS)
def test_centres_are_where_they_are_projected(name):
    for seed in range(3):
        for region in regions(VIEWS[name][2], seed).values():
            for near, far in ((0, np.inf), (3.5, 4.5)):
                assert np.array_equal(centres_in(*VIEWS[name], region, near, far), brute_centres(*VIEWS[name], region, near, far))


@pytest.mark.parametrize("antialiased", [None, False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_ellipses_are_what_is_drawn(name, antialiased):
    for region in regions(VIEWS[name][2], len(name)).values():
        for near, far in ((0, np.inf), (3.5, 4.5)):
            got = ellipses_in(*VIEWS[name], region, near, far, antialiased)
            alphas = brute_alphas(*VIEWS[name], region, near, far, antialiased)
            sure = np.abs(255 * alphas - 1) > 1e-3
            assert np.array_equal(got[sure], 255 * alphas[sure] >= 1)


def test_what_is_seen_is_among_the_ellipses():
    scene, camera, options = alone(cloud(2000, size=-2, kind="antialiased"))
    splats, renderer = scene.layers["cloud"].content, open_renderer("cpu")
    for region in regions(camera).values():
        seen = renderer.contributors(scene, camera, region, 0.01, options)["cloud"]
        assert not (seen & ~ellipses_in(splats, Similarity(), camera, region)).any()


@pytest.mark.parametrize("name", ["plain", "off centre", "tiny", "large"])
def test_ellipses_hold_their_centres_and_larger_regions_hold_more(name):
    splats, placement, camera = VIEWS[name]
    plain = splats.opacities > 0.02
    for region in regions(camera).values():
        ellipses, centres = (test(splats, placement, camera, region) for test in (ellipses_in, centres_in))
        assert not (centres & ~ellipses & plain).any()
        wider = region | regions(camera, 7)["rectangle"]
        for test, mask in ((ellipses_in, ellipses), (centres_in, centres)):
            assert not (mask & ~test(splats, placement, camera, wider)).any()
            both = test(splats, placement, camera, region) | test(splats, placement, camera, wider & ~region)
            assert np.array_equal(both, test(splats, placement, camera, wider))
            assert not (test(splats, placement, camera, region, 3.5, 4.5) & ~mask).any()


def test_a_placement_is_the_moved_splats():
    splats, camera = cloud(3000), shot()
    for region in regions(camera, 3).values():
        for test in (centres_in, ellipses_in):
            placed, moved = test(splats, PLACED, camera, region, 3, 5), test(splats.transformed(PLACED), Similarity(), camera, region, 3, 5)
            assert np.count_nonzero(placed != moved) <= 3


@pytest.mark.parametrize(("attribute", "value"), POISON)
def test_broken_splats_are_not_in(attribute, value):
    healthy, broken = cloud(300), cloud(40, seed=10)
    array = getattr(broken, attribute).copy()
    array.reshape(len(broken), -1)[:, 0] = value
    mixed = concatenate([replace(broken, **{attribute: array}), healthy])
    everywhere = np.ones((64, 96), bool)
    for test in (centres_in, ellipses_in):
        found = test(mixed, Similarity(), shot(), everywhere)
        assert np.array_equal(found[40:], test(healthy, Similarity(), shot(), everywhere)) and found[40:].any()
        assert value == 1e30 or not found[:40].any()  # a finite size, however large, is a size


def test_of_no_splats_and_of_no_region():
    nowhere = np.zeros((64, 96), bool)
    for test in (centres_in, ellipses_in):
        assert test(cloud(0), Similarity(), shot(), ~nowhere).shape == (0,)
        assert not test(cloud(), Similarity(), shot(), nowhere).any()
        with pytest.raises(ValueError, match=r"region.*\[64, 96\], got \[64, 95\]"):
            test(cloud(), Similarity(), shot(), nowhere[:, 1:])


def test_threads_do_not_show(monkeypatch):
    splats, region = cloud(30_000, size=-3), regions(shot())["disc"]
    whole = [test(splats, Similarity(), shot(), region) for test in (centres_in, ellipses_in)]
    monkeypatch.setenv("SPLATVIEW_THREADS", "1")
    for test, expected in zip((centres_in, ellipses_in), whole, strict=True):
        assert np.array_equal(test(splats, Similarity(), shot(), region), expected) and expected.any()
