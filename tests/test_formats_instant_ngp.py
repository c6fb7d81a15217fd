"""Instant-NGP's snapshots: what is written is read again, lies where Instant-NGP looks for it, and answers as the book says."""

from __future__ import annotations

import gzip
import itertools
import json
import tracemalloc
import zlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splatview
from splatview import ngp, tcnn
from splatview.formats import instant_ngp, instant_ngp_cells, instant_ngp_container
from splatview.formats.instant_ngp_writer import encode
from splatview.formats.report import Report
from splatview.geometry import Similarity, matrix_from_quat
from splatview.hashgrid import HashGrid, Marching, Network, Occupancy
from splatview.scene import Layer, Scene
from splatview.viewpoints import Viewpoints
from splatview.volumes import Box, Cut, Sphere, left_by

STEP = 3**0.5 / 1024


def network(rng, *widths):
    return Network(tuple(rng.normal(0, 0.5, (after, before)).astype(np.float16) for before, after in itertools.pairwise(widths)))


def pooled(cells):
    """Nested grids, each of which holds what the one within it does."""
    cells = cells.copy()
    for coarse, fine in zip(cells[1:], cells, strict=False):
        coarse[32:96, 32:96, 32:96] |= fine.reshape(64, 2, 64, 2, 64, 2).any((1, 3, 5))
    return cells


def made(levels=8, features=4, log2_size=9, edge=1, width=64, seed=0, growth=1.5, base=4, occupied=0.03, **changes):
    """A random field as Instant-NGP trains them."""
    rng = np.random.default_rng(seed)
    shapes = ngp.level_shapes(levels, log2_size, base, growth)
    numbers = rng.normal(0, 1, features * sum(entries for *_, entries in shapes)).astype(np.float16)
    cascades = edge.bit_length()
    cells = Occupancy(pooled(rng.random((cascades, 128, 128, 128)) < occupied), instant_ngp_cells.boxes(cascades))
    box = np.array([[0.5 - edge / 2] * 3, [0.5 + edge / 2] * 3])
    field = HashGrid(
        tcnn.levels(numbers, levels, features, log2_size, base, growth),
        network(rng, levels * features, width, 16),
        network(rng, 32, width, width, 3),
        box,
        Marching(STEP, 0 if edge == 1 else 1 / 256, 1024 * STEP, 0.05),
        cells,
    )
    return replace(field, **changes)


def written(field, placement=Similarity(), **shown):
    report = Report()
    return encode(Layer(field, placement, **shown), report), report.notes


def tree(data):
    return msgspec.msgpack.decode(gzip.decompress(data))


def changed(data, change, pack=lambda plain: plain):
    """The file with its tree changed."""
    content = tree(data)
    change(content)
    return pack(msgspec.msgpack.encode(content))


def assert_same(one, other):
    for a, b in zip(one.levels, other.levels, strict=True):
        assert a.scale == b.scale and a.resolution == b.resolution and np.array_equal(a.table, b.table)
    for a, b in ((one.density, other.density), (one.colour, other.colour)):
        assert all(map(np.array_equal, (*a.weights, *a.biases), (*b.weights, *b.biases)))
    assert np.array_equal(one.box, other.box) and one.marching == other.marching
    assert np.array_equal(one.occupancy.cells, other.occupancy.cells) and np.array_equal(one.occupancy.boxes, other.occupancy.boxes)
    rest = ("warp", "offset", "geometry", "density_factor", "shifted_directions", "hdr")
    assert all(getattr(one, name) == getattr(other, name) for name in rest)


SETTINGS = [
    {},
    {"levels": 16, "features": 2, "log2_size": 12},
    {"levels": 5, "features": 2},
    {"levels": 1, "features": 8},
    {"edge": 2, "width": 32},
    {"edge": 16, "hdr": True, "growth": 2.0, "base": 16, "log2_size": 11},
    {"width": 48, "log2_size": 14, "growth": 1.3819129},
    {"growth": float(np.float32(2**0.5))},
]


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_what_is_written_is_read_again(values):
    field = made(**values)
    data, notes = written(field)
    layer = instant_ngp.decode(data)
    assert notes == [] and instant_ngp_container.recognises(data[: 1 << 14])
    assert_same(layer.content, field)


def test_a_field_of_the_largest_scale_has_eight_cascades():
    field = made(edge=128, levels=2, log2_size=6, occupied=0.001)
    assert_same(instant_ngp.decode(written(field)[0]).content, field)


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zlib.compress, lambda plain: gzip.compress(plain, 0)], ids=["raw", "gzip", "zlib", "stored"]
)
def test_a_file_may_be_compressed_or_not(pack):
    field = made()
    data = pack(gzip.decompress(written(field)[0]))
    assert instant_ngp_container.recognises(data[: 1 << 14])
    assert_same(instant_ngp.decode(data).content, field)


