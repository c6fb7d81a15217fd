"""Instant-NGP's snapshots: what is written is read again, lies where Instant-NGP looks for it, and answers as the book says."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from ngp_files import assert_same, changed, made, taken, tree, written

import splatview
from splatview import ngp
from splatview.formats import instant_ngp, instant_ngp_cells, instant_ngp_container
from splatview.formats.instant_ngp_writer import encode
from splatview.formats.report import Report
from splatview.geometry import Similarity
from splatview.hashgrid import Occupancy
from splatview.scene import Layer, Scene

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
