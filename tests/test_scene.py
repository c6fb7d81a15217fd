"""The Scene value: named layers that are replaced, never changed."""

import numpy as np
import pytest

from splatview.geometry import Similarity
from splatview.hashgrid import HashGrid, Level, Marching, Network
from splatview.scene import Layer, Scene

MOVED = Similarity(translation=(1, 2, 3))


@pytest.fixture
def scene(random_gaussians):
    return Scene({"a": Layer(random_gaussians(5)), "b": Layer(random_gaussians(3, seed=1), MOVED, notes=("read",))})


def test_changes_make_a_new_scene(scene):
    changed = scene.placed("a", MOVED).shown("b", False)
    assert scene.layers["a"].placement.is_identity and scene.layers["b"].visible
    assert changed.layers["a"].placement == MOVED and not changed.layers["b"].visible
    assert changed.layers["b"].notes == ("read",)
    assert list(changed.layers) == ["a", "b"]
    assert changed.layers["a"].content is scene.layers["a"].content


def test_a_change_and_its_opposite_are_equal_scenes(scene):
    assert scene.placed("a", MOVED) != scene
    assert scene.placed("a", MOVED).placed("a", Similarity()) == scene
    assert scene.shown("b", False).shown("b", True) == scene


def test_layers_come_and_go(scene, random_gaussians):
    layer = Layer(random_gaussians(2))
    assert list(scene.with_layer("c", layer).layers) == ["a", "b", "c"]
    assert scene.with_layer("c", layer).without("c") == scene
    assert list(scene.with_layer("a", layer).layers) == ["a", "b"]


def test_layers_cannot_be_written(scene):
    with pytest.raises(TypeError):
        scene.layers["a"] = scene.layers["b"]
    source = dict(scene.layers)
    copy = Scene(source)
    source.clear()
    assert copy == scene


def test_joined_scenes_keep_every_layer(scene):
    twice = scene.joined(scene).joined(scene)
    assert list(twice.layers) == ["a", "b", "a 2", "b 2", "a 3", "b 3"]
    assert twice.count == 3 * scene.count == 24


def test_visible_layers_have_something_to_show(scene, random_gaussians):
    empty = Layer(random_gaussians(4).take([False] * 4))
    assert list(scene.with_layer("c", empty).shown("a", False).visible_layers) == ["b"]
    assert scene.shown("a", False).count == 8


def test_a_field_is_a_layer_apart(scene):
    networks = Network((np.ones((16, 2)),)), Network((np.ones((3, 32)),))
    field = HashGrid((Level(np.ones((8, 2)), 1.0, 2),), *networks, np.array([[0, 0, 0], [1, 1, 1]]), Marching(0.1))
    both = scene.with_layer("fox", Layer(field))
    assert both.count == scene.count and both.visible_layers == scene.visible_layers
    assert list(both.visible_fields) == ["fox"] and not both.shown("fox", False).visible_fields and not scene.visible_fields
    assert both.layers["a"].splats is both.layers["a"].content and both.layers["fox"].field is field
    assert both.splat_layers == scene.splat_layers == dict(scene.layers)
    with pytest.raises(ValueError, match="found a hash-grid field"):
        _ = both.layers["fox"].splats
    with pytest.raises(ValueError, match="found a layer of Gaussians"):
        _ = both.layers["a"].field
