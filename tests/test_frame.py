"""What is asked of a renderer, compared by content; and what it gives back."""

import numpy as np
import pytest

from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Masks, RenderOptions

CAMERA = Camera.look_at((0, 0, -1), (0, 0, 0), (0, -1, 0), 1.0, 2, 1)
MASK = np.array([True, False])


def test_equal_options_are_equal():
    def make():
        return RenderOptions(background=(1, 0, 0), sh_degree=2, hidden=Masks({"a": MASK}), outputs=("rgb", "ids"))

    assert make() == make() and hash(make()) == hash(make())


@pytest.mark.parametrize(
    "change",
    [
        {"background": (0, 0, 1)},
        {"antialiased": True},
        {"sh_degree": 0},
        {"near": 0.1},
        {"far": 5},
        {"splat_scale": 2},
        {"outputs": ("rgb",)},
        {"hidden": Masks({"a": MASK})},
        {"tinted": Masks({"a": MASK})},
        {"tint": (0, 0, 0)},
        {"tint": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_option_matters(change):
    assert RenderOptions(**change) != RenderOptions()


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": ("rgb", "normals")},
        {"near": 0},
        {"near": 2, "far": 1},
        {"far": np.nan},
        {"splat_scale": 0},
        {"splat_scale": np.inf},
        {"sh_degree": -1},
    ],
    ids=str,
)
def test_bad_options(change):
    with pytest.raises(ValueError, match="RenderOptions"):
        RenderOptions(**change)


def test_masks_are_compared_by_the_array_they_hold():
    assert Masks({"a": MASK}) == Masks({"a": MASK}) != Masks({"a": MASK.copy()})
    assert Masks({"a": MASK}) != Masks({"b": MASK}) and Masks() == Masks({})
    masks = Masks({"a": MASK})
    assert dict(masks) == {"a": MASK} and len(masks) == 1
    with pytest.raises(ValueError, match="read-only"):
        masks["a"][0] = False


def test_rgb8_is_rounded_and_clamped():
    rgb = np.array([[[-1, 0, 0.5], [1, 2, 0.25]]], np.float32)
    np.testing.assert_array_equal(Frame(CAMERA, {"rgb": rgb}).rgb8, [[[0, 0, 128], [255, 255, 64]]])
    drawn = np.full((1, 2, 3), 9, np.uint8)
    assert Frame(CAMERA, {"rgb": rgb, "rgb8": drawn}).rgb8 is drawn


@pytest.mark.parametrize("name", ["rgb", "rgb8", "alpha", "depth", "median_depth", "ids", "id_layers", "coverage"])
def test_what_was_not_drawn_is_said(name):
    picture = np.zeros((1, 2))
    frame = Frame(CAMERA, {"other": picture})
    with pytest.raises(ValueError, match="was not drawn: expected it among"):
        getattr(frame, name)
    assert name == "rgb8" or getattr(Frame(CAMERA, {name: picture}), name) is picture


def test_a_frame_cannot_be_changed():
    frame = Frame(CAMERA, {}, {"blend": 1.0}, {"drawn": 2})
    for mapping in (frame.images, frame.timings, frame.counts):
        with pytest.raises(TypeError):
            mapping["blend"] = 2


def test_an_interrupt_stays_set():
    interrupt = Interrupt()
    assert not interrupt.is_set
    interrupt.set()
    interrupt.set()
    assert interrupt.is_set


def test_plain_masks_and_lists_will_do():
    options = RenderOptions(hidden={"a": [True, False]}, outputs=["rgb", "ids"])
    assert isinstance(options.hidden, Masks) and options.hidden["a"].tolist() == [True, False]
    assert hash(options) == hash(RenderOptions(hidden=options.hidden, outputs=("rgb", "ids")))
    with pytest.raises(ValueError, match=r"mask of 'a': expected an array of shape \[N\]"):
        RenderOptions(hidden={"a": [[True]]})