# Layout


def interleaved(x, y, z):
    """The Morton code of a cell, bit by bit."""
    return int("".join(f"{a}{b}{c}" for c, b, a in zip(f"{x:07b}", f"{y:07b}", f"{z:07b}", strict=True)), 2)


def test_cells_are_in_morton_order_with_x_lowest():
    order = instant_ngp_cells.order()
    assert np.array_equal(np.sort(order, axis=None), np.arange(128**3))
    for x, y, z in np.random.default_rng(0).integers(0, 128, (200, 3)):
        assert order[x, y, z] == interleaved(x, y, z)
    assert (order[1, 0, 0], order[0, 1, 0], order[0, 0, 1], order[2, 0, 0]) == (1, 2, 4, 8)
    field = made(edge=2, occupied=0)
    cells = np.zeros((2, 128, 128, 128), bool)
    cells[0, 3, 70, 9] = cells[1, 127, 0, 5] = True
    values = np.frombuffer(
        tree(written(replace(field, occupancy=Occupancy(cells, instant_ngp_cells.boxes(2))))[0])["snapshot"]["density_grid_binary"],
        np.float16,
    ).reshape(2, -1)
    assert set(np.flatnonzero(values[0])) == {interleaved(3, 70, 9)}
    # The cell of the finer grid is in the coarser one, too: half as far from the middle, in cells.
    assert set(np.flatnonzero(values[1])) == {interleaved(127, 0, 5), interleaved(32 + 1, 32 + 35, 32 + 4)}


def test_parameters_are_density_network_then_colour_network_then_grid():
    field = made(levels=5, features=2)
    flat = np.frombuffer(tree(written(field)[0])["snapshot"]["params_binary"], np.float16)
    first = np.zeros((64, 16), np.float32)
    first[:, :10] = field.density.weights[0]
    last = np.zeros((16, 64), np.float32)
    last[:3] = field.colour.weights[2]
    wanted = [first, field.density.weights[1], field.colour.weights[0], field.colour.weights[1], last, *(one.table for one in field.levels)]
    assert np.array_equal(flat, np.concatenate([one.ravel() for one in wanted]))


def test_what_fills_up_a_grids_inputs_and_the_outputs_counts_for_nothing():
    field, rng = made(levels=5, features=2), np.random.default_rng(7)

    def fill(content):
        flat = np.frombuffer(content["snapshot"]["params_binary"], np.float16).copy()
        flat[: 64 * 16].reshape(64, 16)[:, 10:] = rng.normal(size=(64, 6))  # tiny-cuda-nn gives zeros to them
        start = 64 * 16 + 16 * 64 + 64 * 32 + 64 * 64
        flat[start : start + 16 * 64].reshape(16, 64)[3:] = rng.normal(size=(13, 64))
        content["snapshot"]["params_binary"] = flat.tobytes()

    assert_same(instant_ngp.decode(changed(written(field)[0], fill)).content, field)


def test_all_that_instant_ngp_asks_for_is_there():
    content = tree(written(made(edge=4))[0])
    assert {"encoding", "network", "dir_encoding", "rgb_network", "loss", "optimizer", "snapshot"} <= content.keys()
    snapshot = content["snapshot"]
    asked = {
        "version",
        "mode",
        "aabb",
        "bounding_radius",
        "density_grid_size",
        "density_grid_binary",
        "training_step",
        "loss",
        "params_binary",
    }
    assert asked <= snapshot.keys() and snapshot["version"] == 1 and snapshot["mode"] == "nerf"
    assert {"rays_per_batch", "measured_batch_size", "measured_batch_size_before_compaction"} == snapshot["nerf"]["rgb"].keys()
    dataset = snapshot["nerf"]["dataset"]
    assert {"n_images", "render_aabb", "up", "offset", "envmap_resolution", "scale", "aabb_scale", "from_mitsuba"} <= dataset.keys()
    assert snapshot["n_params"] == len(snapshot["params_binary"]) // 2 and len(snapshot["density_grid_binary"]) == 3 * 128**3 * 2
    assert np.shape(snapshot["camera"]["matrix"]) == (3, 4) and np.shape(snapshot["background_color"]) == (4,)


