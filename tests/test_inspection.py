"""What `inspect` finds; its counts and the advice it gives are tested with the command line, where the advice is followed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from splatview import Camera, Gaussians, Scene, open_renderer
from splatview.geometry import Similarity, matrix_from_quat
from splatview.inspection import finite_mask, inspect, odd_quats, problems, with_unit_quats
from splatview.scene import Layer

ANY = st.floats(width=32)


@given(
    arrays.arrays(np.float32, (7, 3), elements=ANY),
    arrays.arrays(np.float32, (7, 4), elements=ANY),
    arrays.arrays(np.float32, (7, 3), elements=ANY),
    arrays.arrays(np.float32, (7,), elements=ANY),
    arrays.arrays(np.float32, (7, 4, 3), elements=ANY),
)
def test_whatever_a_file_holds_the_report_is_strict_json(means, quats, log_scales, logits, sh):
    splats = Gaussians(means, quats, log_scales, logits, sh)
    report = inspect(splats)
    json.dumps(asdict(report), allow_nan=False)
    assert bool(report.ranges) == finite_mask(splats).any()
    assert all(values.low <= values.median <= values.high for values in report.ranges.values())
    assert all(0 < problem.count <= 7 for problem in report.problems)


def test_the_median_of_two_huge_numbers_lies_between_them():
    huge = np.full((2, 4, 3), 3e38, np.float32)
    splats = Gaussians(np.zeros((2, 3)), np.tile([1.0, 0, 0, 0], (2, 1)), np.zeros((2, 3)), np.zeros(2), huge)
    assert any(values.low == values.median == values.high == np.float32(3e38) for values in inspect(splats).ranges.values())


def test_bounds_and_scales_are_those_of_the_world(random_gaussians):
    splats, placement = random_gaussians(300), Similarity((0.4, 0.1, -0.8, 0.3), (5, -6, 7), 2.5)
    placed, baked = inspect(splats, placement), inspect(splats.transformed(placement))
    assert placed.bounds and placed.robust_bounds and baked.bounds and baked.robust_bounds
    assert placed.bounds.low == pytest.approx(baked.bounds.low, abs=1e-5)
    assert placed.robust_bounds.high == pytest.approx(baked.robust_bounds.high, abs=1e-5)
    for name in ("smallest scale", "largest scale", "x", "y", "z", "opacity"):
        assert asdict(placed.ranges[name]) == pytest.approx(asdict(baked.ranges[name]), rel=1e-4, abs=1e-5)


def test_a_few_strays_do_not_move_the_robust_bounds(random_gaussians):
    splats = random_gaussians(1000)
    means = splats.means.copy()
    means[:10] = 1e6
    before, after = inspect(splats).robust_bounds, inspect(replace(splats, means=means)).robust_bounds
    assert before and after
    assert np.allclose([before.low, before.high], [after.low, after.high], atol=2)


def test_an_empty_file_is_a_problem(random_gaussians):
    report = inspect(random_gaussians(0))
    assert report.bounds is None and not report.ranges
    assert [problem.what for problem in report.problems] == ["no Gaussians"]


def sick(random_gaussians, count=400):
    """Gaussians with one of each problem, and which has it."""
    splats = random_gaussians(count)
    means, quats, log_scales = splats.means.copy(), splats.quats.copy(), np.full((count, 3), -4.0, np.float32)
    logits, sh = np.full(count, 2.0, np.float32), splats.sh.copy()
    means[3], quats[5], quats[7] = 1e5, np.nan, 0
    log_scales[11], logits[13], sh[17, 2, 1] = 9, -20, np.inf
    return Gaussians(means, quats, log_scales, logits, sh), {
        "broken": {5, 17},
        "unturned": {7},
        "giant": {11},
        "stray": {3},
        "invisible": {13},
    }


def test_every_problem_comes_with_those_that_have_it(random_gaussians):
    splats, wanted = sick(random_gaussians)
    found = {}
    for problem, mask in problems(splats):
        assert problem.count == mask.sum() and mask.shape == (len(splats),)
        found.setdefault(problem.kind, set()).update(np.flatnonzero(mask).tolist())
    assert found == wanted
    assert inspect(splats).problems == tuple(problem for problem, _ in problems(splats))


def test_without_those_that_have_it_a_problem_is_gone(random_gaussians):
    splats, _ = sick(random_gaussians)
    for problem, mask in problems(splats):
        assert problem not in [left for left, _ in problems(splats.take(~mask))]


def test_a_placement_moves_the_thresholds_with_the_scene(random_gaussians):
    splats, wanted = sick(random_gaussians)
    placed = problems(splats, Similarity((0.4, 0.1, -0.8, 0.3), (5, -6, 7), 2.5))
    assert {problem.kind: set(np.flatnonzero(mask)) for problem, mask in placed if problem.kind in ("giant", "stray")} == {
        kind: wanted[kind] for kind in ("giant", "stray")
    }


def test_unit_quaternions_draw_the_same_picture(random_gaussians):
    splats, _ = sick(random_gaussians)
    tidy = with_unit_quats(splats)
    assert odd_quats(splats).any() and not odd_quats(tidy).any()
    assert np.array_equal(odd_quats(splats)[[5, 7]], [False, True])  # broken ones stay as they are, zero ones do not
    assert np.isnan(tidy.quats[5]).all() and tidy.quats[7].tolist() == [1, 0, 0, 0]
    good = finite_mask(splats)
    assert np.allclose(matrix_from_quat(splats.quats[good]), matrix_from_quat(tidy.quats[good]), atol=1e-5)
    camera = Camera.look_at((0, -20, 0), (0, 0, 0), (0, 0, 1), 0.8, 96, 64)
    before, after = (open_renderer("cpu").render(Scene({"": Layer(one.take(good))}), camera).rgb for one in (splats, tidy))
    assert np.abs(before - after).max() < 1e-3 and before.max() > 0.1
