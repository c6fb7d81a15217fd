"""Fields made into splats: that these lie where the field is seen, look like it, and are the same again."""

from dataclasses import replace

import numpy as np
import pytest
from small_fields import ball, painted, slab

from splatview import RenderOptions, Scene, open_renderer
from splatview.edit.quality import orbit, psnr
from splatview.framing import frame_scene
from splatview.geometry import Similarity, matrix_from_quat
from splatview.render.splatted import Effort, splatted
from splatview.scene import Layer
from splatview.volumes import Box, Cut

pytestmark = pytest.mark.xdist_group("splatted")  # they share what one of them makes
QUICK = Effort(views=16, width=72, height=48, rounds=12)
STANDING = Similarity((0.8, 0.3, -0.4, 0.2), (3, -5, 2), 7.0)


def likeness(layer, splats):
    """dB against the field, over an orbit."""
    draw, options = open_renderer("cpu"), RenderOptions(outputs=("rgb",), background=(0.2, 0.3, 0.4))
    field, made = Scene({"": layer}), Scene({"": replace(layer, content=splats)})
    views = orbit(frame_scene(field), 6, 96, 64)
    return np.mean([psnr(draw.render(made, view, options).rgb, draw.render(field, view, options).rgb) for view in views])


@pytest.fixture(scope="module")
def made():
    return splatted(Layer(ball()), 1500, effort=QUICK)


def test_splats_look_like_the_field_and_more_of_them_more(made):
    few = splatted(Layer(ball()), 60, effort=QUICK)
    assert len(few) == 60 and len(made) == 1500
    assert likeness(Layer(ball()), made) > max(31, likeness(Layer(ball()), few) + 6)


def test_splats_lie_where_the_field_is_seen_and_along_its_surface(made):
    outwards = made.means - 0.5
    distance = np.linalg.norm(outwards, axis=1)
    off = np.abs(distance - 0.3)
    assert np.quantile(off, 0.99) < 0.08 and np.median(off) < 0.015
    axes = np.take_along_axis(matrix_from_quat(made.quats), np.argmin(made.log_scales, 1)[:, None, None], 2)[..., 0]
    assert np.median(np.abs((axes * outwards).sum(1)) / distance) > 0.8


def test_a_colour_that_is_the_same_from_everywhere_stays(made):
    assert np.median(np.abs(made.colours - [0.9, 0.1, 0.1])) < 0.03
    assert np.abs(made.sh[:, 1:]).mean() < 0.02


def test_a_haze_is_no_wall():
    haze = Layer(slab(density=4.0))  # 55 % of the light passes it
    assert likeness(haze, splatted(haze, 1500, effort=QUICK)) > 25


def test_the_same_seed_gives_the_same_whatever_threads_do(monkeypatch):
    brief = replace(QUICK, rounds=2)
    once = splatted(Layer(ball()), 300, effort=brief)
    monkeypatch.setenv("SPLATVIEW_THREADS", "3")
    again = splatted(Layer(ball()), 300, effort=brief)
    assert all(
        np.array_equal(getattr(once, name), getattr(again, name)) for name in ("means", "quats", "log_scales", "opacity_logits", "sh")
    )
    assert not np.array_equal(splatted(Layer(ball()), 300, seed=1, effort=brief).means, once.means)


def test_splats_are_in_the_frame_of_a_field_that_stands_elsewhere():
    layer = Layer(ball((0.2, 0.4, 0.9)), STANDING)
    splats = splatted(layer, 600, effort=QUICK)
    assert np.abs(splats.means - 0.5).max() < 0.4
    assert likeness(layer, splats) > 28


@pytest.mark.parametrize("field", [painted(np.full((32, 32, 32), -16.0), (0.5, 0.5, 0.5)), ball(density=1e-4)])
def test_a_field_that_shows_nothing_is_one_clear_error(field):
    with pytest.raises(ValueError, match="nothing is seen of the field"):
        splatted(Layer(field), 100, effort=QUICK)


def test_what_it_tells_its_progress_to_may_end_it():
    shares = []

    def tell(share, text):
        shares.append(share)
        if text.startswith("correcting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        splatted(Layer(ball()), 100, effort=QUICK, progress=tell)
    assert shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 1
    with pytest.raises(ValueError, match="1 Gaussian or more"):
        splatted(Layer(ball()), 0)


def test_what_is_cropped_off_becomes_no_splats_and_the_exposure_is_kept():
    half = Layer(ball((0.5, 0.5, 0.5)), cuts=(Cut(Box((0.5, 0.5, 0.75), (1, 1, 0.5))),), exposure=-2.0)
    made = splatted(half, 800, effort=QUICK)
    assert np.quantile(made.means[:, 2], 0.02) > 0.48, "the lower half is cut off"
    dark = half.field.developed(np.full((1, 3), 0.5, np.float32), np.ones(1, np.float32), -2.0)[0]
    assert np.median(made.colours, axis=0) == pytest.approx(dark, abs=0.06)
