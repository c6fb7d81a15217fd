"""Where edges are: what lies between the near and the far part of one pixel is seen between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from render_cases import CASES, cloud, psnr
from small_fields import ball, slab

from splatview import Camera, Gaussians, RenderOptions, Scene, open_renderer
from splatview.geometry import Similarity
from splatview.render.field_cpu import FieldCpu
from splatview.render.splats_cpu import CpuRenderer
from splatview.scene import Layer

RED, GREEN, BLUE = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)
HERE = Similarity(translation=(-0.5, -0.5, -0.5))
OUTPUTS = RenderOptions(outputs=("rgb", "alpha", "depth"))


def shot(width=45, height=33):
    return Camera.look_at((0.0, -2.5, 0.0), (0, 0, 0), (0, 0, 1), 0.5, width, height)


def at(y):
    return Similarity(translation=(-0.5, y - 0.5, -0.5))


def walls(*places):
    """Flat splats in planes y, each larger than the picture: (y, colour, opacity)."""
    count = len(places)
    sh = (np.array([[colour] for _, colour, _ in places]) - 0.5) / 0.28209479177387814
    logits = [np.log(opacity / (1 - opacity)) for *_, opacity in places]
    return Gaussians(
        [[0, y, 0] for y, *_ in places], np.tile([1.0, 0, 0, 0], (count, 1)), np.tile([4.0, -6.0, 4.0], (count, 1)), logits, sh
    )


def over(*frames, background=(0.0, 0.0, 0.0)):
    """Frames over black, the nearest first: their colour over the background, and alpha."""
    light, rgb = np.ones_like(frames[0].alpha), np.zeros_like(frames[0].rgb)
    for frame in frames:
        rgb = rgb + light[..., None] * frame.rgb
        light = light * (1 - frame.alpha)
    return rgb + light[..., None] * np.float32(background), 1 - light


def field_of(density=3.0):
    """Two translucent slabs a ray passes one after the other, as one field."""
    return slab(GREEN, density, 0.1, 0.9)


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_the_parts_of_a_divided_field_are_what_near_and_far_cut_off(scale):
    layer, camera, fields = Layer(field_of(), Similarity(scale=scale, translation=(-0.5, -0.5, -0.5))), shot(), FieldCpu()
    z = np.float32(2.31)
    divided = fields.render(layer, camera, divide=np.full((33, 45), z))
    front, behind = divided.parts
    near, far = fields.render(layer, camera, RenderOptions(far=float(z))), fields.render(layer, camera, RenderOptions(near=float(z)))
    assert near.alpha.max() > 0.2 < far.alpha.max(), "the case shows nothing"
    for part, alone in ((front, near), (behind, far)):
        assert psnr(part.rgb, alone.rgb) > 40 and psnr(part.alpha, alone.alpha) > 40
        assert psnr(part.depth * part.alpha, alone.depth * alone.alpha) > 40
    assert (front.depth <= z).all() and (behind.depth[behind.alpha > 0] >= z).all()


def test_the_parts_of_a_divided_field_add_up_to_it_wherever_each_ray_is_divided():
    layer, camera, fields = Layer(ball(RED, 9.0), HERE), shot(), FieldCpu()
    whole = fields.render(layer, camera)
    for divide in (
        np.random.default_rng(1).uniform(1.8, 3.2, (33, 45)).astype(np.float32),
        *np.full((2, 33, 45), [[[0.0]], [[np.inf]]], "f4"),
    ):
        image = fields.render(layer, camera, divide=divide)
        front, behind = image.parts
        light = 1 - front.alpha
        assert np.allclose(front.alpha + light * behind.alpha, whole.alpha, atol=1e-6)
        assert np.allclose(front.rgb + light[..., None] * behind.rgb, whole.rgb, atol=1e-6)
        assert np.allclose(front.alpha * front.depth + light * behind.alpha * behind.depth, whole.alpha * whole.depth, atol=1e-5)
        assert np.array_equal(image.samples, whole.samples)
    assert not front.alpha.any() or not behind.alpha.any()


def test_a_divide_that_is_of_another_picture_is_refused():
    with pytest.raises(ValueError, match="a divide for each pixel"):
        FieldCpu().render(Layer(ball(), HERE), shot(), divide=np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="a divide for each pixel"):
        CpuRenderer().render_divided(Scene({"cloud": Layer(cloud(9))}), shot(), OUTPUTS, np.zeros((3, 3), np.float32))


@pytest.mark.parametrize("name", CASES)
def test_the_parts_of_divided_splats_add_up_to_them_and_one_alone_is_the_picture(name):
    scene, camera, options = CASES[name]()
    if options.outputs and options.style == "centres":
        options = replace(options, style="splats")
    renderer, options = CpuRenderer(), replace(options, background=(0.0, 0.0, 0.0), outputs=("rgb", "alpha", "depth"))
    whole = renderer.render(scene, camera, options)
    shape = whole.alpha.shape
    middle = np.median(whole.depth[whole.alpha > 0]) if whole.alpha.any() else 1.0
    divides = np.random.default_rng(2).uniform(0, 2 * middle, shape).astype(np.float32), *np.full((2, *shape), [[[0.0]], [[np.inf]]], "f4")
    for divide in divides:
        front, behind = renderer.render_divided(scene, camera, options, divide)
        light = 1 - front.alpha
        assert np.allclose(front.alpha + light * behind.alpha, whole.alpha, atol=2e-6)
        assert np.allclose(front.rgb + light[..., None] * behind.rgb, whole.rgb, atol=1e-5)
        assert (front.depth <= divide).all() and (behind.depth[behind.alpha > 0] >= 0.999 * divide[behind.alpha > 0]).all()
    assert np.array_equal(front.alpha, whole.alpha) and np.array_equal(front.rgb, whole.rgb)


@pytest.mark.parametrize("background", [(0.0, 0.0, 0.0), (0.7, 0.8, 0.9)])
def test_a_field_between_the_splats_of_a_pixel_is_seen_between_them(background):
    """As at the edge of something near: a third of the light is its own, the rest comes from far behind."""
    renderer, camera = open_renderer("cpu"), shot()
    near, far, field = walls((-1.0, RED, 0.3)), walls((2.0, BLUE, 0.999)), Layer(slab(GREEN, 30.0), HERE)
    got = renderer.render(
        Scene({"splats": Layer(walls((-1.0, RED, 0.3), (2.0, BLUE, 0.999))), "field": field}),
        camera,
        replace(OUTPUTS, background=background),
    )
    apart = [renderer.render(Scene({"one": layer}), camera, OUTPUTS) for layer in (Layer(near), field, Layer(far))]
    expected, alpha = over(*apart, background=background)
    assert np.allclose(got.rgb, expected, atol=2e-3) and np.allclose(got.alpha, alpha, atol=1e-3)
    assert got.rgb[16, 22] == pytest.approx(0.3 * np.array(RED) + 0.7 * np.array(GREEN), abs=0.02), "the case shows something else"


@pytest.mark.parametrize("field_share", [1.0, 1 / 16])
def test_splats_between_the_parts_of_a_field_are_seen_between_them(field_share):
    renderer, camera = open_renderer("cpu"), shot()
    field, wall = Layer(field_of(1.0), HERE), Layer(walls((0.05, BLUE, 0.6)))
    scene = Scene({"field": field, "wall": wall})
    renderer.render(scene, camera, replace(OUTPUTS, field_share=field_share))
    got = renderer.render(scene, camera, OUTPUTS)
    halves = [renderer.render(Scene({"one": field}), camera, replace(OUTPUTS, **{side: 2.55})) for side in ("far", "near")]
    expected, alpha = over(halves[0], renderer.render(Scene({"one": wall}), camera, OUTPUTS), halves[1])
    assert min(half.alpha[16, 22] for half in halves) > 0.25, "the case shows nothing"
    assert psnr(got.rgb, expected) > 40 and psnr(got.alpha, alpha) > 40


def test_two_edges_in_one_picture_are_each_put_right():
    """A ball before a wall of its own field and splats between; beside it splats before and behind."""
    renderer, camera = open_renderer("cpu"), shot()
    fields = {"ball": Layer(ball(RED, 300.0), at(-0.7)), "back": Layer(slab(GREEN, 300.0), at(1.0))}
    splats = Layer(walls((0.1, BLUE, 0.5)))
    got = renderer.render(Scene({**fields, "splats": splats}), camera, OUTPUTS)
    apart = [renderer.render(Scene({"one": layer}), camera, OUTPUTS) for layer in (fields["ball"], splats, fields["back"])]
    expected, _ = over(*apart)
    edge = (apart[0].alpha > 0.1) & (apart[0].alpha < 0.9)
    assert edge.any() and np.allclose(got.rgb[edge], expected[edge], atol=1e-3) and psnr(got.rgb, expected) > 60
