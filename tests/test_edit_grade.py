"""Grading and painting: what every view sees of a graded splat is the graded colour of what it saw before."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from splatview import harmonics
from splatview.edit.grade import LOGIT_LIMIT, Grading, Painting, graded, painted
from splatview.geometry import normalised

FULL = Grading(0.7, (1.2, 0.9, 0.4), 0.3, 0.6, 1.4, 0.05, 0.8, 35.0, 0.6)
GRADINGS = [
    Grading(exposure=-1.3),
    Grading(tint=(0.2, 1.0, 3.0)),
    Grading(temperature=-0.4),
    Grading(saturation=0.0),
    Grading(saturation=1.8),
    Grading(contrast=0.3),
    Grading(black_point=0.2, white_point=0.7),
    Grading(hue_shift=77.0),
    FULL,
]
AT_ENDS = np.array([-np.inf, -1e30, -800, -100, -16, -3, 0, 3, 16, 40, 100, 1e30, np.inf], np.float32)
gradings = st.builds(
    Grading,
    exposure=st.floats(-3, 3),
    tint=st.tuples(*[st.floats(0, 3)] * 3),
    temperature=st.floats(-1, 1),
    saturation=st.floats(0, 3),
    contrast=st.floats(0, 3),
    black_point=st.floats(-0.5, 0.3),
    white_point=st.floats(0.5, 2),
    hue_shift=st.floats(-360, 360),
    opacity=st.floats(0, 3),
)


def seen(sh, views):
    """Colours [N, 3] of `sh` [N, K, 3] along `views` [N, 3], as the renderer has them before it clamps."""
    at = harmonics.basis(normalised(views), harmonics.degree_of(sh.shape[1]))
    return 0.5 + np.einsum("nk,nkc->nc", at, sh.astype(np.float64))


def mapped(colours, grading):
    matrix, offset = grading.linear
    return colours @ matrix.T + offset


def ones(splats):
    return np.ones(len(splats), np.bool_)


def displayed(colour):
    """One splat of degree 0 with that displayed colour."""
    return ((np.asarray(colour, np.float64) - 0.5) / harmonics.C0).astype(np.float32)[None, None, :]


def shown_after(colour, **grading):
    return seen(graded(displayed(colour), np.zeros(1, np.float32), np.ones(1, np.bool_), Grading(**grading))[0], np.ones((1, 3)))[0]


@pytest.mark.parametrize("grading", GRADINGS)
@pytest.mark.parametrize("degree", range(5))
def test_every_view_sees_the_graded_colour(random_gaussians, degree, grading):
    splats = random_gaussians(300, degree)
    views = np.random.default_rng(1).normal(size=(300, 3))
    sh, _ = graded(splats.sh, splats.opacity_logits, ones(splats), grading)
    np.testing.assert_allclose(seen(sh, views), mapped(seen(splats.sh, views), grading), atol=2e-5)
    assert sh.dtype == np.float32 and sh.shape == splats.sh.shape


@given(gradings, st.integers(0, 4))
def test_every_view_sees_the_mixture_where_the_edge_is_soft(random_gaussians, grading, degree):
    splats = random_gaussians(60, degree)
    rng = np.random.default_rng(2)
    weights, views = rng.random(60).astype(np.float32), rng.normal(size=(60, 3))
    sh, logits = graded(splats.sh, splats.opacity_logits, weights, grading)
    before = seen(splats.sh, views)
    after = mapped(before, grading)
    np.testing.assert_allclose(seen(sh, views), before + weights[:, None] * (after - before), atol=1e-5 * (1 + np.abs(after).max()))
    want = np.minimum(expit(splats.opacity_logits.astype(np.float64)) * (1 + weights * (grading.opacity - 1.0)), 1)
    np.testing.assert_allclose(expit(logits.astype(np.float64)), want, atol=1e-6)


@pytest.mark.parametrize("weights", [np.ones(9, np.bool_), np.zeros(9, np.bool_), np.full(9, 0.3, np.float32)])
def test_no_grade_is_exactly_nothing(random_gaussians, weights):
    splats = random_gaussians(9)
    matrix, offset = Grading().linear
    np.testing.assert_array_equal(matrix, np.eye(3))
    np.testing.assert_array_equal(offset, np.zeros(3))
    assert Grading().is_identity and not any(grading.is_identity for grading in GRADINGS)
    sh, logits = graded(splats.sh, splats.opacity_logits, weights, Grading())
    assert sh is splats.sh and logits is splats.opacity_logits


def test_nobody_chosen_and_parts_that_stay_are_the_same_arrays(random_gaussians):
    splats = random_gaussians(9)
    none = np.zeros(9, np.bool_)
    for sh, logits in (
        graded(splats.sh, splats.opacity_logits, none, FULL),
        painted(splats.sh, splats.opacity_logits, none, Painting((1, 0, 0))),
        painted(splats.sh, splats.opacity_logits, ~none, Painting((1, 0, 0), 0.0, 0.5)),
    ):
        assert sh is splats.sh and logits is splats.opacity_logits
    assert graded(splats.sh, splats.opacity_logits, ~none, Grading(opacity=0.5))[0] is splats.sh
    assert graded(splats.sh, splats.opacity_logits, ~none, Grading(exposure=0.5))[1] is splats.opacity_logits
    assert painted(splats.sh, splats.opacity_logits, ~none, Painting((1, 0, 0)))[1] is splats.opacity_logits


@pytest.mark.parametrize("change", [lambda *of: graded(*of, FULL), lambda *of: painted(*of, Painting((0.1, 0.9, 0.3), 0.7, 0.4))])
def test_a_row_depends_on_nothing_but_itself(random_gaussians, change):
    splats = random_gaussians(10_000, 2)  # several blocks: without, with some and with all of their rows chosen
    rng = np.random.default_rng(3)
    weights = np.where(rng.random(10_000) < 0.2, rng.random(10_000), 0).astype(np.float32)
    weights[4096:8192] = 1
    chosen = weights > 0
    sh, logits = change(splats.sh, splats.opacity_logits, weights)
    np.testing.assert_array_equal(sh[~chosen].view(np.uint32), splats.sh[~chosen].view(np.uint32))
    np.testing.assert_array_equal(logits[~chosen].view(np.uint32), splats.opacity_logits[~chosen].view(np.uint32))
    assert (sh[chosen] != splats.sh[chosen]).any((1, 2)).all()
    for alone, whole in zip(change(splats.sh[chosen], splats.opacity_logits[chosen], weights[chosen]), (sh, logits), strict=True):
        np.testing.assert_array_equal(alone, whole[chosen])
    assert splats.sh.flags.writeable is False


def test_a_mask_is_weights_of_nought_and_one(random_gaussians):
    splats = random_gaussians(50)
    mask = np.arange(50) % 3 == 0
    for got, want in zip(
        graded(splats.sh, splats.opacity_logits, mask, FULL),
        graded(splats.sh, splats.opacity_logits, mask.astype(np.float32), FULL),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)


def test_tints_and_exposures_compose_in_any_order(random_gaussians):
    splats = random_gaussians(100)
    first, second, both = Grading(tint=(0.5, 1.2, 2.0)), Grading(exposure=1.5), Grading(exposure=1.5, tint=(0.5, 1.2, 2.0))

    def after(*steps):
        arrays = splats.sh, splats.opacity_logits
        for step in steps:
            arrays = graded(*arrays, ones(splats), step)
        return arrays[0]

    np.testing.assert_allclose(after(first, second), after(both), atol=1e-5)
    np.testing.assert_allclose(after(second, first), after(both), atol=1e-5)
    np.testing.assert_allclose(after(second, Grading(exposure=-1.5)), splats.sh, atol=1e-5)


def test_hues_turn_in_a_circle_about_grey():
    colour = np.array([0.7, 0.2, 0.4])
    np.testing.assert_allclose(shown_after(colour, hue_shift=120), colour[[2, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(shown_after(colour, hue_shift=360), colour, atol=1e-6)
    np.testing.assert_allclose(shown_after([0.3, 0.3, 0.3], hue_shift=50), [0.3, 0.3, 0.3], atol=1e-6)
    turn, back = Grading(hue_shift=50).linear[0], Grading(hue_shift=-50).linear[0]
    np.testing.assert_allclose(turn @ back, np.eye(3), atol=1e-12)


def test_what_the_numbers_of_a_grading_mean():
    colour = np.array([0.7, 0.2, 0.4])
    np.testing.assert_allclose(shown_after(colour, saturation=0), np.full(3, colour @ [0.299, 0.587, 0.114]), atol=1e-6)
    np.testing.assert_allclose(shown_after(colour, exposure=1), 2 * colour, atol=1e-6)
    np.testing.assert_allclose(shown_after(colour, tint=(1, 0, 2)), colour * [1, 0, 2], atol=1e-6)
    np.testing.assert_allclose(shown_after(colour, temperature=0.25), colour * [1.25, 1, 0.75], atol=1e-6)
    np.testing.assert_allclose(shown_after(colour, contrast=0), np.full(3, 0.5), atol=1e-6)
    np.testing.assert_allclose(shown_after([0.5, 0.5, 0.5], contrast=3), np.full(3, 0.5), atol=1e-6)
    np.testing.assert_allclose(shown_after([0.2, 0.45, 0.7], black_point=0.2, white_point=0.7), [0, 0.5, 1], atol=1e-6)


@pytest.mark.parametrize("factor", [0, 0.3, 0.999, 1.001, 3, 100])
def test_opacity_is_multiplied_and_never_ends_at_infinity(factor):
    sh, every = np.zeros((len(AT_ENDS), 1, 3), np.float32), np.ones(len(AT_ENDS), np.bool_)
    logits = graded(sh, AT_ENDS, every, Grading(opacity=factor))[1]
    before = AT_ENDS.astype(np.float64)
    np.testing.assert_allclose(
        expit(logits.astype(np.float64)), np.minimum(factor * expit(before), 1), atol=1.2e-7 + 0.3 * np.exp(-LOGIT_LIMIT)
    )
    finite = np.isfinite(AT_ENDS)
    assert np.isfinite(logits[finite]).all() and (np.diff(logits) >= 0).all()
    assert (logits <= AT_ENDS)[1:].all() if factor < 1 else (logits >= AT_ENDS).all()
    assert logits[0] == -np.inf


def test_half_the_opacity_twice_is_the_opacity():
    logits = np.linspace(-12, -1, 50).astype(np.float32)
    sh, every = np.zeros((50, 1, 3), np.float32), np.ones(50, np.bool_)
    half = graded(sh, logits, every, Grading(opacity=0.5))[1]
    np.testing.assert_allclose(graded(sh, half, every, Grading(opacity=2))[1], logits, atol=1e-5)


@pytest.mark.parametrize("degree", range(5))
def test_every_view_sees_paint_as_thick_as_the_brush(random_gaussians, degree):
    splats = random_gaussians(300, degree)
    rng = np.random.default_rng(4)
    weights, views = rng.random(300).astype(np.float32), rng.normal(size=(300, 3))
    colour = (0.9, 0.1, 0.3)
    sh, logits = painted(splats.sh, splats.opacity_logits, weights, Painting(colour, 0.8, 0.25))
    cover = 0.8 * weights[:, None].astype(np.float64)
    np.testing.assert_allclose(seen(sh, views), (1 - cover) * seen(splats.sh, views) + cover * colour, atol=1e-5)
    opacity = expit(splats.opacity_logits.astype(np.float64))
    np.testing.assert_allclose(expit(logits.astype(np.float64)), opacity + cover[:, 0] * (0.25 - opacity), atol=1e-6)
    full, _ = painted(splats.sh, splats.opacity_logits, ones(splats), Painting(colour))
    np.testing.assert_allclose(seen(full, views), np.broadcast_to(colour, (300, 3)), atol=1e-6)
    assert not full[:, 1:].any()


@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_painted_opacity_reaches_its_target_and_no_infinity(target):
    sh, every = np.zeros((len(AT_ENDS), 1, 3), np.float32), np.ones(len(AT_ENDS), np.bool_)
    logits = painted(sh, AT_ENDS, every, Painting((0, 0, 0), 1.0, target))[1]
    np.testing.assert_allclose(expit(logits.astype(np.float64)), target, atol=2e-7)
    assert np.isfinite(logits[np.isfinite(AT_ENDS)]).all()


def test_broken_splats_harm_nobody(random_gaussians):
    splats = random_gaussians(20)
    sh, logits = splats.sh.copy(), splats.opacity_logits.copy()
    sh[3], sh[5, 0, 1], sh[7], logits[3] = np.nan, np.inf, 3e38, np.nan
    whole = np.setdiff1d(np.arange(20), [3, 5, 7])
    for change in (lambda *of: graded(*of, FULL), lambda *of: painted(*of, Painting((1, 1, 1), 0.5, 0.5))):
        got = change(sh, logits, ones(splats))
        want = change(splats.sh, splats.opacity_logits, ones(splats))
        np.testing.assert_array_equal(got[0][whole], want[0][whole])
        np.testing.assert_array_equal(got[1][whole], want[1][whole])
        assert not np.isfinite(got[0][[3, 5]]).all() and np.isnan(got[1][3])


def test_no_splats_at_all():
    sh, logits = np.zeros((0, 4, 3), np.float32), np.zeros(0, np.float32)
    assert graded(sh, logits, np.zeros(0, np.bool_), FULL)[0] is sh


@pytest.mark.parametrize("name", [field.name for field in fields(Grading) if field.name != "tint"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gradings_are_finite(name, value):
    with pytest.raises(ValueError, match=rf"Grading\.{name}: expected a number"):
        Grading(**{name: value})


@pytest.mark.parametrize(
    "wrong", [{"tint": (1, 1)}, {"tint": (1, -1, 1)}, {"temperature": 2}, {"opacity": -1}, {"black_point": 0.5, "white_point": 0.5}]
)
def test_gradings_without_a_meaning(wrong):
    with pytest.raises(ValueError, match=r"^Grading.*expected [^\n]*, got [^\n]*$"):
        Grading(**wrong)


@pytest.mark.parametrize("wrong", [{"colour": (0, 0, 2)}, {"colour": (0, 0)}, {"amount": 1.5}, {"opacity": np.nan}])
def test_paintings_without_a_meaning(wrong):
    with pytest.raises(ValueError, match=r"^Painting.*expected [^\n]*, got [^\n]*$"):
        Painting(**{"colour": (0, 0, 0), **wrong})


@pytest.mark.parametrize("weights", [np.ones(3), np.full(4, 1.5), np.full(4, -0.1), np.full(4, np.nan)])
def test_weights_without_a_meaning(random_gaussians, weights):
    splats = random_gaussians(4)
    with pytest.raises(ValueError, match="weights: expected"):
        graded(splats.sh, splats.opacity_logits, weights, FULL)