def test_an_older_file_in_float32_with_other_words_is_read():
    field = made(levels=16, features=2, log2_size=12)

    def older(content):
        snapshot, encoding = content["snapshot"], content["encoding"]
        numbers = np.frombuffer(snapshot["params_binary"], np.float16).astype(np.float32)
        snapshot.update(params_type="float", params_binary=numbers.tobytes())
        del snapshot["mode"], snapshot["camera"], snapshot["aabb"], encoding["n_levels"]
        encoding["n_features"] = 32
        content["network"]["otype"] = content["rgb_network"]["otype"] = "CutlassMLP"
        content["dir_encoding"] = {"otype": "SphericalHarmonics", "degree": 4}
        content["envmap"] = {"loss": {"otype": "RelativeL2"}}

    assert_same(instant_ngp.decode(changed(written(field)[0], older)).content, field)


def test_levels_grow_to_2048_cells_along_the_unit_cube_if_nothing_is_said():
    growth = float(np.float32((2048 * 4 / 4) ** (1 / 7)))
    field = made(edge=4, growth=growth)
    data = changed(written(field)[0], lambda content: content["encoding"].pop("per_level_scale"))
    read = instant_ngp.decode(data).content
    assert read.levels[-1].scale == pytest.approx(4 * 2048 - 1, rel=1e-5)
    assert_same(replace(read, levels=field.levels), field)


def test_occupied_is_what_is_more_than_the_mean_or_a_hundredth():
    values = np.zeros((2, 128**3), np.float16)
    values[0, :4] = 0.004, 0.02, -1, np.nan
    values[1, -2:] = 0.009, 0.02

    def cells(scale=1.0):
        def change(content):
            content["snapshot"]["density_grid_binary"] = (values * np.float16(scale)).tobytes()

        return instant_ngp.decode(changed(written(made(edge=2))[0], change)).content.occupancy.cells

    # The mean over all 128^3 cells is tiny: everything positive is occupied.
    few = cells()
    assert np.argwhere(few[0]).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert few[1].sum() == 3 and few[1, 32, 32, 32] and few[1, 127, 127, 127] and few[1, 126, 127, 127]
    values[0, 8:] = 0.01  # now it is about 0.01, or a little more: what is larger is occupied
    many = cells()
    assert not many[0, 0, 0, 0] and many[0, 1, 0, 0] and not many[1, 126, 127, 127] and many[1, 127, 127, 127]


# The world


@pytest.mark.parametrize("mitsuba", [False, True])
def test_a_point_of_the_photos_world_goes_where_instant_ngp_puts_it(mitsuba):
    scale, offset = 0.4, np.array([0.1, 0.2, 0.3])

    def change(content):
        content["snapshot"]["nerf"]["dataset"].update(scale=scale, offset=offset.tolist(), from_mitsuba=mitsuba)

    placement = instant_ngp.decode(changed(written(made())[0], change)).placement
    point = np.array([1.0, 2.0, -3.0])
    moved = point * scale + offset
    assert np.allclose(placement.apply(moved if mitsuba else moved[[1, 2, 0]]), point)


def test_without_photos_the_defaults_place_it():
    data = changed(written(made())[0], lambda content: content["snapshot"]["nerf"].pop("dataset"))
    report = Report()
    placement = instant_ngp.decode(data, report).placement
    assert np.allclose(placement.apply([0.5, 0.5, 0.5]), 0) and placement.scale == pytest.approx(1 / 0.33)
    assert "where its photos stood" in report.notes[0]


@pytest.mark.parametrize("turn", [np.eye(3), ngp.CYCLE])
def test_a_placement_is_kept(turn):
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([2.5 * turn, [1, -2, 3]])
    placement = Similarity.from_matrix(matrix)
    data, notes = written(made(), placement)
    assert notes == [] and np.allclose(instant_ngp.decode(data).placement.matrix, placement.matrix)


def test_a_turn_is_lost_with_a_note_and_the_middle_stays():
    placement = Similarity((0.9, 0.1, 0.4, 0.0), (1, 2, 3), 2.0)
    data, notes = written(made(), placement)
    read = instant_ngp.decode(data).placement
    assert "holds no turned scenes" in notes[0] and read.scale == pytest.approx(2)
    assert np.allclose(read.apply([0.5] * 3), placement.apply([0.5] * 3))


def test_a_field_elsewhere_is_moved_to_where_instant_ngp_has_it():
    shift = np.array([3.0, -1.0, 2.0])
    field = made(edge=2)
    far = replace(field, box=field.box + shift, occupancy=Occupancy(field.occupancy.cells, field.occupancy.boxes + shift))
    layer = instant_ngp.decode(written(far)[0])
    assert_same(layer.content, field)
    assert np.allclose(layer.placement.apply([[0.5, 0.5, 0.5], [0.5, 1, 0.5]]), np.add(shift, [[0.5, 0.5, 0.5], [0.5, 1, 0.5]]))


# Photographs


