"""Broken and extreme splats neither crash the renderer nor show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy_renderer
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from render_cases import alone, cloud, psnr

from splatview import Camera, Gaussians, open_renderer
from splatview.gaussians import concatenate


@pytest.fixture(scope="module")
def renderer():
    return open_renderer("cpu")


POISON = [
    ("means", np.nan),
    ("means", np.inf),
    ("quats", np.nan),
    ("quats", np.inf),
    ("log_scales", np.nan),
    ("log_scales", np.inf),
    ("log_scales", -np.inf),
    ("log_scales", 1e30),
    ("opacity_logits", np.nan),
    ("sh", np.nan),
    ("sh", np.inf),
]


@pytest.mark.parametrize(("attribute", "value"), POISON)
def test_broken_splats_are_not_drawn(renderer, attribute, value):
    healthy, broken = cloud(300), cloud(40, seed=10)
    array = getattr(broken, attribute).copy()
    array.reshape(len(broken), -1)[:, 0] = value
    mixed = concatenate([replace(broken, **{attribute: array}), healthy])
    poisoned = renderer.render(*alone(mixed))
    clean = renderer.render(*alone(healthy))
    for output in ("rgb", "alpha", "depth", "median_depth"):
        assert np.isfinite(getattr(poisoned, output)).all(), output
        assert psnr(getattr(poisoned, output), getattr(clean, output)) >= 60, output


@pytest.mark.parametrize(("value", "opacity"), [(np.inf, 1), (-np.inf, 0)])
def test_an_infinite_opacity_logit_is_opaque_or_clear(renderer, value, opacity):
    splats = replace(cloud(300), opacity_logits=np.full(300, value))
    scene, camera, options = alone(splats)
    assert (splats.opacities == opacity).all()
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    assert psnr(frame.rgb, expected["rgb"]) >= 60 and frame.alpha.any() == opacity


ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    means=arrays.arrays(np.float32, (12, 3), elements=st.floats(-1e3, 1e3, width=32) | ANY_FLOAT),
    quats=arrays.arrays(np.float32, (12, 4), elements=st.floats(-1, 1, width=32) | ANY_FLOAT),
    log_scales=arrays.arrays(np.float32, (12, 3), elements=st.floats(-20, 20, width=32) | ANY_FLOAT),
    logits=arrays.arrays(np.float32, (12,), elements=st.floats(-20, 20, width=32) | ANY_FLOAT),
    sh=arrays.arrays(np.float32, (12, 4, 3), elements=st.floats(-2, 2, width=32) | ANY_FLOAT),
    eye=st.tuples(*[st.floats(-1e6, 1e6)] * 3).filter(lambda eye: np.hypot(eye[0], eye[1]) > 1e-3),
    fov_y=st.floats(1e-3, 3.1),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    antialiased=st.booleans(),
)
def test_extreme_scenes_give_finite_pictures(renderer, means, quats, log_scales, logits, sh, eye, fov_y, size, antialiased):
    splats = Gaussians(means, quats, log_scales, logits, sh)
    camera = Camera.look_at(eye, (0, 0, 0), (0, 0, 1), fov_y, *size)
    frame = renderer.render(*alone(splats, camera, antialiased=antialiased))
    for output in ("rgb", "alpha", "depth", "median_depth"):
        assert np.isfinite(getattr(frame, output)).all(), output
    assert frame.alpha.min() >= 0 and frame.alpha.max() <= 1
    assert frame.ids.min() >= -1 and frame.ids.max() < len(splats)
