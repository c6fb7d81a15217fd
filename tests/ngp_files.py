"""Instant-NGP's snapshots: random fields as it trains them, and files of them."""

from __future__ import annotations

import gzip
import itertools
from dataclasses import replace

import msgspec
import numpy as np

from splatview import ngp, tcnn
from splatview.formats import instant_ngp_cells
from splatview.formats.instant_ngp_writer import encode
from splatview.formats.report import Report
from splatview.geometry import Similarity, matrix_from_quat
from splatview.hashgrid import HashGrid, Marching, Network, Occupancy
from splatview.scene import Layer
from splatview.viewpoints import Viewpoints

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


def taken(count=5, seed=0):
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = matrix_from_quat(rng.normal(size=(count, 4))), rng.normal(size=(count, 3))
    return Viewpoints(
        poses, np.column_stack([rng.integers(50, 90, (count, 2)), rng.uniform(50, 90, (count, 2)), rng.uniform(20, 60, (count, 2))])
    )


def small_file():
    """Of a field with little in it."""
    return written(made(levels=2, features=2, log2_size=4, width=16))[0]