def taken(count=5, seed=0):
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = matrix_from_quat(rng.normal(size=(count, 4))), rng.normal(size=(count, 3))
    return Viewpoints(
        poses, np.column_stack([rng.integers(50, 90, (count, 2)), rng.uniform(50, 90, (count, 2)), rng.uniform(20, 60, (count, 2))])
    )


def test_photographs_are_kept_and_moved_with_their_field():
    photos, shift = taken(), np.array([3.0, -1.0, 2.0])
    field = made(levels=2, log2_size=4, width=16)
    far = replace(field, box=field.box + shift, occupancy=None)
    for one, moved in ((field, 0), (far, -shift)):
        read = instant_ngp.decode(encode(Layer(one, viewpoints=photos), Report())).viewpoints
        assert np.allclose(read.poses[:, :3, 3], photos.poses[:, :3, 3] + moved) and np.allclose(
            read.poses[:, :3, :3], photos.poses[:, :3, :3]
        )
        assert np.allclose(read.lenses, photos.lenses)
    assert instant_ngp.decode(written(field)[0]).viewpoints is None


def test_photographs_are_where_instant_ngp_looks_for_them(small):
    """What its from_json takes of a dataset, each for every image; and it opens where the first view is."""
    photos = taken(7)
    snapshot = tree(encode(Layer(instant_ngp.decode(small).content, viewpoints=photos), Report()))["snapshot"]
    dataset = snapshot["nerf"]["dataset"]
    assert dataset["n_images"] == len(dataset["paths"]) == len(dataset["metadata"]) == len(dataset["xforms"]) == 7
    for one, xform, pose in zip(dataset["metadata"], dataset["xforms"], photos.poses, strict=True):
        assert {"resolution", "focal_length", "principal_point", "lens", "rolling_shutter"} == one.keys()
        assert all(isinstance(side, int) for side in one["resolution"]) and max(one["principal_point"]) < 2
        assert np.allclose(xform["start"], pose[:3]) and xform["start"] == xform["end"]
    assert np.allclose(snapshot["camera"]["matrix"], photos.poses[photos.opening, :3])


def test_a_rolling_shutter_was_halfway(small):
    def roll(content):
        dataset = content["snapshot"]["nerf"]["dataset"]
        turned = matrix_from_quat(np.array([1, 0.02, 0, 0])) @ np.array(dataset["xforms"][0]["start"])
        dataset["xforms"][0]["end"] = turned.tolist()

    photos = taken(1)
    data = changed(encode(Layer(instant_ngp.decode(small).content, viewpoints=photos), Report()), roll)
    found = instant_ngp.decode(data).viewpoints.poses[0, :3, :3]
    assert np.allclose(found, matrix_from_quat(np.array([1, 0.01, 0, 0])) @ photos.poses[0, :3, :3], atol=1e-4)


BAD_POSES = [[[float("nan")] * 4] * 3, [[0.0] * 4] * 3, np.diag([1.0, 1, -1, 0])[:3].tolist(), [[1e300] * 4] * 3]


@pytest.mark.parametrize("pose", BAD_POSES, ids=["nan", "zero", "mirrored", "huge"])
def test_a_photograph_without_a_pose_is_left_out(small, pose):
    data = changed(
        encode(Layer(instant_ngp.decode(small).content, viewpoints=taken(3)), Report()),
        lambda content: content["snapshot"]["nerf"]["dataset"]["xforms"][1].update(start=pose, end=pose),
    )
    assert len(instant_ngp.decode(data).viewpoints) == 2


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("xforms", 3, "Expected `array`"),
        ("xforms", [{"start": [[1.0]]}], "array"),
        ("xforms", [[]] * 10_001, "up to 10,000 of them"),
        ("xforms", [{"start": [[0.0] * 4] * 3, "end": [[0.0] * 4] * 3, "more": [0] * 5000}], "bytes for each"),
        ("metadata", [{"resolution": "large"}], "array"),
        ("metadata", {"resolution": [1, 1]}, "Expected `array`"),
    ],
)
def test_what_is_said_of_photographs_may_be_damaged(small, name, value, why):
    report = Report()
    data = changed(small, lambda content: content["snapshot"]["nerf"]["dataset"].update({name: value}))
    tracemalloc.start()
    try:
        assert instant_ngp.decode(data, report).viewpoints is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()
    assert "what the snapshot says of its photographs cannot be read" in report.notes[0] and why in report.notes[0]


# What is brought into the format


def asked(field, count=50):
    rng = np.random.default_rng(5)
    along = rng.normal(size=(count, 3))
    points = rng.uniform(*np.add(field.box, [[1e-3], [-1e-3]]), (count, 3))
    return points, field.query(points, along / np.linalg.norm(along, axis=1, keepdims=True)), along


