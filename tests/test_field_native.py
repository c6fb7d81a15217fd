"""The native kernels of fields, against the specification in numpy."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace

import numpy as np
import numpy_field
import pytest
import torch
from render_cases import psnr

from splatview import Camera, RenderOptions
from splatview.formats import checkpoint, nerfstudio_field, yaml_scalars
from splatview.formats.files import open_file
from splatview.frame import Interrupt, Interrupted
from splatview.geometry import Similarity
from splatview.hashgrid import HashGrid, Level, Marching, Network, Occupancy
from splatview.native import _fields
from splatview.render.field_cpu import FieldCpu
from splatview.scene import Layer
from splatview.volumes import Box, Cut, Sphere

MACHINES = ["avx512", "avx2", "portable"]


def workers(machine: str = "", threads: int = 2) -> _fields.Workers:
    try:
        return _fields.Workers(machine, threads)
    except ValueError as error:
        pytest.skip(str(error))


def random_levels(features: int, rng: np.random.Generator) -> tuple[Level, ...]:
    """Dense ones, hashed ones, with powers of two and without, and ones that have fewer entries than corners."""
    sizes = [(3.0, 4, 64), (4.4, 6, 216), (6.0, 7, 344), (7.3, 0, 128), (31.7, 0, 1000), (200.0, 0, 1 << 12), (5.0, 3, 27)]
    return tuple(Level(rng.normal(size=(entries, features)), scale, resolution) for scale, resolution, entries in sizes)


def packed(levels: tuple[Level, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The table [T, F] of all levels and their rows [L, 4], as the native module takes them."""
    first = np.cumsum([0] + [len(level.table) for level in levels])
    rows = [[np.float32(level.scale), level.resolution, len(level.table), start] for level, start in zip(levels, first[:-1], strict=True)]
    return np.concatenate([level.table for level in levels]), np.array(rows, np.float64)


def grid_of(levels: tuple[Level, ...], offset: float) -> HashGrid:
    inputs = sum(level.table.shape[1] for level in levels)
    density, colour = Network((np.zeros((16, inputs)),)), Network((np.zeros((3, 32)),))
    return HashGrid(levels, density, colour, np.array([[0, 0, 0], [1, 1, 1]]), Marching(0.01), offset=offset)


def some_points(count: int, rng: np.random.Generator) -> np.ndarray:
    points = rng.uniform(size=(count, 3)).astype(np.float32)
    points[:3] = [[0.5, 0.5, 0.5], [1e-7, 1e-7, 1e-7], [1 - 1e-7, 0.25, 0.75]]
    return points


# The encoding


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("offset", [0.5, 0.0])
def test_encode_gives_the_features_of_the_specification(machine, features, offset):
    rng = np.random.default_rng(features)
    levels, points = random_levels(features, rng), some_points(1037, rng)
    grid = grid_of(levels, offset)
    wanted = np.concatenate([grid._features(level, points) for level in levels], axis=1)
    table, rows = packed(levels)
    assert np.allclose(workers(machine).encode(points, table, rows, offset), wanted, atol=2e-6)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_point_outside_of_the_cube_has_no_features_and_no_part_in_a_gradient(machine):
    rng = np.random.default_rng(1)
    table, rows = packed(random_levels(2, rng))
    points = np.array([[0, 0.5, 0.5], [0.5, 1, 0.5], [np.nan, 0.5, 0.5], [-5, 0.2, 0.2], [0.5, 0.5, np.inf], [1e30, 1, 1]], np.float32)
    assert not workers(machine).encode(points, table, rows, 0.5).any()
    gradient = np.zeros_like(table)
    workers(machine).encode_backward(points, np.ones((len(points), 2 * len(rows)), np.float32), rows, 0.5, gradient)
    assert not gradient.any()


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_backward_is_the_transpose_of_encode(machine, features):
    rng = np.random.default_rng(features)
    table, rows = packed(random_levels(features, rng))
    points = some_points(515, rng)
    some = rng.normal(size=(len(points), features * len(rows))).astype(np.float32)
    gradient = np.zeros_like(table)
    workers(machine).encode_backward(points, some, rows, 0.5, gradient)
    forward = (workers(machine).encode(points, table, rows, 0.5).astype(np.float64) * some).sum()
    assert (gradient.astype(np.float64) * table).sum() == pytest.approx(forward, rel=1e-5, abs=1e-3)


