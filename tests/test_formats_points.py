"""Plain point clouds: what their splats are, how large they become, and what a mesh says."""

import struct
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

import splatview
from splatview.camera import Camera
from splatview.formats import inria, ply, points
from splatview.formats.report import Report
from splatview.geometry import matrix_from_quat


def table(means, dtype="<f4", **colours):
    """The bytes of a ply with these columns."""
    columns = {**dict(zip("xyz", np.asarray(means).T, strict=True)), **colours}
    rows = np.empty(len(means), [(name, dtype if name in "xyz" else np.asarray(column).dtype) for name, column in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    return bytes(ply.write({"vertex": rows}))


def surface(count, seed=0):
    u, v = np.random.default_rng(seed).random((2, count))
    return np.stack([u, v, 0.1 * np.sin(6 * u)], 1).astype(np.float32)


def volume(count, seed=0):
    return np.random.default_rng(seed).random((count, 3)).astype(np.float32)


def true_spacing(means):
    return cKDTree(means).query(means, 4)[0][:, 1:].mean(1)


CLOUDS = {
    "surface": surface(30_000),
    "volume": volume(30_000),
    "line": np.repeat(volume(2000)[:, :1], 3, 1),
    "flat and turned": surface(10_000) @ matrix_from_quat(np.array([0.3, 0.5, -0.2, 0.7])).T * [1, 1, 1],
    "far from the origin": surface(10_000) + 1000,
    "uneven": volume(30_000) ** 4,
    "few": volume(7),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_the_spacing_is_that_of_the_nearest_three(name):
    means = CLOUDS[name].astype(np.float32)
    true = true_spacing(means)
    ratio = points.spacing(means) / np.clip(true, np.median(true) * 0.02, np.median(true) * 20)
    assert ratio.min() > 0.97  # a neighbour may be missed, but none is invented
    assert np.median(ratio) < 1.01 and np.percentile(ratio, 95) < 1.5 and ratio.max() < 10


def test_the_spacing_scales_and_turns_with_the_cloud():
    means = surface(5000)
    one = points.spacing(means)
    np.testing.assert_allclose(points.spacing(means * 8), 8 * one, rtol=1e-4)
    turned = points.spacing((means @ matrix_from_quat(np.array([0.9, 0.1, 0.4, -0.2])).T).astype(np.float32))
    assert np.median(np.abs(turned / one - 1)) < 0.02


def test_stray_and_coincident_points_stay_in_bounds():
    means = np.concatenate([surface(5000), [[1e6, 1e6, 1e6]], np.zeros((10, 3))]).astype(np.float32)
    found = points.spacing(means)
    typical = np.median(found)
    assert (found > 0.01 * typical).all() and (found <= 20.1 * typical).all()
    assert found[5000] == found.max()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 13])
def test_few_points(count):
    means = volume(count)
    found = points.spacing(means)
    assert found.shape == (count,) and (found > 0).all()
    if count > 1:
        true = np.sort(np.linalg.norm(means[:, None] - means, axis=2), 1)[:, 1:4].mean(1)
        np.testing.assert_allclose(found, true, rtol=1e-5)


@given(
    st.lists(st.tuples(*[st.floats(width=32)] * 3), min_size=1, max_size=30),
    st.sampled_from([1.0, 1e-30, 1e30]),
)
def test_any_coordinates_give_finite_splats(rows, factor):
    with np.errstate(over="ignore"):
        means = (np.array(rows) * factor).astype(np.float32)
    report = Report()
    if not np.isfinite(means).all(1).any():
        with pytest.raises(ValueError, match="finite coordinates"):
            points.splats(means, None, report)
        return
    splats = points.splats(means, None, report)
    assert len(splats) == np.isfinite(means).all(1).sum()
    assert all(np.isfinite(part).all() for part in (splats.means, splats.log_scales, splats.opacity_logits, splats.sh))
    assert len(report.notes) == 1 + (len(splats) < len(means))


def test_a_million_points_take_seconds():
    means = surface(1_000_000)
    start = time.process_time()
    points.spacing(means)
    assert time.process_time() - start < 20  # 2 s on a machine that does nothing else


# --- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (("red", "green", "blue"), np.array([0, 51, 255], "u1"), [0, 0.2, 1]),
        (("r", "g", "b"), np.array([0, 13107, 65535], "<u2"), [0, 0.2, 1]),
        (("diffuse_red", "diffuse_green", "diffuse_blue"), np.array([0, 51, 255], "u1"), [0, 0.2, 1]),
        (("red", "green", "blue"), np.array([0, 0.2, 1], "<f4"), [0, 0.2, 1]),
        (("red", "green", "blue"), np.array([0, 51, 255], "<f8"), [0, 0.2, 1]),
        (("red", "green", "blue"), np.array([np.nan, -np.inf, 1], "<f4"), [0, 0, 1]),
        (("red", "green", "blue"), np.array([-128, 0, 127], "i1"), [0, 0, 1]),
        (("intensity", "nx", "ny"), np.array([1, 2, 3], "<f4"), [0.5, 0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<i2"])
def test_a_ply_with_positions_and_colours(names, values, expected, dtype):
    means = np.arange(12).reshape(4, 3)
    report = Report()
    splats = inria.decode(table(means, dtype, **dict(zip(names, np.tile(values[:, None], 4), strict=True))), report)
    np.testing.assert_array_equal(splats.means, means)
    np.testing.assert_allclose(splats.colours, [expected] * 4, atol=1e-6)
    assert (splats.opacities > 0.95).all() and splats.sh_degree == 0 and np.ptp(splats.log_scales, axis=1).max() == 0
    [note] = report.notes
    assert "plain point cloud" in note and ("grey" in note) == ("intensity" in names)


def test_ascii_points():
    text = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n4 5 6\n"
    np.testing.assert_array_equal(inria.decode(text).means, [[1, 2, 3], [4, 5, 6]])


def test_points_of_a_real_scene_make_its_picture(data, tmp_path):
    """The garden's points from a camera of theirs: nearly every pixel is covered, and neighbours in the cloud have its colour."""
    garden = np.load(data / "garden" / "test_garden.npz")
    colours = dict(zip(("red", "green", "blue"), garden["colors"].T, strict=True))
    (tmp_path / "garden.ply").write_bytes(table(garden["means3d"], **colours))
    scene = splatview.load(tmp_path / "garden.ply")
    [layer] = scene.layers.values()
    assert len(layer.content) == 138_766 and "plain point cloud" in layer.notes[0]
    camera = Camera(garden["Ks"][0], garden["viewmats"][0], int(garden["width"]), int(garden["height"]))
    frame = splatview.open_renderer("cpu").render(scene, camera.resized(320, 210))
    assert frame.alpha.mean() > 0.7
    np.testing.assert_allclose(layer.content.colours, garden["colors"] / 255, atol=1e-6)


MESH = (
    "ply\nformat {} 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uchar int vertex_indices\nelement material 1\nproperty int name\nend_header\n"
)


@pytest.mark.parametrize(
    "content",
    [
        MESH.format("ascii").encode() + b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n7\n",
        MESH.format("binary_little_endian").encode() + struct.pack("<9fB3ii", 0, 0, 0, 1, 0, 0, 0, 1, 0, 3, 0, 1, 2, 7),
        MESH.format("binary_big_endian").encode() + struct.pack(">9fB3ii", 0, 0, 0, 1, 0, 0, 0, 1, 0, 3, 0, 1, 2, 7),
    ],
    ids=["ascii", "little-endian", "big-endian"],
)
def test_the_vertices_of_a_mesh_are_shown_with_a_note(content):
    report = Report()
    splats = inria.decode(content, report)
    np.testing.assert_array_equal(splats.means, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert "faces of a mesh are not drawn" in report.notes[0] and "face, material" in report.notes[0]
    assert "plain point cloud" in report.notes[1]


def test_a_damaged_gaussian_ply_is_no_point_cloud(random_gaussians):
    content = bytes(inria.encode(random_gaussians(10, 0)))
    with pytest.raises(ValueError, match="missing: f_dc_1"):
        inria.decode(content.replace(b"f_dc_1", b"f_dx_1"))


def test_progress_goes_forward():
    seen = deque([0.0])
    inria.decode(table(volume(60_000)), Report(lambda fraction, _: seen.append(fraction)))
    assert all(0 <= later <= 1 for later in seen) and sorted(seen) == list(seen)