def test_a_colour_network_that_sees_less_and_has_a_bias_answers_the_same():
    rng = np.random.default_rng(1)
    colour = network(rng, 15 - 3 + 16, 64, 3)
    biased = Network(colour.weights, (rng.normal(0, 0.3, 64), np.zeros(3)))
    field = made(density=network(rng, 32, 64, 15), colour=biased, geometry=3)
    points, (density, rgb), along = asked(field)
    read = instant_ngp.decode(written(field)[0]).content
    again, seen = read.query(points, along)
    assert read.geometry == 0 and np.allclose(again, density, rtol=1e-4) and np.allclose(seen, rgb, atol=2e-3)


def test_parameters_too_large_for_float16_are_kept_in_float32():
    rng = np.random.default_rng(1)
    density = network(rng, 32, 64, 16)
    field = made(density=Network((density.weights[0] * 1e6, density.weights[1] * 1e-6)))
    data, _ = written(field)
    assert tree(data)["snapshot"]["params_type"] == "float"
    assert_same(instant_ngp.decode(data).content, field)


@pytest.mark.parametrize("size", [32, 100, 256])
def test_other_cells_become_those_they_reach_into(size):
    rng = np.random.default_rng(2)
    occupancy = Occupancy(rng.random((2, size, size, size)) < 0.02, np.array([[[0] * 3, [1] * 3], [[-0.5] * 3, [1.5] * 3]]))
    field = made(edge=2, occupancy=occupancy)
    read = instant_ngp.decode(written(field)[0]).content.occupancy
    points = rng.uniform(-0.5, 1.5, (20_000, 3))
    before, after = occupancy.at(points), read.at(points)
    assert after[before].all() and not after.all()  # nothing is lost


def test_an_occupancy_of_nothing_known_is_everywhere():
    report = Report()
    assert instant_ngp.decode(written(made(occupancy=None))[0], report).content.occupancy.cells.all()
    data = changed(written(made())[0], lambda content: content["snapshot"].update(density_grid_binary=b""))
    assert instant_ngp.decode(data, report).content.occupancy is None and "no occupancy grid" in report.notes[0]


def test_numbers_for_the_looks_of_photos_are_zeros_and_the_rest_of_the_sixteen_ones():
    field, rng = made(), np.random.default_rng(3)
    extra = rng.normal(0, 1, (64, 16)).astype(np.float16)

    def more(content):
        snapshot = content["snapshot"]
        flat = np.frombuffer(snapshot["params_binary"], np.float16)
        before, first, rest = np.split(flat, [64 * 32 + 16 * 64, 64 * 32 + 16 * 64 + 64 * 32])
        wider = np.concatenate([first.reshape(64, 32), extra], axis=1)
        flat = np.concatenate([before, wider.ravel(), rest])
        snapshot.update(params_binary=flat.tobytes(), n_params=flat.size)
        snapshot["nerf"]["dataset"]["n_extra_learnable_dims"] = 10

    report = Report()
    read = instant_ngp.decode(changed(written(field)[0], more), report).content
    assert "looks of each photo" in report.notes[0]
    assert np.array_equal(read.colour.weights[0], field.colour.weights[0])
    assert np.allclose(read.colour.biases[0], extra[:, 10:].astype(np.float32).sum(axis=1), atol=1e-5)


@pytest.mark.parametrize("edge", [1, 4])
def test_how_a_field_is_shown_comes_back(edge):
    """The cuts of a field whose box is about another middle are where it is."""
    field, shift = made(edge=edge), np.array([3.0, -1.0, 2.0])
    box = Box((0.4, 0.55, 0.5), (0.3, 0.5, 0.7), (0.9, 0.1, 0.3, -0.2))
    far = replace(field, box=field.box + shift, occupancy=Occupancy(field.occupancy.cells, field.occupancy.boxes + shift))
    cut = Cut(box.moved(Similarity(translation=tuple(shift.tolist()))))
    data, notes = written(far, cuts=(cut,), exposure=0.5, background=(0.25, 0.5, 1.0))
    layer = instant_ngp.decode(data)
    assert not notes and (layer.exposure, layer.background) == (0.5, (0.25, 0.5, 1.0))
    [found] = [cut.volume for cut in layer.cuts if cut.keeps]
    assert len(layer.cuts) == 1 and found.falloff == 0
    assert np.allclose(found.centre, box.centre) and np.allclose(found.size, box.size) and np.allclose(found.quat, box.quat)
    assert_same(layer.content, field)
    plain = instant_ngp.decode(written(field)[0])
    assert (plain.cuts, plain.exposure, plain.background) == ((), 0.0, None)


