"""Every instruction set and any number of threads draw the same picture."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy_renderer
import pytest
from render_cases import CASES, psnr

from splatview import Camera, Scene
from splatview.render.splats_cpu import CpuRenderer

DRAW = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
from render_cases import CASES
from splatview import open_renderer
renderer = open_renderer("cpu")
images = {{}}
for name in {names!r}:
    frame = renderer.render(*CASES[name]())
    images |= {{f"{{name}}/{{output}}": image for output, image in frame.images.items()}}
np.savez({path!r}, **images)
"""
SHARED_CASES = [
    "dense",
    "several layers",
    "camera inside",
    "needles, antialiased",
    "splats larger than the picture",
    "tiny splats",
    "one pixel",
]


def drawn_by_another_process(path: Path, names: list[str], **environment: str) -> dict[str, np.ndarray]:
    """The images of some cases, as drawn under another environment; skips if this CPU cannot do that."""
    code = DRAW.format(tests=str(Path(__file__).parent), names=names, path=str(path))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode and "one that this processor has" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    with np.load(path) as images:
        return dict(images)


@pytest.mark.parametrize("path", ["avx512", "avx2", "portable"])
def test_instruction_sets_agree(tmp_path, path):
    other = drawn_by_another_process(tmp_path / "other.npz", SHARED_CASES, SPLATVIEW_SIMD=path)
    portable = drawn_by_another_process(tmp_path / "portable.npz", SHARED_CASES, SPLATVIEW_SIMD="portable")
    for name in SHARED_CASES:
        for output in ("rgb", "alpha"):
            difference = np.abs(other[f"{name}/{output}"] - portable[f"{name}/{output}"])
            assert np.mean(difference <= 1e-4) >= 0.999 and difference.max() <= 1e-2, (name, output)


@pytest.mark.parametrize("path", ["avx512", "avx2", "portable"])
def test_every_instruction_set_draws_the_specified_picture(tmp_path, path):
    images = drawn_by_another_process(tmp_path / "images.npz", SHARED_CASES, SPLATVIEW_SIMD=path)
    for name in SHARED_CASES:
        expected = numpy_renderer.render(*CASES[name]())
        for output in ("rgb", "alpha", "depth"):
            assert psnr(images[f"{name}/{output}"], expected[output]) >= 60, (name, output)


def test_threads_do_not_show(tmp_path):
    one = drawn_by_another_process(tmp_path / "one.npz", SHARED_CASES, SPLATVIEW_THREADS="1")
    two = drawn_by_another_process(tmp_path / "two.npz", SHARED_CASES, SPLATVIEW_THREADS="2")
    assert all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    "name", ["several layers", "principal point off centre", "dense", "splats larger than the picture", "hidden and tinted"]
)
def test_strips_do_not_show(name):
    scene, camera, options = CASES[name]()
    bare = Scene({key: replace(layer, content=layer.content.with_max_degree(0)) for key, layer in scene.layers.items()})
    camera = Camera(camera.K, camera.camera_from_world, camera.width, 5 * camera.height)  # several rows of tiles
    options = replace(options, outputs=("rgb", "rgb8", "alpha", "depth", "median_depth", "ids"))
    whole, cut = CpuRenderer(), CpuRenderer()
    cut._native.set_least_spare(0)
    one, many = whole.render(bare, camera, options), cut.render(bare, camera, options)
    assert many.counts["drawn"] > one.counts["drawn"]  # some lie across two strips
    assert many.counts["pairs"] == pytest.approx(one.counts["pairs"], rel=1e-2)
    for output in ("rgb", "alpha"):
        assert many.images[output] == pytest.approx(one.images[output], abs=1e-4), output
    for output in ("depth", "median_depth", "ids", "id_layers"):
        assert np.mean(np.isclose(many.images[output], one.images[output], rtol=1e-4)) >= 0.999, output


MEMORY = """
import gc, re, sys
from pathlib import Path
import numpy as np
from splatview import Camera, Gaussians, Layer, RenderOptions, Scene, open_renderer

def resident(name):
    return 1024 * int(re.search(rf"^{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])

count, degree = 1_000_000, int(sys.argv[1])
rng = np.random.default_rng(0)
draw = lambda *shape: rng.standard_normal(shape, np.float32)
splats = Gaussians(draw(count, 3), draw(count, 4), draw(count, 3) - 5, draw(count), 0.1 * draw(count, (degree + 1) ** 2, 3))
scene, renderer = Scene({"all": Layer(splats)}), open_renderer("cpu")
gc.collect()
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
before = resident("VmRSS")
frame = renderer.render(scene, Camera.look_at((0, -12, 0), (0, 0, 0), (0, 0, 1), 0.8, 1280, 720), RenderOptions(outputs=("rgb8",)))
print((resident("VmHWM") - before) / splats.nbytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("degree", range(5))
def test_memory_stays_within_one_and_a_half_times_the_scene(degree):
    """A million splats, all of them in view."""
    done = subprocess.run([sys.executable, "-c", MEMORY, str(degree)], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 1.5


OUT_OF_MEMORY = """
import resource
import numpy as np
from splatview import Camera, Gaussians, Layer, RenderOptions, Scene, open_renderer

def wall(count):  # splats larger than the picture
    means = np.stack([np.zeros(count), np.linspace(0, 1, count), np.zeros(count)], -1)
    quats, sizes, logits, sh = np.tile([1, 0, 0, 0], (count, 1)), np.full((count, 3), 3), np.full(count, -5), np.zeros((count, 1, 3))
    return Scene({"wall": Layer(Gaussians(means, quats, sizes, logits, sh))})

renderer, options = open_renderer("cpu"), RenderOptions(outputs=("alpha",))
camera = Camera.look_at((0, -9, 0), (0, 0, 0), (0, 0, 1), 0.8, 1280, 720)
few, many = wall(10), wall(100_000)
before = renderer.render(few, camera, options).alpha.copy()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
try:
    renderer.render(many, camera, options)
except MemoryError:
    print("out of memory")
assert np.array_equal(renderer.render(few, camera, options).alpha, before)
"""


def test_a_frame_that_does_not_fit_is_an_error_and_the_renderer_lives_on():
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out of memory\n"
