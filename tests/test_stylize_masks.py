"""Laws of masks: what is redrawn, what stays, and how the one becomes the other."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from render_cases import cloud, shot
from small_fields import ball

from splatview.camera import Camera
from splatview.frame import Frame, RenderOptions
from splatview.geometry import Similarity
from splatview.render import open_renderer
from splatview.scene import Layer, Scene
from splatview.stylize.masks import Background, DepthRange, Layers, Mask, Masked, Selection

OUTPUTS = ("rgb8", "alpha", "depth", "ids", "coverage")


@dataclass
class Flat:
    """One colour; counts how often it is asked."""

    value: int
    asked: int = 0

    def style(self, frame):
        self.asked += 1
        return np.full(frame.rgb8.shape, self.value, np.uint8)


def opaque(count=300, seed=0, at=(0, 0, 0)):
    splats = replace(cloud(count, seed=seed), opacity_logits=np.full(count, 6.0))
    return Layer(splats, Similarity(translation=at))


@pytest.fixture(scope="module")
def scene():
    """Two clouds of opaque splats, an invisible one between them in the list, and a field."""
    field = Layer(ball(), Similarity(translation=(-2.8, -2.5, -0.5), scale=1.5))
    return Scene(
        {"a": opaque(at=(-0.7, 0, 0)), "unseen": replace(opaque(seed=2), visible=False), "ball": field, "b": opaque(seed=1, at=(1, 0.6, 0))}
    )


@pytest.fixture(scope="module")
def drawn(scene):
    options = RenderOptions(outputs=OUTPUTS, tinted={"b": np.ones(300, bool)}, tint=None)
    return open_renderer("cpu").render(scene, shot(120, 80, eye=(0, -6, 1)), options)


def flat_frame(height, **images):
    camera = Camera.look_at((0, -1, 0), (0, 0, 0), (0, 0, 1), 0.8, 2 * height, height)
    return Frame(camera, {"rgb8": np.full((height, 2 * height, 3), 10, np.uint8), **images})


def half_selected(height):
    coverage = np.zeros((height, 2 * height), np.float32)
    coverage[:, height:] = 1
    return flat_frame(height, coverage=coverage)


def test_the_exact_share_of_a_layer_and_that_by_numbers_agree(scene, drawn):
    exact, counted = Selection().share(drawn), Layers.named(scene, ["b"]).share(drawn)
    other = Layers.named(scene, ["a"]).share(drawn)
    clear = (drawn.alpha > 0.9) & (np.abs(exact - 0.5) > 0.3)
    assert 0.05 < counted.mean() < 0.5 and clear.mean() > 0.1
    assert np.mean((exact > 0.5)[clear] == counted[clear]) > 0.98
    assert not (counted * other).any()


def test_every_pixel_is_of_some_layer_or_of_the_background(scene, drawn):
    every = sum(Layers.named(scene, [name]).share(drawn) for name in scene.layers)
    assert every.max() == 1 and (every[drawn.alpha >= 0.5] == 1).all()
    assert not every[Background().share(drawn) == 1].any()
    field = Layers.named(scene, ["ball"])
    alone = open_renderer("cpu").render(scene.shown("a", False).shown("b", False), drawn.camera, RenderOptions(outputs=OUTPUTS))
    assert 0.005 < field.share(drawn).mean() <= (alone.alpha > 0).mean()
    assert (every == Layers.named(scene, scene.layers).share(drawn)).all()
    with pytest.raises(KeyError):
        Layers.named(scene, ["nobody"])


def test_each_place_says_what_it_is_told_from(scene, drawn):
    for place in (Selection(), Background(), DepthRange(1, 2), Layers.named(scene, ["a"])):
        images = {name: drawn.images[name] for name in (*place.needs, *(["id_layers"] if "ids" in place.needs else []))}
        enough = Frame(drawn.camera, images)
        share = place.share(enough)
        assert share.shape == (80, 120) and share.dtype == np.float32 and share.min() >= 0 and share.max() <= 1
        with pytest.raises(ValueError, match=r"RenderOptions\.outputs"):
            place.share(Frame(drawn.camera, {"rgb8": drawn.rgb8}))
    masked = Masked((Mask(Selection()), Flat(1)), (Mask(Background()), Flat(2)), (Mask(DepthRange(1)), Flat(3)))
    assert masked.needs == ("coverage", "alpha", "depth")


def test_a_range_of_depth_has_soft_ends_and_the_background_is_far():
    depth = np.tile(np.linspace(0.5, 8, 40, dtype=np.float32), (20, 1))
    alpha = np.ones_like(depth)
    alpha[:, -1] = 0
    depth[:, -1] = 0
    frame = flat_frame(20, alpha=alpha, depth=depth)
    share = DepthRange(2, 4, soft=0.25).share(frame)[0, :-1]
    z = depth[0, :-1]
    assert np.allclose(share[(z > 2.5) & (z < 3)], 1) and np.allclose(share[(z < 1.5) | (z > 5)], 0)
    assert np.allclose(share, np.interp(z, [1.5, 2.5, 3, 5], [0, 1, 1, 0]), atol=1e-5)
    assert DepthRange(2, 4).share(frame)[0, -1] == 0 and DepthRange(2).share(frame)[0, -1] == 1
    near, far = DepthRange(0, 3).share(frame), DepthRange(3).share(frame)
    assert np.allclose(near + far, 1, atol=1e-6)
    assert set(np.unique(DepthRange(2, 4, soft=0).share(frame))) <= {0, 1}
    for wrong in ((-1, 2), (3, 2), (1, 2, 1.0), (np.nan, 2)):
        with pytest.raises(ValueError, match="DepthRange"):
            DepthRange(*wrong)


@pytest.mark.parametrize("height", [90, 180, 720])
def test_a_feather_is_of_a_picture_of_720_lines(height):
    share = Mask(Selection(), feather=32).share(half_selected(height))
    wide = 32 * height / 720
    soft = ((share > 0.001) & (share < 0.999))[0]
    assert np.count_nonzero(soft) == pytest.approx(2 * wide, abs=2)
    assert share[0, height - 1] + share[0, height] == pytest.approx(1, abs=1e-5) and (np.diff(share[0]) >= -1e-6).all()
    assert share.mean() == pytest.approx(0.5, abs=1e-5)
    inverse = Mask(Selection(), feather=32, inverted=True).share(half_selected(height))
    assert np.allclose(share + inverse, 1)
    with pytest.raises(ValueError, match="feather"):
        Mask(Selection(), feather=-1)


def test_what_is_outside_stays_as_it_is_and_what_is_inside_is_the_style():
    frame = half_selected(40)
    shown = Masked((Mask(Selection()), Flat(200))).style(frame)
    assert (shown[:, :40] == 10).all() and (shown[:, 40:] == 200).all()
    rest = Masked((Mask(Selection(), inverted=True), Flat(200))).style(frame)
    assert (rest[:, :40] == 200).all() and (rest[:, 40:] == 10).all()
    soft = Masked((Mask(Selection(), feather=90), Flat(110))).style(frame)
    assert np.abs(soft - (10 + 100 * Mask(Selection(), feather=90).share(frame)[..., None])).max() <= 0.51


def test_layers_have_styles_of_their_own(scene, drawn):
    first, second, behind = Flat(50), Flat(150), Flat(250)
    a, b = Layers.named(scene, ["a"]), Layers.named(scene, ["b"])
    shown = Masked((Mask(Background()), behind), (Mask(a), first), (Mask(b), second)).style(drawn)
    assert (shown[a.share(drawn) == 1] == 50).all() and (shown[b.share(drawn) == 1] == 150).all()
    assert (shown[drawn.alpha == 0] == 250).all()
    over = Masked((Mask(a), first), (Mask(a), second)).style(drawn)
    assert (over[a.share(drawn) == 1] == 150).all()


def test_nobody_is_asked_for_what_is_not_seen():
    frame, stylizer = flat_frame(20, coverage=np.zeros((20, 40), np.float32)), Flat(200)
    assert (Masked((Mask(Selection()), stylizer)).style(frame) == 10).all() and stylizer.asked == 0
    assert (Masked().style(frame) == 10).all()