def test_other_cuts_empty_the_cells_that_they_leave_less_than_half_of():
    field = made(edge=2, occupied=0.5)
    cuts = (Cut(Sphere((0.5, 0.5, 0.5), 0.4, 0.3)), Cut(Box((0.6, 0.5, 0.5), (0.2, 0.2, 0.2)), keeps=False))
    data, notes = written(field, cuts=cuts)
    layer = instant_ngp.decode(data)
    assert len(notes) == 1 and "whole cells" in notes[0] and not layer.cuts
    low, high = field.occupancy.boxes[1]
    middles = low + (high - low) * (np.argwhere(field.occupancy.cells[1]) + 0.5) / 128
    left = layer.content.occupancy.cells[1][field.occupancy.cells[1]]
    inner = (np.abs(middles - 0.5) < 0.5).all(1)  # where the finer grid is asked, and its cells are in those of the coarser
    assert np.array_equal(left[~inner], left_by(cuts, middles[~inner]) >= 0.5)
    middles = (np.argwhere(field.occupancy.cells[0]) + 0.5) / 128
    assert np.array_equal(layer.content.occupancy.cells[0][field.occupancy.cells[0]], left_by(cuts, middles) >= 0.5)
    assert not (layer.content.occupancy.cells & ~field.occupancy.cells).any()


@pytest.mark.parametrize("huge", [1e200, 1e308, float("inf"), float("nan")])
def test_a_crop_by_what_is_no_box_is_left_out(huge):
    def turned(content):
        content["snapshot"]["render_aabb_to_local"] = [[huge, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -huge]]

    report = Report()
    assert not instant_ngp.decode(changed(written(made())[0], turned), report).cuts and "no box" in report.notes[0]


def test_what_cannot_be_shown_is_said():
    def change(content):
        content["snapshot"]["render_aabb"] = {"min": [0.8] * 3, "max": [0.2] * 3}
        content["snapshot"]["nerf"]["dataset"]["envmap_resolution"] = [512, 256]

    report = Report()
    instant_ngp.decode(changed(written(made())[0], change), report)
    assert len(report.notes) == 2 and "environment map" in report.notes[0] and "no box" in report.notes[1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"warp": "contraction"}, "in a box"),
        ({"offset": 0.0}, "offset"),
        ({"shifted_directions": True}, "directions"),
        ({"density_factor": 0.5}, "densities"),
        ({"box": np.array([[0, 0, 0], [1, 1, 2.0]])}, "a cube"),
        ({"box": np.array([[0, 0, 0], [3, 3, 3.0]])}, "edge of 1, 2"),
    ],
)
def test_a_field_that_the_format_cannot_hold_is_refused(change, why):
    with pytest.raises(ValueError, match=f"expected .*{why}"):
        written(made(**change))


def test_biases_and_levels_that_the_format_cannot_hold_are_refused():
    field = made()
    for name, place in (("density", 0), ("density", 1), ("colour", 1)):
        one = getattr(field, name)
        biases = [bias.copy() for bias in one.biases]
        biases[place][0] = 1
        with pytest.raises(ValueError, match=f"{name} network without biases"):
            written(replace(field, **{name: Network(one.weights, tuple(biases))}))
    for name, inputs, outputs in (("density", 32, 16), ("colour", 32, 3)):
        with pytest.raises(ValueError, match=f"{name} network with hidden layers of one width"):
            written(replace(field, **{name: network(np.random.default_rng(0), inputs, outputs)}))
        with pytest.raises(ValueError, match=f"{name} network with hidden layers of one width"):
            written(replace(field, **{name: network(np.random.default_rng(0), inputs, 16, 32, outputs)}))
    hashed = tuple(replace(level, resolution=0) for level in field.levels)
    with pytest.raises(ValueError, match="levels that grow by one factor"):
        written(replace(field, levels=hashed))
    with pytest.raises(ValueError, match="levels that grow by one factor"):
        written(replace(field, levels=(field.levels[1], field.levels[0], *field.levels[2:])))


# Files that are not as they should be


