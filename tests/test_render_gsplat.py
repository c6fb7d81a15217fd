"""The specification against gsplat's own torch code, and the renderer's tiles against both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy_renderer
import pytest
from render_cases import CASES, cloud, off_centre, shot

from splatview import Camera, Gaussians, RenderOptions, open_renderer
from splatview.geometry import Similarity


@pytest.fixture(scope="module")
def renderer():
    return open_renderer("cpu")


def gsplat_projection(splats: Gaussians, camera: Camera):
    """radii, means2d, depths, conics and compensations as gsplat's own torch code gives them, float64."""
    torch = pytest.importorskip("torch")
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl")

    def tensor(array: np.ndarray):
        return torch.from_numpy(array.astype(np.float64))

    covs, _ = gsplat._quat_scale_to_covar_preci(tensor(splats.quats), tensor(splats.log_scales).exp(), True, False)
    pose, K = tensor(camera.camera_from_world)[None], tensor(camera.K)[None]
    results = gsplat._fully_fused_projection(tensor(splats.means), covs, pose, K, camera.width, camera.height, calc_compensations=True)
    return [result[0].numpy() for result in results]


@pytest.mark.parametrize("camera", [shot(), off_centre(-10, 75), shot(fov_y=1.9, eye=(0.1, -0.2, 0.1))], ids=["centred", "off", "inside"])
def test_the_specified_projection_is_gsplats(camera):
    splats = cloud(1000, kind="antialiased", size=-3)
    radii, means, depths, conics, compensations = gsplat_projection(splats, camera)
    ours = numpy_renderer.project(splats, Similarity(), camera, RenderOptions())
    drawn = radii.any(axis=1)
    assert drawn.sum() > 10
    assert np.allclose(ours.means[drawn], means[drawn], rtol=1e-9)
    assert np.allclose(ours.depths, depths)
    assert np.allclose(ours.conics[drawn], conics[drawn], rtol=1e-6, atol=1e-9)
    assert np.allclose(ours.opacities[drawn], splats.opacities[drawn] * compensations[drawn], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("degree", range(5))
def test_the_specified_colours_are_gsplats(degree):
    torch = pytest.importorskip("torch")
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl")
    splats, camera = cloud(degree=4), shot()
    ours = numpy_renderer.project(splats, Similarity(), camera, RenderOptions(sh_degree=degree)).colours
    directions = torch.from_numpy(splats.means - camera.position)
    theirs = gsplat._spherical_harmonics(degree, directions, torch.from_numpy(splats.sh.astype(np.float64)))
    assert np.allclose(ours, np.maximum(theirs.numpy() + 0.5, 0), atol=1e-9)


def test_outside_gsplats_boxes_the_specification_draws_nothing():
    """gsplat's bounding boxes leave out only what is under 1/255, so brute force draws the same."""
    splats, camera = replace(cloud(), opacity_logits=np.full(400, 6.0)), shot()
    radii, means, *_ = gsplat_projection(splats, camera)
    ours = numpy_renderer.project(splats, Similarity(), camera, RenderOptions())
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    for index in np.flatnonzero(ours.depths > 0.01):
        outside = (np.abs(x - means[index, 0]) > radii[index, 0]) | (np.abs(y - means[index, 1]) > radii[index, 1])
        assert not numpy_renderer.alphas_at(ours, index, x, y)[outside].any()


def tiles_of(lists: list[list[tuple[int, int]]], across: int) -> dict[int, set[tuple[int, int]]]:
    """For each Gaussian of a scene with one layer the tiles (x, y) in whose lists it is."""
    covered: dict[int, set[tuple[int, int]]] = {}
    for index, members in enumerate(lists):
        for _, gaussian in members:
            covered.setdefault(gaussian, set()).add((index % across, index // across))
    return covered


TILED = [
    "dense",
    "needles",
    "needles, antialiased",
    "opaque",
    "nearly clear",
    "tiny splats",
    "no whole tiles",
    "principal point off centre",
]


@pytest.mark.parametrize("name", TILED)
def test_tiles_leave_out_only_what_is_not_seen(renderer, name):
    """Every pixel that a Gaussian reaches with 1/255 or more lies in one of its tiles, and its tiles touch gsplat's box."""
    scene, camera, options = CASES[name]()
    splats = scene.layers["cloud"].content
    renderer.render(scene, camera, options)
    lists, across = renderer.splats._native.tile_lists()
    side = next(side for side in (4, 8, 16, 32, 64) if -(-camera.width // side) == across)
    covered = tiles_of(lists, across)
    radii, means, *_ = gsplat_projection(splats, camera)
    projected = numpy_renderer.project(splats, Similarity(), camera, options)
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    for index in np.flatnonzero((projected.depths > options.near) & (projected.depths < options.far)):
        seen = numpy_renderer.alphas_at(projected, index, x, y) >= (1 + 1e-4) / 255
        wanted = {(int(column) // side, int(row) // side) for row, column in zip(*np.nonzero(seen), strict=True)}
        assert wanted <= covered.get(index, set())
        low, high = (means[index] - radii[index]) / side, (means[index] + radii[index]) / side
        box = {
            (u, v) for u in range(int(np.floor(low[0])), int(np.ceil(high[0]))) for v in range(int(np.floor(low[1])), int(np.ceil(high[1])))
        }
        assert covered.get(index, set()) <= box


def test_tile_lists_are_sorted_by_depth(renderer):
    scene, camera, options = CASES["dense"]()
    renderer.render(scene, camera, options)
    depths = numpy_renderer.project(scene.layers["cloud"].content, Similarity(), camera, options).depths
    for members in renderer.splats._native.tile_lists()[0]:
        assert (np.diff([depths[gaussian] for _, gaussian in members]) >= -1e-5).all()
