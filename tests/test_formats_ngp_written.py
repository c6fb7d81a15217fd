"""What is brought into Instant-NGP's format: other fields, how they are shown, and what it cannot hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ngp_files import assert_same, changed, made, network, tree, written

from splatview.formats import instant_ngp
from splatview.formats.report import Report
from splatview.geometry import Similarity
from splatview.hashgrid import Network, Occupancy
from splatview.volumes import Box, Cut, Sphere, left_by


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
