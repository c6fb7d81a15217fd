"""What pulls at Gaussians: the native adjoint against differences of a picture in float64."""

import numpy as np
import pytest

from splatview import Camera, Gaussians, RenderOptions, Scene, harmonics
from splatview.geometry import matrix_from_quat
from splatview.render.splats_cpu import CpuRenderer
from splatview.scene import Layer

SMALLEST, LARGEST, LAST = 1 / 255, 0.999, 1e-4
STEP = 1e-5


def some_splats(count=12, seed=1):
    rng = np.random.default_rng(seed)
    return Gaussians(
        rng.uniform(-0.5, 0.5, (count, 3)),
        rng.normal(size=(count, 4)),
        rng.normal(-1.8, 0.5, (count, 3)),
        rng.normal(0.5, 1.5, count),
        rng.normal(0, 0.3, (count, 4, 3)).astype(np.float16),  # as the renderer keeps them
    )


def view(width=50, height=35):
    return Camera.look_at((0.3, -2.2, 0.5), (0.1, 0, 0), (0, 0, 1), 0.8, width, height)


class Picture:
    """The sum of weights times a picture, in float64; what is cut off stays so when parameters change: that pulls at nothing."""

    def __init__(self, splats, camera, weights):
        self.splats, self.camera, self.weights = splats, camera, weights.astype(np.float64)
        directions = splats.means - camera.position
        self.colours = harmonics.evaluate(splats.sh.astype(np.float64), directions)
        self.order = np.argsort(
            ((splats.means @ camera.camera_from_world[:3, :3].T) + camera.camera_from_world[:3, 3])[:, 2], kind="stable"
        )
        self.counted = [None] * len(splats)
        self.base = self.of(*self.parameters)

    @property
    def parameters(self):
        s = self.splats
        scales = np.exp(s.log_scales.astype(np.float64))
        return (
            s.means.astype(np.float64),
            matrix_from_quat(s.quats.astype(np.float64)),
            scales,
            s.opacity_logits.astype(np.float64),
            self.colours,
        )

    def of(self, means, turns, scales, logits, colours):
        camera, total = self.camera, 0.0
        rotation, k = camera.camera_from_world[:3, :3], camera.K
        x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        light = np.ones_like(x)
        for i in self.order:
            at = rotation @ means[i] + camera.camera_from_world[:3, 3]
            slopes = np.array([[1 / at[2], 0, -at[0] / at[2] ** 2], [0, 1 / at[2], -at[1] / at[2] ** 2]]) * [[k[0, 0]], [k[1, 1]]]
            half = slopes @ rotation @ turns[i] * scales[i]
            conic = np.linalg.inv(half @ half.T + 0.3 * np.eye(2))
            d = np.stack([x, y], -1) - [k[0, 0] * at[0] / at[2] + k[0, 2], k[1, 1] * at[1] / at[2] + k[1, 2]]
            alpha = np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", d, conic, d)) / (1 + np.exp(-logits[i]))
            if self.counted[i] is None:
                self.counted[i] = (alpha >= SMALLEST) & (light * (1 - np.minimum(alpha, LARGEST)) > LAST), alpha > LARGEST
            seen, capped = self.counted[i]
            alpha = np.where(capped, LARGEST, alpha) * seen
            total += (light * alpha * (self.weights @ [*colours[i], 1])).sum()
            light = light * (1 - alpha)
        return total

    def slope(self, place, i, move):
        """By a parameter that `move` moves in the row i of the array at `place`."""
        found = []
        for step in (STEP, -STEP):
            arrays = [array.copy() for array in self.parameters]
            arrays[place][i] = move(arrays[place][i], step)
            found.append(self.of(*arrays))
        return (found[0] - found[1]) / (2 * STEP)

    def gradient(self, i):
        axes = np.eye(3)
        turned = lambda axis: lambda turn, step: matrix_from_quat(np.array([np.cos(step / 2), *(np.sin(step / 2) * axis)])) @ turn
        return np.array(
            [self.slope(0, i, lambda mean, step, axis=axis: mean + step * axis) for axis in axes]
            + [self.slope(1, i, turned(axis)) for axis in axes]
            + [self.slope(2, i, lambda scales, step, axis=axis: scales * np.exp(step * axis)) for axis in axes]
            + [self.slope(3, i, lambda logit, step: logit + step)]
            + [self.slope(4, i, lambda colour, step, axis=axis: colour + step * axis) for axis in axes]
        )


def drawn(renderer, splats, camera):
    return renderer.render(Scene({"": Layer(splats)}), camera, RenderOptions(outputs=("rgb", "alpha")))


@pytest.mark.parametrize("simd", ["avx512", "avx2", "portable"])
def test_gradient_is_that_of_the_picture(simd, monkeypatch):
    monkeypatch.setenv("SPLATVIEW_SIMD", simd)
    try:
        renderer = CpuRenderer()
    except ValueError:
        pytest.skip(f"no {simd} here")
    splats, camera = some_splats(), view()
    weights = np.random.default_rng(2).normal(size=(35, 50, 4)).astype(np.float32)
    got = renderer.gradient(splats, camera, weights, drawn(renderer, splats, camera))
    picture = Picture(splats, camera, weights)
    want = np.array([picture.gradient(i) for i in range(len(splats))])
    assert np.abs(got - want).max(0) == pytest.approx(np.zeros(13), abs=2e-3), np.abs(want).max(0)


def test_neither_threads_nor_strips_change_it(monkeypatch):
    splats, camera = some_splats(400), view()
    weights = np.random.default_rng(2).normal(size=(35, 50, 4)).astype(np.float32)

    def gradient(renderer):
        return renderer.gradient(splats, camera, weights, drawn(renderer, splats, camera))

    want = gradient(CpuRenderer())
    monkeypatch.setenv("SPLATVIEW_THREADS", "3")
    renderer = CpuRenderer()
    assert np.array_equal(gradient(renderer), want)
    renderer._native.set_least_spare(1)  # a strip for each row of tiles, whose rows are counted from its own top
    assert np.abs(gradient(renderer) - want).max(0) == pytest.approx(np.zeros(13), abs=1e-3)