def test_backward_is_what_torch_finds_and_is_added():
    rng = np.random.default_rng(4)
    table, rows = packed((Level(rng.normal(size=(64, 2)), 3.0, 4),))
    points, some = some_points(100, rng), rng.normal(size=(100, 2)).astype(np.float32)
    entries = torch.from_numpy(table.copy()).requires_grad_()
    scaled = torch.from_numpy(points) * 3 + 0.5
    low, found = scaled.floor().long(), 0.0
    for corner in np.ndindex(2, 2, 2):
        bits = torch.tensor(corner)
        weight = torch.where(bits == 1, scaled - low, 1 - (scaled - low)).prod(dim=1, keepdim=True)
        found = found + weight * entries[((low + bits) * torch.tensor([1, 4, 16])).sum(1) % 64]
    (found * torch.from_numpy(some)).sum().backward()
    gradient = np.ones_like(table)
    workers().encode_backward(points, some, rows, 0.5, gradient)
    assert np.allclose(gradient - 1, entries.grad, atol=1e-5)


def test_threads_do_not_show_in_a_gradient():
    rng = np.random.default_rng(5)
    table, rows = packed(random_levels(4, rng))
    points, some = some_points(2000, rng), rng.normal(size=(2000, 4 * len(rows))).astype(np.float32)
    one, three = np.zeros_like(table), np.zeros_like(table)
    workers(threads=1).encode_backward(points, some, rows, 0.5, one)
    workers(threads=3).encode_backward(points, some, rows, 0.5, three)
    assert np.array_equal(one, three)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda table, rows: (table[:, :1].repeat(3, 1), rows),
        lambda table, rows: (table, rows[:0]),
        lambda table, rows: (table[:-1], rows),
        lambda table, rows: (table, rows * [np.nan, 1, 1, 1]),
        lambda table, rows: (table, rows * [1, 1, 0, 1]),
        lambda table, rows: (table, rows - [0, 0, 0, 1]),
    ],
)
def test_levels_that_do_not_fit_are_refused(wrong):
    table, rows = wrong(*packed(random_levels(2, np.random.default_rng(0))))
    with pytest.raises(ValueError, match="expected"):
        workers().encode(np.zeros((1, 3), np.float32), table, rows, 0.5)


# Marching


def brute_force(marching, occupancy, bounds, origins, directions, shift):
    """Every point of the lattice of each ray, by the specification: ray, distance and length of those that are in occupied cells."""
    field = grid_of(random_levels(1, np.random.default_rng(0)), 0.5)
    object.__setattr__(field, "box", bounds), object.__setattr__(field, "marching", marching)
    enter, leave = numpy_field.span(field, origins.astype(np.float64), directions.astype(np.float64))
    found = []
    for ray in np.flatnonzero(enter < leave):
        at = marching.count(enter[ray]) + shift[ray] + np.arange(int(np.ceil(marching.count(leave[ray]) - marching.count(enter[ray]))) + 1)
        t = marching.distance(at)
        at, t = at[t < leave[ray]], t[t < leave[ray]]
        points = origins[ray].astype(np.float64) + t[:, None] * directions[ray].astype(np.float64)
        there = occupancy.at(points) if occupancy is not None else np.ones(len(t), bool)
        length = marching.distance(at + 0.5) - marching.distance(at - 0.5)
        found += [(ray, *both) for both in zip(t[there], length[there], strict=True)]
    return np.array(found).reshape(-1, 3)


MARCHINGS = {
    "even": Marching(0.01),
    "growing": Marching(0.01, cone=1 / 256, longest=0.2, near=0.05),
    "without end": Marching(0.003, cone=0.004),
    "growing from far": Marching(0.02, cone=1 / 256, longest=0.021),
}


