"""Composition on a device, with torch's tensors on a CPU: the same pictures as in numpy, and nothing on the host before the end."""

from __future__ import annotations

import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from field_cases import field
from render_cases import EVERYTHING, cloud, psnr
from small_fields import ball, slab
from torch_ops import TORCH_OPS

from splatview import Camera, RenderOptions, Scene
from splatview.frame import Interrupt, Interrupted, Masks
from splatview.geometry import Similarity
from splatview.render.begun import Drawn
from splatview.render.composite import CompositeRenderer
from splatview.render.composite_cuda import CompositeCuda, spread
from splatview.render.field_cpu import FieldCpu
from splatview.render.field_cuda import FieldFrame
from splatview.render.layering import composed_of
from splatview.render.parts import Part
from splatview.render.pixels import HOST
from splatview.render.splats_cuda import CudaRenderer
from splatview.scene import Layer

ALL = RenderOptions(outputs=(*EVERYTHING, "rgb8"), background=(0.2, 0.5, 0.7))
HERE = Similarity(translation=(-0.5, -0.5, -0.5))
TURNED = Similarity((0.9, 0.1, 0.2, 0.1), (-1.0, -0.8, -0.9), 1.8)


def shot(width=45, height=31):
    return Camera.look_at((0.4, -3, 0.6), (0, 0, 0), (0, 0, 1), 0.7, width, height)


class Tensors:
    """As `FieldCuda`, of what the CPU draws."""

    def __init__(self):
        self._fields, self.rays = FieldCpu(), 0

    def render(self, layer, camera, near, far, detail, interrupt, divide):
        self.rays += camera.width * camera.height
        raw = copy.copy(layer.field)
        object.__setattr__(raw, "developed", lambda colour, *_: colour)
        place, options = None if divide is None else np.asarray(divide), RenderOptions(near=near, far=far, field_detail=detail)
        image = self._fields.render(replace(layer, content=raw), camera, options, divide=place)

        def frame(part, behind=None):
            distance = part.depth * part.alpha / np.float32(layer.placement.scale)
            values = part.rgb, part.alpha, distance, image.samples
            return FieldFrame(*(torch.from_numpy(value.copy()) for value in values), behind)

        return frame(image.parts[0], *map(frame, image.parts[1:]))


@pytest.fixture
def device():
    return CompositeCuda(CudaRenderer("cpu", TORCH_OPS), Tensors)


@pytest.fixture
def host():
    """The same splats and fields, composed in numpy."""
    return CompositeRenderer(CudaRenderer("cpu", TORCH_OPS), FieldCpu)


SCENES = {
    "both": {"cloud": Layer(cloud(60)), "ball": Layer(ball(density=6.0), TURNED)},
    "two fields": {"slab": Layer(slab(density=4.0), HERE), "cloud": Layer(cloud(60)), "ball": Layer(ball(density=9.0), TURNED)},
    "a field alone": {"ball": Layer(ball(density=6.0), TURNED, background=(0.9, 0.8, 0.1))},
    "exposed": {"cloud": Layer(cloud(60)), "ball": Layer(ball(density=6.0), TURNED, exposure=0.8)},
    "high dynamic range": {"cloud": Layer(cloud(60)), "field": Layer(field(hdr=True), TURNED, exposure=-0.5)},
}


def outputs_alike(got, expected, outputs, close=1e-5):
    assert set(got.images) == set(expected.images) >= set(outputs) - {"rgb8"}
    for name, image in expected.images.items():
        assert got.images[name].dtype == image.dtype and got.images[name].shape == image.shape, name
        if image.dtype == np.float32:
            assert np.allclose(got.images[name], image, rtol=close, atol=close), name
        elif name == "rgb8":
            assert np.abs(got.rgb8.astype(int) - image).max() <= 1 and np.mean(got.rgb8 == image) > 0.999
        else:
            assert np.array_equal(got.images[name], image), name
    assert dict(got.counts) == dict(expected.counts)


@pytest.mark.parametrize("name", SCENES)
def test_no_output_differs_from_the_one_in_numpy(device, host, name):
    scene = Scene(SCENES[name])
    options = replace(ALL, tinted=Masks({"cloud": np.arange(60) % 2 == 0}))
    got, expected = device.render(scene, shot(), options), host.render(scene, shot(), options)
    assert expected.alpha.max() > 0.9 and (expected.ids >= 0).any() == ("cloud" in SCENES[name]), "the case shows nothing"
    outputs_alike(got, expected, options.outputs)
    assert {"fields", "compose", "copy"} <= set(got.timings)
    for output in EVERYTHING:
        single = replace(options, outputs=(output,))
        outputs_alike(device.render(scene, shot(), single), host.render(scene, shot(), single), [output])


def test_a_scene_without_fields_is_the_splat_renderers(device):
    scene = Scene({"cloud": Layer(cloud(60)), "unseen": Layer(ball(), visible=False)})
    got, expected = device.render(scene, shot(), ALL), device.splats.render(scene, shot(), ALL)
    assert all(np.array_equal(got.images[name], expected.images[name]) for name in expected.images) and got.counts == expected.counts


@pytest.mark.parametrize("name", ["both", "two fields"])
def test_pictures_that_come_in_more_and_more_pixels(device, host, name):
    scene, rays = Scene(SCENES[name]), 45 * 31 * len(Scene(SCENES[name]).visible_fields)
    for share in (1 / 64, 1 / 4, 1 / 2, 1.0):
        options = replace(ALL, field_share=share)
        outputs_alike(device.render(scene, shot(), options), host.render(scene, shot(), options), ALL.outputs)
    assert device._fields._fields.rays == rays, "none was drawn twice"
    outputs_alike(device.render(scene, shot(), ALL), host.render(scene, shot(), ALL), ALL.outputs, close=1e-6)