def wrong(*path, value=None):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        if value is None:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (wrong("snapshot"), "snapshot"),
        (wrong("encoding"), "encoding"),
        (wrong("snapshot", "mode", value="sdf"), "mode 'nerf'"),
        (wrong("snapshot", "version", value=0), "version"),
        (wrong("snapshot", "version", value="new"), "int"),
        (wrong("snapshot", "params_binary", value=b"\0\0"), "parameters"),
        (wrong("snapshot", "params_binary", value="text"), "bytes"),
        (wrong("snapshot", "params_type", value="double"), "__half"),
        (wrong("snapshot", "n_params", value=3), "3 parameters"),
        (wrong("snapshot", "aabb", "min", value=[float("nan"), 0.0, 0.0]), "finite"),
        (wrong("snapshot", "exposure", value=float("inf")), "exposure"),
        (wrong("snapshot", "background_color", value=[float("nan")] * 4), "background_color"),
        (wrong("snapshot", "density_grid_size", value=64), r"128\^3"),
        (wrong("snapshot", "density_grid_binary", value=b"\0" * 100), r"128\^3"),
        (wrong("snapshot", "nerf", "dataset", "aabb_scale", value=3), "aabb_scale"),
        (wrong("snapshot", "nerf", "dataset", "aabb_scale", value=256), "aabb_scale"),
        (wrong("snapshot", "nerf", "dataset", "scale", value=0.0), "scale > 0"),
        (wrong("snapshot", "nerf", "dataset", "offset", value=[1.0, float("inf"), 0.0]), "finite offset"),
        (wrong("snapshot", "nerf", "dataset", "n_extra_learnable_dims", value=-1), "n_extra"),
        (wrong("encoding", "n_levels", value=1 << 40), "levels"),
        (wrong("encoding", "n_levels", value=0), "levels"),
        (wrong("encoding", "n_features_per_level", value=3), "levels"),
        (wrong("encoding", "log2_hashmap_size", value=62), "levels"),
        (wrong("encoding", "log2_hashmap_size", value=30), "parameters of a grid"),
        (wrong("encoding", "base_resolution", value=-5), "cells"),
        (wrong("encoding", "per_level_scale", value=1e30), "cells"),
        (wrong("encoding", "per_level_scale", value=1e-300), "cells"),
        (wrong("encoding", "per_level_scale", value=float("inf")), "cells"),
        (wrong("encoding", "per_level_scale", value=float("nan")), "cells"),
        (wrong("encoding", "otype", value="Frequency"), "HashGrid"),
        (wrong("encoding", "otype", value="OneBlob"), "HashGrid"),
        (wrong("encoding", "otype", value="TiledGrid"), "HashGrid"),
        (wrong("encoding", "type", value="Tiled"), "HashGrid"),
        (wrong("encoding", "interpolation", value="Smoothstep"), "Linear"),
        (wrong("network", "activation", value="Sine"), "ReLU"),
        (wrong("rgb_network", "output_activation", value="Sigmoid"), "None"),
        (wrong("network", "otype", value="Transformer"), "MLP"),
        (wrong("network", "n_neurons", value=1 << 33), "neurons"),
        (wrong("network", "n_hidden_layers", value=0), "layers"),
        (wrong("network", "n_output_dims", value=-4), "outputs"),
        (wrong("dir_encoding", "nested", value=[]), "directions"),
        (wrong("dir_encoding", "nested", value=[{"otype": "Frequency"}]), "directions"),
        (wrong("dir_encoding", "nested", value=[{"otype": "SphericalHarmonics", "degree": 3}]), "directions"),
        (wrong("dir_encoding", "nested", value=["Identity"] * 9000), "a few encodings"),
        (wrong("dir_encoding", "nested", value=3), "array"),
    ],
)
def test_a_file_with_something_wrong_says_what(change, why, small):
    data = changed(small, change)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=why) as error:
            instant_ngp.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value) and "expected" in str(error.value)


@pytest.fixture(scope="module")
def small():
    return written(made(levels=2, features=2, log2_size=4, width=16))[0]


def test_parameters_that_are_no_numbers_are_refused(small):
    def change(content):
        flat = np.frombuffer(content["snapshot"]["params_binary"], np.float16).copy()
        flat[[5, 7]] = np.nan, np.inf
        content["snapshot"]["params_binary"] = flat.tobytes()

    with pytest.raises(ValueError, match="found 2 that are not"):
        instant_ngp.decode(changed(small, change))


def test_a_file_that_is_cut_short_is_refused(small):
    plain = gzip.decompress(small)
    for data in (small, plain, zlib.compress(plain)):
        for length in [0, 1, 2, *np.linspace(3, len(data) - 1, 60).astype(int)]:
            with pytest.raises(ValueError, match="ingp: "):
                instant_ngp.decode(data[:length])


def test_values_inside_each_other_without_end_are_refused(small):
    deep = b"\x81\xa8snapshot" + b"\x91" * 200_000
    shell = b"\x82\xa4deep" + b"\x91" * 200_000 + b"\xc0" + b"\xa8snapshot\x80"
    for data in (deep, shell):
        with pytest.raises(ValueError, match="expected a snapshot"):
            instant_ngp.decode(data)


