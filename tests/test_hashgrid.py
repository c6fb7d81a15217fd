"""The field's value and the readers of its layouts, against nerfstudio's own answers and a slow evaluation in plain Python."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splatview import harmonics, tcnn
from splatview.formats import checkpoint, nerfstudio_field, yaml_scalars
from splatview.formats.files import open_file
from splatview.hashgrid import PRIMES, HashGrid, Level, Marching, Network, Occupancy, harmonics_of
from splatview.ngp import level_shapes

RNG = np.random.default_rng(0)


def network(*widths, seed=0):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(widths))
    return Network(
        tuple(rng.normal(0, 0.5, (after, before)) for before, after in pairs), tuple(rng.normal(0, 0.1, after) for _, after in pairs)
    )


def field(**changes):
    levels = (Level(RNG.normal(size=(64, 2)), 3.0, 4), Level(RNG.normal(size=(128, 2)), 7.3))
    made = HashGrid(levels, network(4, 8, 16), network(32, 8, 3), np.array([[-1, -1, -1], [1, 2, 3]]), Marching(0.01))
    return replace(made, **changes)


# Laws


def test_a_dense_level_is_trilinear():
    size, slope = 6, np.array([1.0, -2.0, 0.5])
    corners = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]  # x fastest
    level = Level((corners @ slope + 3)[:, None], 4.0, size)
    grid = field(levels=(level,), density=network(1, 16), offset=0.5)
    points = RNG.uniform(size=(100, 3)).astype(np.float32)
    assert np.allclose(grid._features(level, points)[:, 0], (points * 4 + 0.5) @ slope + 3, atol=1e-5)


@given(st.lists(st.integers(0, 2000), min_size=3, max_size=3))
def test_a_corner_of_a_hashed_level_has_the_entry_of_the_hash(corner):
    level = Level(np.arange(1 << 12)[:, None], 4096.0)
    at = np.array([corner], np.float32) / 4096
    place = 0
    for number, prime in zip(corner, PRIMES, strict=True):
        place ^= number * prime
    assert field(levels=(level,), density=network(1, 16), offset=0.0)._features(level, at)[0, 0] == place % (1 << 12)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3))
def test_contraction_keeps_the_middle_and_brings_all_space_into_the_cube(point):
    grid, at = field(warp="contraction"), np.array([point], np.float32)
    warped = grid.warped(at)[0]
    assert (np.abs(warped - 0.5) <= 0.5).all()
    if np.abs(at).max() < 1:
        assert np.allclose(warped, (at[0] + 2) / 4, atol=1e-6)
    edge = np.array([[1, 0.3, -0.2]], np.float32)
    assert np.allclose(grid.warped(edge * np.float32(1 - 1e-6)), grid.warped(edge * np.float32(1 + 1e-6)), atol=1e-5)


def test_harmonics_are_the_splats_on_the_sphere():
    directions = RNG.normal(size=(100, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.allclose(harmonics_of(directions), harmonics.basis(directions, 3), atol=1e-12)


def test_nothing_is_outside_and_a_broken_point_is_nowhere():
    grid = field()
    points = np.array([[0, 0, 0], [1.001, 0, 0], [0, 2.5, 0], [np.nan, 0, 0], [np.inf, 0, 0]], np.float32)
    density, rgb = grid.specified(points, np.ones_like(points))
    assert density[0] > 0 and not density[1:].any() and ((rgb[:3] > 0) & (rgb[:3] < 1)).all()


def test_many_points_are_answered_as_each_of_them():
    grid, points, along = field(), RNG.uniform(-1, 1, (40_000, 3)), RNG.normal(size=(40_000, 3))
    density, rgb = grid.specified(points, along)
    some = RNG.integers(0, 40_000, 50)
    one, colour = grid.specified(points[some], 3 * along[some])
    assert np.allclose(one, density[some], rtol=1e-5) and np.allclose(colour, rgb[some], rtol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Level(np.zeros((10, 2)), 0.0),
        lambda: Level(np.zeros((10, 3)), 1.0),
        lambda: Level(np.zeros((10, 2)), 1.0, 3),
        lambda: Network((np.zeros((4, 3)), np.zeros((2, 5)))),
        lambda: Network((np.zeros((4, 3)),), (np.zeros(4), np.zeros(4))),
        lambda: Marching(0.0),
        lambda: Marching(0.1, cone=-1),
        lambda: Occupancy(np.zeros((1, 2, 2, 2), bool), np.zeros((1, 2, 3))),
        lambda: field(box=np.array([[0, 0, 0], [1, 0, 1]])),
        lambda: field(density=network(5, 8, 16)),
        lambda: field(colour=network(31, 8, 3)),
        lambda: field(colour=network(32, 8, 2)),
        lambda: field(warp="round"),
        lambda: field(levels=()),
        lambda: field().query(np.zeros((3, 2)), np.zeros((3, 2))),
        lambda: field().query(np.zeros((3, 3)), np.zeros((2, 3))),
    ],
)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()


# tiny-cuda-nn's layout


def slow(packed_network, packed_grid, shapes, features, unit):
    """Outputs of a network of one hidden layer of 64 over a grid's features at one point, by the book (formats.md, D.8), in float64."""
    begin, found = 0, []
    for scale, corners, entries in shapes:
        table = packed_grid[begin : begin + entries * features].reshape(entries, features)
        begin += entries * features
        at = [value * scale + 0.5 for value in unit]
        low, total = [int(value) for value in at], np.zeros(features)
        for dx, dy, dz in np.ndindex(2, 2, 2):
            x, y, z = low[0] + dx, low[1] + dy, low[2] + dz
            weight = 1.0
            for bit, value, floor in zip((dx, dy, dz), at, low, strict=True):
                weight *= value - floor if bit else 1 - (value - floor)
            place = x + y * corners + z * corners**2 if corners else (x * PRIMES[0] ^ y * PRIMES[1] ^ z * PRIMES[2]) & 0xFFFFFFFF
            total += weight * table[place % entries]
        found.extend(total)
    inputs = -(-len(found) // 16) * 16
    first, last = packed_network[: 64 * inputs].reshape(64, inputs), packed_network[64 * inputs :].reshape(-1, 64)
    return last @ np.maximum(first @ np.array(found + [0.0] * (inputs - len(found))), 0)


@pytest.mark.parametrize(("count", "features", "log2_size"), [(8, 4, 11), (16, 2, 12), (5, 2, 10)])
def test_tiny_cuda_nns_layout_gives_what_the_book_says(count, features, log2_size):
    shapes = level_shapes(count, log2_size, 4, 1.6)
    assert shapes[0][1] > 0 == shapes[-1][1]  # dense and hashed ones
    packed_network = RNG.normal(0, 0.3, tcnn.size(count * features, 64, 1, 16))
    packed_grid = RNG.normal(0, 1, features * sum(entries for *_, entries in shapes))
    levels = tcnn.levels(packed_grid, count, features, log2_size, 4, 1.6)
    density = tcnn.network(packed_network, count * features, 64, 1, 16, filled=0)
    grid = HashGrid(levels, density, network(32, 8, 3), np.array([[0, 0, 0], [1, 1, 1]]), Marching(0.01))
    points = RNG.uniform(0.01, 0.99, (20, 3))
    wanted = [np.exp(slow(packed_network, packed_grid, shapes, features, point)[0]) for point in points]
    assert np.allclose(grid.specified(points, np.ones((20, 3)))[0], wanted, rtol=2e-3)


def test_the_sizes_are_instant_ngps():
    assert tcnn.size(32, 64, 1, 16) == 64 * 32 + 16 * 64 and tcnn.size(32, 64, 2, 3) == 64 * 32 + 64 * 64 + 16 * 64
    coarse, *_, fine = level_shapes(8, 19, 16, 2.0)
    assert coarse == (15.0, 16, 4096) and fine == (2047.0, 0, 1 << 19)
    with pytest.raises(ValueError, match="expected 3,072 parameters"):
        tcnn.network(np.zeros(10), 32, 64, 1, 16)
    with pytest.raises(ValueError, match=r"expected .* parameters of a grid"):
        tcnn.levels(np.zeros(10), 8, 4, 19, 16, 2.0)


# nerfstudio's own


@pytest.fixture(scope="module")
def run(data):
    folder = data / "nerf" / "nerfstudio_ngp"
    with open_file(folder / "nerfstudio_models" / "step-000000100.ckpt") as content:
        tensors = {name.removeprefix("_model."): value for name, value in checkpoint.read(content)["pipeline"].items()}
        yield tensors, yaml_scalars.read(folder / "config.yml"), np.load(folder / "reference_field.npz")


def test_a_run_of_nerfstudio_answers_as_nerfstudio_does(run):
    tensors, settings, reference = run
    assert nerfstudio_field.holds_field(tensors)
    grid = nerfstudio_field.read(tensors, settings)
    density, rgb = grid.specified(reference["positions"], reference["directions"])
    assert np.allclose(density, reference["density"], rtol=1e-5, atol=0) and np.allclose(rgb, reference["rgb"], rtol=1e-5, atol=0)
    assert np.ptp(reference["density"]) > 0.3  # it is not the same everywhere
    assert grid.occupancy is not None and grid.occupancy.cells.shape == (4, 32, 32, 32)
    assert grid.marching.cone == 0.004 and grid.marching.step == pytest.approx(2 * 3**0.5 / 1000)


@pytest.mark.parametrize("missing", ["aabb", "max_res", "mlp_head.layers.0.weight", "mlp_base.model.1.layers.0.bias"])
def test_a_run_that_lacks_something_says_what(run, missing):
    tensors, settings, _ = run
    with pytest.raises(ValueError, match=re.escape(f"field.{missing}")):
        nerfstudio_field.read({name: value for name, value in tensors.items() if name != f"field.{missing}"}, settings)


def test_a_run_with_other_sizes_than_it_says_is_refused(run):
    tensors, settings, _ = run
    with pytest.raises(ValueError, match="expected a table of"):
        nerfstudio_field.read({**tensors, "field.num_levels": tensors["field.log2_hashmap_size"]}, settings)
    with pytest.raises(ValueError, match=r"expected a number for pipeline\.model\.cone_angle"):
        nerfstudio_field.read(tensors, {**settings, "pipeline.model.cone_angle": "wide"})


def test_a_run_trained_with_tiny_cuda_nn_answers_as_the_book_says(tmp_path):
    count, shapes = 16, level_shapes(16, 10, 16, float(np.exp(np.log(512 / 16) / 15)))
    base, table = RNG.normal(0, 0.3, tcnn.size(32, 64, 1, 16)), RNG.normal(0, 1, 2 * sum(entries for *_, entries in shapes))
    head, looks = RNG.normal(0, 0.3, tcnn.size(63, 64, 2, 3)), RNG.normal(0, 1, (7, 32))
    state = {
        "field.aabb": np.array([[-1.0, -1, -1], [1, 1, 1]]),
        **{f"field.{name}": np.array(value) for name, value in (("max_res", 512), ("num_levels", count), ("log2_hashmap_size", 10))},
        "field.mlp_base.model.params": np.concatenate([base, table]),
        "field.mlp_head.params": head,
        "field.embedding_appearance.embedding.weight": looks,
    }
    torch.save({"pipeline": {name: torch.from_numpy(value) for name, value in state.items()}}, tmp_path / "a.ckpt")
    settings = {"method_name": "instant-ngp", "pipeline.model.disable_scene_contraction": "true"}
    with open_file(tmp_path / "a.ckpt") as content:
        tensors = checkpoint.read(content)["pipeline"]
        plain = nerfstudio_field.read(tensors, settings)
        average = nerfstudio_field.read(tensors, {**settings, "pipeline.model.use_average_appearance_embedding": "true"})
    points, along = RNG.uniform(-0.98, 0.98, (20, 3)), RNG.normal(size=(20, 3))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    raw = np.array([slow(base, table, shapes, 2, (point + 1) / 2) for point in points])
    first, second, last = np.split(head, [64 * 64, 2 * 64 * 64])
    for grid, embedding in ((plain, np.zeros(32)), (average, looks.mean(0))):
        inputs = [harmonics.basis(along, 3), raw[:, 1:], np.tile(embedding, (20, 1)), np.ones((20, 1))]
        hidden = np.maximum(np.concatenate(inputs, 1) @ first.reshape(64, 64).T, 0)
        outputs = np.maximum(hidden @ second.reshape(64, 64).T, 0) @ last.reshape(16, 64).T
        density, rgb = grid.specified(points, along)
        assert np.allclose(density, np.exp(raw[:, 0]), rtol=2e-3) and np.allclose(rgb, 1 / (1 + np.exp(-outputs[:, :3])), atol=2e-3)