def some_rays(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rays through and past a box around 0, from inside and outside, along axes, along sides of cells, and in planes."""
    origins = rng.normal(0, 1.5, (300, 3)).astype(np.float32)
    directions = rng.normal(size=(300, 3))
    directions[:100] = -origins[:100] + rng.normal(0, 0.3, (100, 3))
    directions[100:130] = np.eye(3)[rng.integers(0, 3, 30)] * rng.choice([-1, 1], (30, 1))
    directions[130:160, 1] = 0
    directions[160:180, 2] = -0.0
    directions[180:200, 0] *= 1e-9
    origins[100:115] = np.round(origins[100:115] * 4) / 4  # on the sides of cells
    origins[140:150, 1] = 0.5
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return origins, directions.astype(np.float32)


@pytest.mark.parametrize("name", MARCHINGS)
@pytest.mark.parametrize("cascades", [0, 1, 3])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_march_finds_what_is_on_the_lattice(name, cascades, share):
    rng = np.random.default_rng(cascades)
    origins, directions = some_rays(rng)
    shift = rng.uniform(size=len(origins)).astype(np.float32)
    occupancy, native = None, None
    if cascades:
        boxes = np.array([[[-1, -1, -1], [1, 1.5, 1]]]) * 2.0 ** np.arange(cascades)[:, None, None]
        occupancy = Occupancy(rng.uniform(size=(cascades, 8, 12, 16)) < share, boxes)
        native = _fields.Occupancy(occupancy.cells.view(np.uint8), occupancy.boxes)
    bounds = np.array([[-3.0, -2.5, -3.5], [3.0, 3.5, 2.75]])
    marching = MARCHINGS[name]
    steps = _fields.Steps(marching.step, marching.cone, marching.longest, marching.near)
    rays, t, length = workers().march(origins, directions, shift, native, bounds, steps, 10_000_000)
    wanted = brute_force(marching, occupancy, bounds, origins, directions, shift)
    assert len(t) == len(wanted) > 100 and np.array_equal(rays, wanted[:, 0])
    assert np.allclose(t, wanted[:, 1], rtol=1e-6) and np.allclose(length, wanted[:, 2], rtol=1e-6)
    some = workers(threads=1).march(origins, directions, shift, native, bounds, steps, 777)
    assert all(np.array_equal(few, all_of[: min(777, len(t))]) for few, all_of in zip(some, (rays, t, length), strict=True))


def test_rays_that_are_nowhere_have_no_samples():
    origins = np.array([[np.nan, 0, 0], [0, 0, 0], [5, 5, 5], [0, 0, 0]], np.float32)
    directions = np.array([[0, 0, 1], [np.nan, 0, 1], [0, 0, 1], [0, 0, 0]], np.float32)
    bounds = np.array([[-1.0, -1, -1], [1, 1, 1]])
    halves = np.full(4, 0.5, np.float32)
    for step in (0.01, 1e-30):
        assert not len(workers().march(origins, directions, halves, None, bounds, _fields.Steps(step, 0, np.inf, 0), 1000)[0])
    with pytest.raises(ValueError, match="expected the numbers"):
        _fields.Steps(0.0, 0, np.inf, 0)


# Fields


def network(rng: np.random.Generator, *widths: int, biases: bool = False) -> Network:
    pairs = list(itertools.pairwise(widths))
    weights = tuple(rng.normal(0, np.sqrt(2 / before), (after, before)) for before, after in pairs)
    return Network(weights, tuple(rng.normal(0, 0.2, after) for _, after in pairs) if biases else ())


def trained(
    features: int = 2,
    widths: tuple[int, ...] = (64,),
    looks: tuple[int, ...] = (64, 64),
    outputs: int = 16,
    biases: bool = False,
    **changes,
) -> HashGrid:
    """A random field that has holes and hard parts, as trained ones do."""
    rng = np.random.default_rng(7)
    sizes = [(3.0, 4, 64), (5.6, 7, 344), (9.3, 0, 512), (15.0, 0, 1 << 11), (26.1, 0, 1 << 12)]
    levels = tuple(Level(rng.normal(0, 1.2, (entries, features)), scale, resolution) for scale, resolution, entries in sizes)
    geometry = changes.get("geometry", 0)
    density = network(rng, features * len(levels), *widths, outputs, biases=biases)
    colour = network(rng, outputs - geometry + 16, *looks, 3, biases=biases)
    given = {"marching": Marching(0.02), "box": np.array([[-1, -1, -1], [1, 1.2, 0.9]]), "density_factor": 3.0, **changes}
    return HashGrid(levels, density, colour, **given)


def grids(cascades: int, share: float = 0.4, side: float = 1.0) -> Occupancy:
    boxes = np.array([[[-side] * 3, [side] * 3]]) * 2.0 ** np.arange(cascades)[:, None, None]
    return Occupancy(np.random.default_rng(3).uniform(size=(cascades, 8, 8, 8)) < share, boxes)


GROWING = Marching(0.01, cone=1 / 256, longest=0.5, near=0.1)
FIELDS = {
    "common": lambda: trained(),
    "four features": lambda: trained(features=4, occupancy=grids(1)),
    "one feature, one layer": lambda: trained(features=1, widths=(), looks=(), outputs=5),
    "eight features, odd widths": lambda: trained(features=8, widths=(23, 37), looks=(18,), outputs=9, geometry=3, biases=True),
    "cascades": lambda: trained(occupancy=grids(3), marching=GROWING, box=np.array([[-4, -4, -4], [4, 4, 4]]), offset=0.0),
    "contraction": lambda: trained(
        occupancy=grids(4), marching=GROWING, warp="contraction", geometry=1, biases=True, shifted_directions=True, density_factor=0.7
    ),
    "fog": lambda: trained(density_factor=0.02, marching=Marching(0.004)),
    "walls": lambda: trained(density_factor=1000.0, occupancy=grids(1, 0.1)),
    "least alpha": lambda: trained(marching=Marching(0.02, least_alpha=0.01)),
    "bright": lambda: trained(hdr=True, looks=(16,)),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", FIELDS)
def test_query_is_the_specified_one(name, machine):
    field, rng = FIELDS[name](), np.random.default_rng(0)
    points = rng.uniform(-1.3, 1.3, (1003, 3)).astype(np.float32)
    points[::100] *= np.float32(1e6)
    points[5, 1], points[6, 0] = np.nan, np.inf
    along = rng.normal(size=points.shape).astype(np.float32)
    density, rgb = workers(machine).query(field.prepared, points, along)
    wanted, colour = field.specified(points, along)
    assert np.allclose(density, wanted, rtol=5e-3, atol=0)
    assert np.allclose(rgb, colour, rtol=5e-3, atol=1e-3)


def test_nerfstudios_field_answers_as_specified(data):
    folder = data / "nerf" / "nerfstudio_ngp"
    with open_file(folder / "nerfstudio_models" / "step-000000100.ckpt") as content:
        tensors = {name.removeprefix("_model."): value for name, value in checkpoint.read(content)["pipeline"].items()}
        field = nerfstudio_field.read(tensors, yaml_scalars.read(folder / "config.yml"))
    reference = np.load(folder / "reference_field.npz")
    density, rgb = field.query(reference["positions"], reference["directions"])
    assert np.allclose(density, reference["density"], rtol=5e-3, atol=0) and np.allclose(rgb, reference["rgb"], rtol=5e-3, atol=0)


def shot(eye: tuple[float, float, float] = (2.2, -2.5, 1.4), centre: tuple[float, float] = (20, 14)) -> Camera:
    camera = Camera.look_at(eye, (0, 0, 0), (0, 0, 1), 0.8, 40, 28)
    K = camera.K.copy()
    K[:2, 2] = centre
    return Camera(K, camera.camera_from_world, 40, 28)


CUTS = (
    Cut(Box((0, 0, 0), (1.2, 1, 1.6), (1, 0.2, 0, 0.1), 0.2)),
    Cut(Sphere((0.4, -0.3, 0.6), 0.5)),
    Cut(Sphere((0, 0, 0), 0.3, 0.3), keeps=False),
)
PLACED = Similarity((0.8, 0.3, -0.4, 0.2), (0.3, 0.5, -0.2), 0.6)
VIEWS = {
    "plain": ((shot(),), {}),
    "principal point off centre": ((shot(centre=(5, 33)),), {}),
    "placed": ((shot(), PLACED), {}),
    "inside": ((shot((0.3, -0.2, 0.1)),), {}),
    "near, far": ((shot(), PLACED), {"near": 3.0, "far": 4.2}),
    "cropped": ((shot(), PLACED), {"cuts": (Cut(Box((0.1, -0.6, 0.4), (1.2, 1.6, 2), (0.9, 0.1, 0.3, -0.2), 0.2)),)}),
    "cut off": ((shot(), PLACED), {"cuts": (Cut(Sphere((0, 0.1, 0), 0.5, 0.4), False), Cut(Box((-1, 0, 0), (1, 1, 1)), False))}),
    "kept and cut off": ((shot(), PLACED), {"cuts": CUTS, "exposure": -1.0}),
}


def agrees(
    field: HashGrid,
    machine: str,
    monkeypatch: pytest.MonkeyPatch,
    camera: Camera,
    placement=Similarity(),
    near=0.01,
    far=1e10,
    detail=1.0,
    **shown,
):
    monkeypatch.setenv("SPLATVIEW_SIMD", machine)
    try:
        renderer = FieldCpu()
    except ValueError as error:
        pytest.skip(str(error))
    layer = Layer(field, placement, **shown)
    drawn = renderer.render(layer, camera, RenderOptions(near=near, far=far, field_detail=detail))
    wanted = numpy_field.render(layer, camera, near=near, far=far, detail=detail)
    assert psnr(drawn.rgb, wanted["rgb"]) >= 50 and psnr(drawn.alpha, wanted["alpha"]) >= 50
    assert psnr(drawn.depth * drawn.alpha / 10, wanted["depth"] * wanted["alpha"] / 10) >= 50
    assert np.abs(drawn.samples - wanted["samples"]).mean() <= 0.02 * wanted["samples"].mean() + 0.01
    assert not drawn.depth[drawn.alpha == 0].any()
    assert np.ptp(wanted["rgb"]) > 0.1


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", FIELDS)
def test_pictures_are_the_specified_ones(name, machine, monkeypatch):
    agrees(FIELDS[name](), machine, monkeypatch, shot())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["four features", "cascades", "contraction"])
def test_every_view_is_the_specified_one(name, view, monkeypatch):
    positional, named = VIEWS[view]
    agrees(FIELDS[name](), "", monkeypatch, *positional, **named)


@pytest.mark.parametrize("detail", [0.7, 0.5, 0.25])
@pytest.mark.parametrize("name", FIELDS)
def test_drafts_are_the_specified_ones(name, detail, monkeypatch):
    agrees(FIELDS[name](), "", monkeypatch, shot(), detail=detail)


def test_a_draft_has_fewer_samples_and_is_as_bright():
    field = trained(density_factor=0.5, marching=Marching(0.004))
    full, half, quarter = (FieldCpu().render(Layer(field), shot(), RenderOptions(field_detail=detail)) for detail in (1, 0.5, 0.25))
    assert 0.05 < full.alpha.mean() < 0.9
    for detail, draft in ((0.5, half), (0.25, quarter)):
        assert draft.samples.sum() == pytest.approx(detail * full.samples.sum(), rel=0.1)
        assert draft.alpha.mean() == pytest.approx(full.alpha.mean(), rel=0.02)
        assert draft.rgb.mean() == pytest.approx(full.rgb.mean(), rel=0.02)


@pytest.mark.parametrize("detail", [0.0, -1.0, 1.5, np.nan])
def test_a_detail_that_is_none_is_refused(detail):
    with pytest.raises(ValueError, match=r"RenderOptions.field_detail: expected a share over 0 and up to 1"):
        RenderOptions(field_detail=detail)


def test_a_part_of_a_picture_is_that_part_and_threads_do_not_show(monkeypatch):
    field, whole = FIELDS["cascades"](), FieldCpu().render(Layer(FIELDS["cascades"](), PLACED), shot())
    part = FieldCpu().render(Layer(field, PLACED), shot(), rectangle=(16, 16, 7, 9))
    monkeypatch.setenv("SPLATVIEW_THREADS", "1")
    alone = FieldCpu().render(Layer(field, PLACED), shot())
    for all_of, some, one in zip(*((*image.parts[0], image.samples) for image in (whole, part, alone)), strict=True):
        assert np.array_equal(all_of, one) and np.array_equal(all_of[16:25, 16:23], some)


@pytest.mark.parametrize("broken", ["table", "density", "colour"])
def test_numbers_that_are_none_do_no_harm(broken):
    field = FIELDS["four features"]()
    if broken == "table":
        rows = np.array([[np.nan] * 4, [np.inf] * 4, [-np.inf] * 4, [1e38] * 4])
        field = replace(field, levels=tuple(replace(level, table=np.tile(rows, (len(level.table) // 4, 1))) for level in field.levels))
    else:
        old = getattr(field, broken)
        field = replace(field, **{broken: Network(tuple(one * np.float32(np.nan) for one in old.weights), old.biases)})
    FieldCpu().render(Layer(field), shot())
    field.query(np.zeros((3, 3)), np.full((3, 3), np.nan))


def test_a_picture_is_given_up():
    interrupt = Interrupt()
    interrupt.set()
    with pytest.raises(Interrupted):
        FieldCpu().render(Layer(FIELDS["common"]()), shot(), interrupt=interrupt)


def test_a_running_picture_is_given_up_soon():
    interrupt, field = Interrupt(), FIELDS["fog"]()
    camera = Camera.look_at((0.3, -0.2, 0.1), (1, 0, 0), (0, 0, 1), 0.8, 2048, 2048)
    field.query(np.zeros((1, 3)), np.ones((1, 3)))
    timer = threading.Timer(0.1, interrupt.set)
    timer.start()
    with pytest.raises(Interrupted):
        FieldCpu().render(Layer(field), camera, interrupt=interrupt)
    timer.join()
