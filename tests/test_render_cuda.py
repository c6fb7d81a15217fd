"""The CUDA backend's own code on a CPU, with gsplat's PyTorch twins as its stages, against the specification."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import numpy_renderer
import pytest
from render_cases import CASES, alone, cloud, psnr, several_layers, shot

from splatview import Gaussians, RenderOptions, Scene, open_renderer
from splatview.frame import Interrupt, Interrupted, Masks
from splatview.geometry import Similarity
from splatview.scene import Layer

pytestmark = pytest.mark.xdist_group("torch")  # one process imports it


@pytest.fixture(scope="module")
def renderer():
    from torch_ops import TORCH_OPS

    from splatview.render.splats_cuda import CudaRenderer

    return CudaRenderer("cpu", TORCH_OPS)


@pytest.mark.parametrize("name", [name for name in CASES if name != "large picture"])
def test_the_picture_is_the_specified_one(renderer, name):
    scene, camera, options = CASES[name]()
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    for output in ("rgb", "alpha", "depth"):
        assert psnr(getattr(frame, output), expected[output]) >= 45, output
    assert np.mean(np.isclose(frame.median_depth, expected["median_depth"], rtol=1e-3)) >= 0.995
    assert np.mean((frame.ids == expected["ids"]) & (frame.id_layers == expected["id_layers"])) >= 0.995
    assert np.mean(frame.overdraw == expected["overdraw"]) >= 0.99


def test_outlines_are_the_specified_ones(renderer):
    scene, camera, options = alone(cloud(200), style="outlines", background=(0.1, 0.4, 0.8))
    frame, expected = renderer.render(scene, camera, options), numpy_renderer.render(scene, camera, options)
    assert np.mean(np.abs(frame.rgb - expected["rgb"]).max(-1) < 1e-3) >= 0.99


def test_several_cameras_in_one_call_give_the_pictures_of_each(renderer):
    scene, _, options = several_layers()
    cameras = [shot(48, 32), shot(48, 32, eye=(3, 2, 1)), shot(48, 32, fov_y=1.4)]
    for frame, camera in zip(renderer.render_many(scene, cameras, options), cameras, strict=True):
        single = renderer.render(scene, camera, options)
        assert frame.camera is camera
        for name in ("rgb", "alpha", "depth"):
            assert psnr(getattr(frame, name), getattr(single, name)) >= 80, name
        assert np.mean(frame.ids == single.ids) >= 0.995
    with pytest.raises(ValueError, match="one size"):
        renderer.render_many(scene, [shot(48, 32), shot(32, 48)], options)


def test_outputs_have_the_types_of_the_cpus(renderer):
    scene, camera, options = several_layers()
    options = replace(options, outputs=(*options.outputs, "rgb8"))
    ours, cpus = renderer.render(scene, camera, options), open_renderer("cpu").render(scene, camera, options)
    assert set(ours.images) == set(cpus.images)
    for name, image in cpus.images.items():
        assert (ours.images[name].dtype, ours.images[name].shape) == (image.dtype, image.shape), name
    assert np.abs(ours.rgb8.astype(int) - cpus.rgb8).max() <= 1
    assert ours.counts["drawn"] > 0 and all(span >= 0 for span in ours.timings.values())


@pytest.mark.parametrize("scene", [Scene(), Scene({"none": Layer(cloud(0))}), Scene({"unseen": Layer(cloud(), visible=False)})])
def test_nothing_to_draw_gives_the_background(renderer, scene):
    outputs = ("rgb", "rgb8", "alpha", "depth", "median_depth", "ids", "overdraw")
    frame = renderer.render(scene, shot(20, 10), RenderOptions(background=(0.25, 0.5, 0.75), outputs=outputs))
    assert np.allclose(frame.rgb, [0.25, 0.5, 0.75]) and not frame.alpha.any() and not frame.overdraw.any()
    assert (frame.ids == -1).all() and (frame.id_layers == -1).all()


def test_broken_gaussians_are_left_out(renderer):
    splats = cloud(60)
    means = splats.means.copy()
    means[::3] = np.nan
    kept = np.arange(60) % 3 != 0
    broken = renderer.render(*alone(replace(splats, means=means), shot(40, 30)))
    whole = renderer.render(*alone(splats.take(kept), shot(40, 30)))
    assert np.allclose(broken.rgb, whole.rgb)
    drawn = broken.ids >= 0
    assert drawn.any() and np.array_equal(broken.ids[drawn], np.flatnonzero(kept)[whole.ids[drawn]])


def test_tensors_are_kept_by_identity_and_no_longer(renderer):
    splats = cloud(50)
    scene, camera, options = alone(splats, shot(16, 16))
    first = renderer.prepare(splats)
    for placement in (Similarity(), Similarity(translation=(0.1, 0, 0))):
        renderer.render(Scene({"cloud": Layer(splats, placement)}), camera, options)
    assert renderer.prepare(splats) is first
    mask = Masks({"cloud": np.arange(50) % 2 == 0})
    for _ in range(2):
        renderer.render(scene, camera, replace(options, hidden=mask))
    assert len(first.masks) == 1
    del mask
    gc.collect()
    assert not first.masks
    before = len(renderer._resident)
    del splats, scene, first
    gc.collect()
    assert len(renderer._resident) == before - 1


def test_an_interrupt_is_heard(renderer):
    stop = Interrupt()
    stop.set()
    with pytest.raises(Interrupted):
        renderer.render(*alone(cloud(), shot(16, 16)), stop)


def test_a_mask_of_another_length_is_refused(renderer):
    scene, camera, options = alone(cloud(50), shot(16, 16))
    with pytest.raises(ValueError, match="50 Gaussians"):
        renderer.render(scene, camera, replace(options, hidden=Masks({"cloud": np.zeros(49, bool)})))


def test_a_backend_that_cannot_draw_says_what_failed():
    from torch_ops import TORCH_OPS

    from splatview.render.splats_cuda import CudaRenderer

    def broken(*_, **__):
        raise RuntimeError("no kernel image is available")

    with pytest.raises(ValueError, match=r"first picture failed .no kernel image"):
        CudaRenderer("cpu", replace(TORCH_OPS, intersect=broken))


def test_without_a_gpu_the_choice_falls_on_the_cpu_and_cuda_says_why():
    from splatview.render.backends import driver

    if driver().works:
        pytest.skip("there is a GPU here")
    assert open_renderer("auto").name.startswith("cpu")
    with pytest.raises(ValueError, match=r"NVIDIA GPU: .*splatview doctor"):
        open_renderer("cuda")


def test_one_gaussian_is_where_it_should_be(renderer):
    one = Gaussians([[0, 0, 0]], [[1, 0, 0, 0]], [[-1, -1, -1]], [4.0], np.zeros((1, 1, 3)))
    frame = renderer.render(*alone(one, shot(33, 33, eye=(0, -4, 0))))
    assert frame.depth[16, 16] == pytest.approx(4, abs=1e-3) and frame.median_depth[16, 16] == pytest.approx(4, abs=1e-3)
