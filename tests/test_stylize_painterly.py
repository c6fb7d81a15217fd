"""Painterly filters: flat paint stays flat, edges stay where they are, strokes run along them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stylized_frames import clouds, frame

from splatview.stylize.filters.bands import banded
from splatview.stylize.filters.flow import flow, smeared
from splatview.stylize.filters.painterly import Kuwahara, Oil, Watercolour, flattened, thickened
from splatview.stylize.filters.tones import blurred, vivid


def gaussian(reach):
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * (reach / 2) ** 2))
    return np.outer(weights, weights) / (weights.sum() ** 2)


def directly_flattened(rgb8, reach):
    """What the filter says, in float64 and one window at a time: the mean colours [8, H, W, 3] and the variances of the luma."""
    weights = gaussian(reach)
    height, width = rgb8.shape[:2]
    luma = np.round(rgb8 @ [0.299, 0.587, 0.114])
    padded = np.pad(np.dstack([rgb8, luma]).astype(float), ((2 * reach,) * 2, (2 * reach,) * 2, (0, 0)), "reflect")
    diagonal = round(0.7 * reach)
    offsets = [(0, reach), (reach, 0), (diagonal, diagonal), (diagonal, -diagonal)]
    means, variances = [], []
    for down, across in [*offsets, *((-a, -b) for a, b in offsets)]:
        mean, square = np.zeros((height, width, 4)), np.zeros((height, width))
        for i, j in np.ndindex(weights.shape):
            here = padded[reach + down + i : reach + down + i + height, reach + across + j : reach + across + j + width]
            mean += weights[i, j] * here
            square += weights[i, j] * here[..., 3] ** 2
        means.append(mean[..., :3])
        variances.append(square - mean[..., 3] ** 2)
    return np.array(means), np.array(variances)


@pytest.mark.parametrize("reach", [1, 2, 4])
@pytest.mark.parametrize("size", [(40, 60), (9, 4)])
def test_kuwahara_takes_the_mean_of_the_calmest_window(reach, size):
    rgb8 = np.random.default_rng(reach).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = flattened(rgb8, reach).astype(float)
    means, variances = directly_flattened(rgb8, reach)
    away = np.abs(means - found).max(-1)
    away[variances > variances.min(0) + 10] = np.inf  # as calm as any other, but for rounding of the luma
    assert away.min(0).max() < 2.5  # the means are of 8 bits, and so are the weights


@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 5), (5, 1), (130, 1100)]), st.integers(1, 5))
def test_bands_show_no_seams(seed, size, reach):
    rgb8 = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    whole = blurred(rgb8, reach)
    assert (banded(lambda rows: blurred(rows, reach), round(2.5 * reach), rgb8) == whole).all()


@pytest.mark.parametrize("colour", [(0, 0, 0), (17, 130, 250), (255, 255, 255)])
@pytest.mark.parametrize("painter", [Kuwahara(colour=1), Oil(colour=1, relief=0), Oil(colour=1), Watercolour(edges=0, paper=0.1)])
def test_one_colour_stays_nearly_that_colour(painter, colour):
    one = frame(np.full((90, 160, 3), colour), depth=3)
    styled = painter.style(one).astype(int)
    assert np.abs(styled.mean((0, 1)) - colour).max() < 20
    assert isinstance(painter, Watercolour) or getattr(painter, "relief", 0) or (styled == colour).all()


@pytest.mark.parametrize("turned", [False, True])
def test_kuwahara_keeps_an_edge_as_sharp_as_it_is(turned):
    rgb8 = np.zeros((60, 80, 3), np.uint8)
    rgb8[:, 40:] = (200, 180, 90)
    rgb8 = rgb8.transpose(1, 0, 2).copy() if turned else rgb8
    assert (flattened(rgb8, 4) == rgb8).all()


def test_kuwahara_takes_noise_away():
    rng = np.random.default_rng(0)
    noisy = np.clip(128 + rng.normal(0, 20, (80, 80, 3)), 0, 255).astype(np.uint8)
    assert flattened(noisy, 4).std() < 0.4 * noisy.std()


@pytest.mark.parametrize("degrees", [0, 20, 45, 90, 110, 170])
def test_the_flow_runs_along_stripes(degrees):
    angle = np.radians(degrees)
    y, x = np.mgrid[:60, :60]
    stripes = 128 + 100 * np.sin(0.5 * (y * np.cos(angle) - x * np.sin(angle)))
    along = flow(stripes.astype(np.uint8), 2)[15:-15, 15:-15] * (np.pi / 256)
    assert np.abs(np.cos(along - angle)).min() > 0.99


@pytest.mark.parametrize("sigma", [3, 7.5])
def test_smearing_blurs_along_the_flow_and_not_across(sigma):
    point = np.zeros((21, 161), np.float32)
    point[10, 80] = 1
    spread = smeared(point, np.zeros(point.shape, np.uint8), sigma)
    assert spread.sum() == pytest.approx(1, abs=1e-3) and spread[10].sum() == pytest.approx(1, abs=1e-3)
    assert (spread[10] * (np.arange(161) - 80) ** 2).sum() == pytest.approx(sigma**2, rel=0.12)


def test_oil_smears_along_an_edge_and_leaves_the_edge():
    rng = np.random.default_rng(0)
    rgb8 = np.clip(np.where(np.arange(160)[:, None, None] < 80, 60, 190) + rng.normal(0, 15, (160, 90, 3)), 0, 255).astype(np.uint8)
    styled = Oil(length=20, relief=0, colour=1).style(frame(rgb8)).astype(float)
    assert styled[85:, 5:-5].mean() - styled[:75, 5:-5].mean() == pytest.approx(130, abs=5)
    beside = styled[66:78, 10:-10]
    assert np.abs(np.diff(beside, axis=1)).mean() < 0.7 * np.abs(np.diff(beside, axis=0)).mean()


def test_paint_darkens_where_it_is_thick_and_never_leaves_the_range():
    rgb8 = clouds(40, 60)
    more, less = (thickened(rgb8, np.full((40, 60), share, np.float32)) for share in (0.9, -0.9))
    assert (more <= rgb8).all() and (rgb8 <= less).all()
    ends = np.array([0, 255], np.uint8)[:, None, None] * np.ones((2, 3, 3), np.uint8)
    assert (thickened(ends, np.full((2, 3), 0.9, np.float32)) == ends).all()  # black and white paper have no room for it


def test_watercolour_leaves_paper_where_the_scene_is_empty():
    alpha = np.zeros((90, 160), np.float32)
    alpha[:, 80:] = 1
    rgb8 = np.where(alpha[..., None] > 0, (90, 40, 40), 0)
    styled = Watercolour().style(frame(rgb8, depth=3 * alpha, alpha=alpha))
    assert styled[:, :60].min() > 215 and styled[:, 100:].max() < 200


def test_no_colour_is_grey_and_one_changes_nothing():
    rgb8 = clouds(30, 40)
    assert np.ptp(vivid(rgb8, 0).astype(int), axis=-1).max() <= 1
    assert (vivid(rgb8, 1) == rgb8).all()