@pytest.mark.parametrize("start", [b"\xdd", b"\xdf", b"\xc6", b"\xdb"])
def test_huge_counts_take_no_memory(start):
    data = b"\x82\xa8encoding" + start + b"\xff\xff\xff\xff" + b"\xa8snapshot\x80"
    with pytest.raises(ValueError, match="expected a snapshot"):
        instant_ngp.decode(data)


@pytest.mark.parametrize("wbits", [15, 31], ids=["zlib", "gzip"])
def test_a_bomb_is_refused(wbits):
    codec = zlib.compressobj(9, zlib.DEFLATED, wbits)
    bomb = b"".join(codec.compress(bytes(1 << 20)) for _ in range(300)) + codec.flush()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cannot honestly hold"):
            instant_ngp.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


@given(st.data())
@settings(max_examples=60)
def test_flipped_bits_and_junk_are_survived(small, data):
    plain = bytearray(changed(small, wrong("snapshot", "density_grid_binary", value=b"")))
    for _ in range(data.draw(st.integers(1, 6))):
        plain[data.draw(st.integers(0, len(plain) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for content in (bytes(plain), zlib.compress(plain)):
        try:
            assert isinstance(instant_ngp.decode(content).content, HashGrid)
        except ValueError as error:
            assert str(error)


# Through load and save


def test_a_file_becomes_a_layer_and_a_layer_a_file(tmp_path):
    field, placement = made(), Similarity.from_matrix(np.column_stack([2 * ngp.CYCLE, [1.0, 2, 3]]))
    photos = taken()
    scene = Scene({"any": Layer(field, placement, viewpoints=photos), "hidden": Layer(field, visible=False)})
    assert splatview.save(scene, tmp_path / "fox.INGP") == ()
    again = splatview.load(tmp_path / "fox.INGP")
    assert list(again.layers) == ["fox"] and again.count == 0 and list(again.visible_fields) == ["fox"]
    assert_same(again.layers["fox"].content, field)
    assert np.allclose(again.layers["fox"].placement.matrix, placement.matrix)
    assert np.allclose(again.layers["fox"].viewpoints.poses, photos.poses)
    (tmp_path / "plain.msgpack").write_bytes(gzip.decompress((tmp_path / "fox.INGP").read_bytes()))
    (tmp_path / "unnamed").write_bytes((tmp_path / "fox.INGP").read_bytes())
    for name in ("plain.msgpack", "unnamed"):
        [layer] = splatview.load(tmp_path / name).layers.values()
        assert_same(layer.content, field)


def test_a_format_takes_what_it_holds_and_says_what_it_leaves_out(tmp_path, random_gaussians):
    splats, field = Layer(random_gaussians(5)), Layer(made())
    both = Scene({"ball": splats, "fox": field})
    [left] = splatview.save(both, tmp_path / "a.ingp")
    assert "no Gaussians: ball" in left and not splatview.load(tmp_path / "a.ingp").count
    [left] = splatview.save(both, tmp_path / "a.ply")
    assert "no hash-grid fields" in left and "fox" in left and splatview.load(tmp_path / "a.ply").count == 5
    with pytest.raises(ValueError, match=r"no visible layer .* Gaussians; a hash-grid field is saved as \.ingp"):
        splatview.save(both.shown("ball", False), tmp_path / "a.ply")
    for scene, found in ((both.shown("fox", False), "only Gaussians"), (both.with_layer("cat", field), "fox, cat"), (Scene(), "nothing")):
        with pytest.raises(ValueError, match=f"one visible hash-grid field to save, found {found}"):
            splatview.save(scene, tmp_path / "b.ingp")
    assert not (tmp_path / "b.ingp").exists()


def test_a_run_of_nerfstudio_is_a_field_in_the_world_of_its_capture(data):
    scene = splatview.load(data / "nerf" / "nerfstudio_ngp")
    [(name, layer)] = scene.visible_fields.items()
    reference = np.load(data / "nerf" / "nerfstudio_ngp" / "reference_field.npz")
    density, rgb = layer.content.query(reference["positions"], reference["directions"])
    assert name == "fox" and np.allclose(density, reference["density"], rtol=1e-4) and np.allclose(rgb, reference["rgb"], rtol=1e-4)
    moved = json.loads((data / "nerf" / "nerfstudio_ngp" / "dataparser_transforms.json").read_text())
    matrix = np.array(moved["transform"])
    world = layer.placement.apply(reference["positions"][:100].astype(np.float64))
    assert np.allclose(moved["scale"] * (world @ matrix[:, :3].T + matrix[:, 3]), reference["positions"][:100], atol=1e-5)
    with pytest.raises(ValueError, match="contracts all of space"):
        encode(layer, Report())
