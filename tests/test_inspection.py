"""What `inspect` finds; its counts and the advice it gives are tested with the command line, where the advice is followed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from splatview import Gaussians
from splatview.geometry import Similarity
from splatview.inspection import finite_mask, inspect

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