def test_who_is_seen_behind_fields_is_the_same(device, host):
    far = Similarity(translation=(0.0, 1.5, 0.0), scale=0.4)
    scene, region = Scene({"cloud": Layer(cloud(80), far), "ball": Layer(ball(density=300.0), HERE)}), np.ones((31, 45), bool)
    got, expected = (each.contributors(scene, shot(), region, 0.05)["cloud"] for each in (device, host))
    plain = device.splats.contributors(scene, shot(), region, 0.05)["cloud"]
    assert np.array_equal(got, expected) and 0 < np.count_nonzero(got) < np.count_nonzero(plain)


def test_nothing_comes_to_the_host_before_the_end(device, monkeypatch):
    """And then no more than what was asked for."""
    composing, delivered = [False], []

    def apart(does, composes_then):
        def done(*given):
            composing[0] = False
            result = does(*given)
            composing[0] = composes_then
            return result

        return done

    def watched(read):
        def checked(*given):
            assert not composing[0], "a tensor was read"
            return read(*given)

        return checked

    def end(cameras, images, counts, watch):
        delivered.append(set(images))
        return deliver(cameras, images, counts, watch)

    deliver = device.splats.delivered
    monkeypatch.setattr(device.splats, "drawn", apart(device.splats.drawn, True))  # its stages are torch twins, which may read
    monkeypatch.setattr(Tensors, "render", apart(Tensors.render, True))
    monkeypatch.setattr(device.splats, "delivered", apart(end, False))
    for name in ("numpy", "cpu", "tolist", "item", "__array__", "__bool__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, watched(getattr(torch.Tensor, name)))
    for share in (1 / 16, 1.0):
        device.render(Scene(SCENES["exposed"]), shot(), RenderOptions(outputs=("rgb8", "depth"), field_share=share))
    assert delivered == [{"rgb8", "depth"}] * 2


def test_its_jpeg_is_the_picture_with_fields(device):
    """With torchvision's interface, as gsplat's stages: on a CPU there is none."""

    def encoder(picture, quality):
        done, jpeg = cv2.imencode(".jpg", picture.permute(1, 2, 0).numpy()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        return torch.from_numpy(jpeg)

    scene = Scene(SCENES["both"])
    assert device.encode_jpeg(device.render(scene, shot(), RenderOptions(outputs=("rgb8",))), 90) is None
    device.splats._encoder = encoder
    frame = device.render(scene, shot(), RenderOptions(outputs=("rgb8", "depth")))
    data = device.encode_jpeg(frame, 95)
    assert data is not None
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert psnr(decoded / 255, frame.rgb8 / 255) > 30 and frame.rgb8.std() > 5
    assert device.encode_jpeg(device.render(scene, shot(), RenderOptions(outputs=("depth",))), 95) is None


def test_an_interrupt_is_heard(device):
    interrupt = Interrupt()
    interrupt.set()
    for name in ("both", "a field alone"):
        with pytest.raises(Interrupted):
            device.render(Scene(SCENES[name]), shot(), ALL, interrupt)


@pytest.mark.parametrize("seed", range(12))
def test_the_rules_are_the_same_for_tensors(seed):
    """Random sheets: some nowhere, some as far away as others, with splats and without."""
    rng = np.random.default_rng(seed)
    shape = (7, 9)

    def part():
        alpha = rng.random(shape, np.float32) * (rng.random(shape) < 0.7)
        depth = np.where(alpha > 0, rng.integers(1, 5, shape), 0).astype(np.float32)
        return (rng.random((*shape, 3), np.float32) * 1.2 * alpha[..., None]).astype(np.float32), alpha.astype(np.float32), depth

    splats = [part() for _ in range(rng.integers(1, 3))]
    fields = {place: [part() for _ in range(rng.integers(1, 3))] for place in (2, 5)[: rng.integers(1, 3)]}
    known = dict(zip(("ids", "id_layers", "overdraw"), rng.integers(-1, 9, (3, *shape)).astype(np.int32), strict=True))
    known |= {
        "alpha": splats[0][1],
        "median_depth": rng.integers(0, 5, shape).astype(np.float32),
        "coverage": rng.random(shape, np.float32),
    }
    for options in (ALL, replace(ALL, background=(0.0, 0.0, 0.0)), replace(ALL, outputs=("depth",)), replace(ALL, outputs=("ids", "rgb8"))):
        for alone in (False, True):
            found = []
            for library, convert in ((np, np.copy), (torch, torch.tensor)):
                drawn = None if alone else Drawn({name: convert(image) for name, image in known.items()}, {})

                def parts(many, convert=convert):
                    return [Part(*map(convert, one)) for one in many]

                there = parts([] if alone else splats)
                found.append(composed_of(library, drawn, there, {place: parts(many) for place, many in fields.items()}, options))
            assert set(found[0]) == set(found[1]) == set(options.outputs) | ({"id_layers"} if "ids" in options.outputs else set())
            for name, image in found[0].items():
                assert np.array_equal(image, found[1][name].numpy()), name


@pytest.mark.parametrize("taps", [1, 3, 15])
def test_pixels_are_spread_alike(taps):
    rng = np.random.default_rng(taps)
    weights = rng.random(taps).astype(np.float32)
    weights += weights[::-1]
    for shape in ((20, 31), (20, 31, 3), (4, 2)):
        values = rng.random(shape, np.float32)
        assert np.allclose(spread(torch.tensor(values), weights).numpy(), HOST.spread(values, weights), rtol=1e-5)
