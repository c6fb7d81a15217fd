"""ControlNets: what they are shown, and that they do what diffusers' pipelines do with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_diffusion
import torch

from splatview import Camera
from splatview.frame import Frame
from splatview.stylize import models
from splatview.stylize.catalogue import Choice
from splatview.stylize.diffusing import Diffusing, Phrase
from splatview.stylize.diffusion import Diffusion
from splatview.stylize.hints import HINTS
from splatview.stylize.pictures import floats

pytestmark = [
    pytest.mark.xdist_group("diffusion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' Euler scheduler, with numpy 2
]

HEIGHT, WIDTH = 64, 96
STILL = Diffusing(size=80, transition=0, depth=0.7, edges=0, prompt=(Phrase("a fox"),), seed=3)


@pytest.fixture(scope="module")
def nets(tiny_sd, tmp_path_factory):
    """Folders of two ControlNets that do something, and of one that is as it begins."""
    folder = tmp_path_factory.mktemp("nets")
    network = models.UNet2DConditionModel.from_pretrained(tiny_sd("turbo") / "unet")
    for name, seed in (("depth", 1), ("edges", 2)):
        tiny_diffusion.controlnet(network, seed).save_pretrained(folder / name)
    models.ControlNetModel.from_unet(network, conditioning_channels=3).save_pretrained(folder / "new")
    return folder


@pytest.fixture
def opened(tiny_sd, monkeypatch):
    monkeypatch.setattr(models, "dtype_on", lambda device: torch.float32)
    made = []

    def open(controls, *controlnets):
        made.append(Diffusion(models.load(Choice(str(tiny_sd("turbo")), controlnets=controlnets, device="cpu")), controls))
        return made[-1]

    yield open
    for one in made:
        one.close()


def a_frame(seed: int = 0, **images) -> Frame:
    rng = np.random.default_rng(seed)
    camera = Camera.look_at((seed, -3, 1), (0, 0, 0), (0, 0, 1), 0.8, WIDTH, HEIGHT)
    depth = rng.uniform(1, 5, (HEIGHT, WIDTH)).astype(np.float32)
    return Frame(camera, {"rgb": rng.random((HEIGHT, WIDTH, 3), np.float32), "depth": depth, **images})


def theirs(tiny_sd, nets, frame: Frame, scales: dict[str, float]) -> np.ndarray:
    """The picture of diffusers' image-to-image with ControlNets."""
    from diffusers import StableDiffusionControlNetImg2ImgPipeline, StableDiffusionPipeline

    with tiny_diffusion.quiet():
        parts = StableDiffusionPipeline.from_pretrained(tiny_sd("turbo"), local_files_only=True).components
        loaded = [models.ControlNetModel.from_pretrained(nets / name) for name in scales]
        pipeline = StableDiffusionControlNetImg2ImgPipeline(**parts, controlnet=loaded, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    shown = [HINTS[name](frame, HEIGHT, WIDTH).expand(-1, 3, -1, -1) for name in scales]
    settings = {"strength": 0.5, "num_inference_steps": 2, "guidance_scale": 0.0, "output_type": "np"}
    settings |= {"generator": torch.Generator().manual_seed(3), "controlnet_conditioning_scale": list(scales.values())}
    return pipeline("a fox", floats(torch.tensor(frame.rgb8).permute(2, 0, 1)[None]), shown, **settings).images[0] * 255


@pytest.mark.parametrize("scales", [{"depth": 0.7}, {"depth": 0.7, "edges": 1.3}])
def test_controlnets_do_what_they_do_in_diffusers(tiny_sd, nets, opened, scales):
    frame = a_frame()
    stylizer = opened(replace(STILL, **scales), *(f"{name}={nets / name}" for name in scales))
    shown = stylizer.style(frame)
    assert np.abs(shown - theirs(tiny_sd, nets, frame, scales)).max() <= 1
    plain = opened(STILL).style(frame)
    assert np.abs(shown.astype(int) - plain).mean() > 1


def test_what_does_not_work_costs_nothing(nets, opened, monkeypatch):
    plain, new = opened(STILL).style(a_frame()), opened(STILL, f"depth={nets / 'new'}")
    assert np.array_equal(new.style(a_frame()), plain)  # as it begins, a ControlNet adds nothing

    stylizer = opened(replace(STILL, depth=0), f"depth={nets / 'depth'}")
    monkeypatch.setattr(type(stylizer._model.unet.nets["depth"]), "forward", lambda *_, **__: pytest.fail("it was asked"))
    assert np.array_equal(stylizer.style(a_frame()), plain)
    stylizer.take(STILL)
    video = Frame(a_frame().camera, {"rgb": a_frame().rgb})
    assert np.array_equal(stylizer.style(video), plain)


def test_each_frame_of_a_stream_keeps_its_depth(nets, opened):
    controls = replace(STILL, steps=2, guidance="full", scale=1.5)
    moving, frames = opened(controls, f"depth={nets / 'depth'}"), [a_frame(seed) for seed in range(4)]
    shown = [moving.style(frame) for frame in frames]
    for late in (0, 1, 2):
        standing = opened(controls, f"depth={nets / 'depth'}")
        for _ in range(2):
            still = standing.style(frames[late])
        assert np.abs(shown[late + 1].astype(int) - still).max() <= 1


def test_a_controlnet_that_is_taken_up_on_the_way_is_seen(nets, opened):
    stylizer = opened(replace(STILL, depth=0, steps=2), f"depth={nets / 'depth'}")
    for _ in range(2):
        before = stylizer.style(a_frame())
    stylizer.take(replace(STILL, steps=2))
    for _ in range(2):
        after = stylizer.style(a_frame())
    assert stylizer.settled and not np.array_equal(before, after)


# What they are shown


def test_depth_is_white_where_it_is_near_whatever_the_unit():
    depth = np.tile(np.linspace(1, 9, WIDTH, dtype=np.float32), (HEIGHT, 1))
    depth[:8] = 0
    shown = HINTS["depth"](a_frame(depth=depth), HEIGHT, WIDTH)
    assert shown.shape == (1, 1, HEIGHT, WIDTH) and shown.min() == 0 and shown.max() == 1
    assert (shown[0, 0, :8] == 0).all() and (shown[0, 0, 8:].diff(dim=1) <= 0).all()
    assert torch.allclose(HINTS["depth"](a_frame(depth=1000 * depth), HEIGHT, WIDTH), shown, atol=1e-5)
    small = HINTS["depth"](a_frame(depth=depth), 24, 32)
    assert small.shape == (1, 1, 24, 32) and (small[0, 0, 4:].diff(dim=1) <= 0).all()


@pytest.mark.parametrize("depth", [0.0, 3.0])
def test_depth_of_nothing_and_of_a_wall(depth):
    flat = np.full((HEIGHT, WIDTH), depth, np.float32)
    shown = HINTS["depth"](a_frame(depth=flat), HEIGHT, WIDTH)
    assert (shown == (depth > 0)).all()


def test_edges_are_where_the_picture_changes():
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    rgb[:, 48:] = 1
    shown = HINTS["edges"](a_frame(rgb=rgb), HEIGHT, WIDTH)[0, 0]
    columns = torch.nonzero(shown.amax(0)).ravel().tolist()
    assert columns and set(columns) <= {46, 47, 48, 49} and set(shown.unique().tolist()) == {0.0, 1.0}
