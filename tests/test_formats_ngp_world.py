"""Where Instant-NGP's fields and their photographs lie in the world."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from ngp_files import assert_same, changed, made, small_file, taken, tree, written

from splatview import ngp
from splatview.formats import instant_ngp
from splatview.formats.instant_ngp_writer import encode
from splatview.formats.report import Report
from splatview.geometry import Similarity, matrix_from_quat
from splatview.hashgrid import Occupancy
from splatview.scene import Layer


@pytest.fixture(scope="module")
def small():
    return small_file()


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
