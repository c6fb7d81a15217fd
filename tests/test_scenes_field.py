"""The bundled field: small, trained on the bundled splats, and drawn as both specifications say (numpy's, and the torch that trains)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy_field
import pytest
import torch
from render_cases import psnr

import splatview
from splatview import Camera, HashGrid, RenderOptions
from splatview.cli import main
from splatview.fit.encoding import encoded
from splatview.fit.field import Field, Shape, _through
from splatview.fit.marching import _lattice, packed, weights
from splatview.fit.occupancy import OccupancyGrid
from splatview.framing import frame_scene
from splatview.hashgrid import LAST_TRANSMITTANCE
from splatview.render import field_cpu
from splatview.render.field_cpu import FieldCpu, FieldImage
from splatview.scene import Layer

SCENES = Path(__file__).parents[1] / "scenes"
SPLATS, FIELD = SCENES / "led_stage.spz", SCENES / "led_stage.ingp"
VIEWS = {  # eye, target, vertical field of view in degrees: of scenes/README.md, and others
    "establishing": ((0.3, -9.5, 2.3), (0, 0, 1.75), 49),
    "through the stage": ((-1.6, -5.6, 0.55), (0.3, 0.8, 1.0), 52),
    "over the cinema camera": ((4.6, -5.6, 1.9), (2.4, -3.0, 1.1), 46),
    "from above": ((6.0, -11.0, 9.0), (0, 0, 2.0), 50),
    "from within": ((0.0, 1.5, 2.5), (-4.0, 5.0, 2.5), 80),
}

LIKENESS = 20.0  # decibels


def view(name: str, width: int = 27, height: int = 18) -> Camera:
    eye, target, degrees = VIEWS[name]
    return Camera.look_at(eye, target, (0, 0, 1), np.radians(degrees), width, height)


@pytest.fixture(scope="module")
def scene():
    return splatview.load(FIELD)


@pytest.fixture(scope="module")
def renderer():
    return splatview.open_renderer("cpu")


def only(scene: splatview.Scene) -> Layer:
    (layer,) = scene.layers.values()
    return layer


def test_it_is_small_and_was_trained(scene):
    field = only(scene).field
    assert FIELD.stat().st_size < 4_000_000
    assert max(len(level.table) for level in field.levels) == 1 << 15
    assert field.occupancy is not None and 0.001 < field.occupancy.cells.mean() < 0.2


def test_it_lies_where_the_splats_lie(scene):
    field, splats = frame_scene(scene), frame_scene(splatview.load(SPLATS))
    assert field.up_axis == splats.up_axis == "z"
    assert np.linalg.norm(np.subtract(field.centre, splats.centre)) < 0.3 * splats.radius and 0.6 < field.radius / splats.radius < 1.4


@pytest.mark.parametrize("name", VIEWS)
def test_it_looks_like_the_splats(scene, renderer, name):
    camera = view(name, 320, 224)
    field, splats = (renderer.render(one, camera, RenderOptions(outputs=("rgb8",))).rgb8 / 255 for one in (scene, splatview.load(SPLATS)))
    assert psnr(field, splats) > LIKENESS and np.ptp(splats) > 0.5


# The specifications


def agree(drawn: splatview.Frame, wanted: dict[str, np.ndarray]) -> None:
    assert psnr(drawn.rgb, wanted["rgb"]) >= 50 and psnr(drawn.alpha, wanted["alpha"]) >= 50
    assert psnr(drawn.depth * drawn.alpha / 10, wanted["depth"] * wanted["alpha"] / 10) >= 50
    assert np.ptp(wanted["rgb"]) > 0.3 and np.ptp(wanted["depth"]) > 1


@pytest.mark.parametrize("name", VIEWS)
def test_the_native_picture_is_the_one_specified_in_numpy(scene, renderer, name):
    agree(renderer.render(scene, view(name)), numpy_field.render(only(scene), view(name), near=0.01))


def test_what_ends_early_is_nearly_as_in_full(scene, monkeypatch):
    def drawn(end: float) -> FieldImage:
        monkeypatch.setattr(field_cpu, "last_transmittance", lambda detail: end)
        return FieldCpu().render(only(scene), view("through the stage", 160, 120))

    full, early = drawn(1e-6), drawn(LAST_TRANSMITTANCE)
    assert early.samples.sum() < 0.95 * full.samples.sum()
    assert psnr(early.rgb, full.rgb) > 60 and psnr(early.alpha, full.alpha) > 55
    assert not ((early.alpha > 1 - LAST_TRANSMITTANCE) & (early.alpha < 1 - 1e-5)).any(), "what hardly lets anything through is opaque"


class Readable(Field):
    """With the encoding that is written out."""

    def _raw(self, positions: torch.Tensor) -> torch.Tensor:
        return _through(self.density, encoded((positions - self.low) / self.size, self.table, self.grid))


def in_torch(value: HashGrid) -> Field:
    """The field as training has it."""
    count, features = len(value.levels), value.levels[0].table.shape[1]
    shape = Shape(levels=count, features=features, log2_size=15, finest=round(value.levels[-1].scale + 1))
    field = Readable(shape, value.box, torch.device("cpu"), torch.Generator())
    assert [(level.resolution, len(level.table)) for level in value.levels] == [one[1:] for one in field.grid.levels]
    with torch.no_grad():
        field.table.copy_(torch.from_numpy(np.concatenate([level.table for level in value.levels])))
        for layers, network in ((field.density, value.density), (field.colour, value.colour)):
            for layer, weight in zip(layers, network.weights, strict=True):
                layer.copy_(torch.from_numpy(weight.copy()))
    return field


@torch.no_grad()
def drawn_by_torch(layer: Layer, camera: Camera) -> dict[str, np.ndarray]:
    """The picture by the readable parts of training: its lattice, its encoding, its networks and its blending."""
    value, placement = layer.field, layer.placement
    field, grid = in_torch(value), OccupancyGrid(1, value.marching, torch.device("cpu"))
    grid.cells = torch.from_numpy(value.occupancy.cells.copy())
    origins, directions = (one.reshape(-1, 3) for one in numpy_field.rays(camera))
    into = placement.inverse()
    start = torch.tensor(into.apply(origins), dtype=torch.float32)
    along = torch.tensor(directions @ into.rotation.T, dtype=torch.float32)
    samples = packed(*_lattice(start, along, torch.full((len(start),), 0.5), grid, value.marching, 0.0, 1.0), len(start))
    places = start[samples.ray] + samples.distance[:, None] * along[samples.ray]
    density, rgb = field(places, along, samples.ray)
    found = torch.cat([rgb, torch.ones_like(density)[:, None], samples.distance[:, None]], 1) * weights(density, samples)[:, None]
    sums = torch.zeros(len(start), 5).index_add(0, samples.ray, found).numpy()
    rgb, alpha, distance = sums[:, :3], sums[:, 3], sums[:, 4]
    depth = placement.scale * distance * (directions @ camera.forward) / np.maximum(alpha, 1e-12)
    shape = camera.height, camera.width
    return {"rgb": rgb.reshape(*shape, 3), "alpha": alpha.reshape(shape), "depth": depth.reshape(shape)}


@pytest.mark.parametrize("name", VIEWS)
def test_the_native_picture_is_the_one_that_torch_trained(scene, renderer, name):
    agree(renderer.render(scene, view(name)), drawn_by_torch(only(scene), view(name)))


# The commands


def test_it_is_converted_to_itself(scene, tmp_path, capsys):
    assert main(["convert", str(FIELD), str(tmp_path / "again.ingp")]) == 0
    assert "note" not in capsys.readouterr().out
    before, after = only(scene), only(splatview.load(tmp_path / "again.ingp"))
    one, other = before.field, after.field
    for ours, theirs in zip(one.levels, other.levels, strict=True):
        assert np.array_equal(ours.table, theirs.table) and ours.scale == theirs.scale and ours.resolution == theirs.resolution
    for ours, theirs in ((one.density, other.density), (one.colour, other.colour)):
        assert all(np.array_equal(*pair) for pair in zip(ours.weights, theirs.weights, strict=True))
    assert np.array_equal(one.occupancy.cells, other.occupancy.cells) and np.array_equal(one.box, other.box)
    assert np.allclose(before.placement.matrix, after.placement.matrix)


def test_it_is_told_of(capsys):
    assert main(["info", str(FIELD)]) == 0
    told = capsys.readouterr().out
    assert "occupancy         128 x 128 x 128 cells" in told and "32,768" in told and "note" not in told
