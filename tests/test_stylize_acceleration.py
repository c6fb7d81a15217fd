"""Faster ways to run networks: frames never wait for them, wrong ones are not taken, and ONNX files say what PyTorch says."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import tiny_diffusion
import torch

from splatview.stylize import acceleration, engines, models
from splatview.stylize.acceleration import Acceleration, Flat, Signature, Way, flat, ways
from splatview.stylize.catalogue import Choice
from splatview.stylize.export import export, input_names
from splatview.stylize.networks import Decoder, Denoiser, Encoder

pytestmark = [
    pytest.mark.xdist_group("diffusion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' Euler scheduler, with numpy 2
]


@pytest.fixture(scope="module")
def model(tiny_sd):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "dtype_on", lambda device: torch.float32)
        return models.load(Choice(str(tiny_sd("turbo")), device="cpu"))


@pytest.fixture
def accelerated(model):
    made = []

    def accelerate(*ways):
        made.append(Acceleration(model, ways))
        return made[-1]

    yield accelerate
    for one in made:
        one.close()


def inputs(rows: int = 1, height: int = 8, width: int = 12):
    draw = torch.Generator().manual_seed(rows)
    tokens = torch.randn(rows, 77, 16, generator=draw)
    return torch.randn(rows, 4, height, width, generator=draw), torch.full((rows,), 499), {"tokens": tokens}


def traced(network, signature, sample, progress):
    """A faster way that works everywhere: PyTorch's own recording of the network."""
    progress(0.5)
    return torch.jit.trace(network, tuple(sample), check_trace=False)


TRACED = pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore::torch.jit.TracerWarning", "ignore:`torch.jit")


def test_a_network_takes_its_tensors_in_a_row_as_well(model):
    given = inputs(2)
    names, tensors = zip(*flat(given), strict=True)
    assert names == ("0", "1", "tokens")
    with torch.no_grad():
        assert torch.equal(Flat(model.unet, names)(*tensors), model.unet(*given))
    signature = Signature.of(given)
    assert signature == Signature.of(inputs(2)) != Signature.of(inputs(1))
    assert [tensor.shape for tensor in signature.sample(torch.device("cpu"))] == [tensor.shape for tensor in tensors]


@TRACED
def test_frames_do_not_wait_for_a_faster_way_and_then_take_it(model, accelerated):
    go, made = threading.Event(), []

    def make(network, *rest):
        assert go.wait(10)
        made.append(traced(network, *rest))
        return made[-1]

    faster = accelerated(Way("tracing", make))
    with torch.no_grad():
        expected = model.unet(*inputs())
        assert torch.equal(faster.model.unet(*inputs()), expected)
        end = time.monotonic() + 10
        while "eager, making tracing of the denoiser" not in faster.in_use and time.monotonic() < end:
            time.sleep(0.01)
        assert not made and "eager, making tracing of the denoiser" in faster.in_use
        go.set()
        assert faster.settle(20) and faster.in_use == "tracing"
        assert torch.allclose(faster.model.unet(*inputs()), expected, atol=1e-5) and len(made) == 1
        assert torch.equal(faster.model.unet(*inputs(2)), model.unet(*inputs(2)))  # of another shape: as it is, for now
        assert faster.settle(20) and len(made) == 2
        pixels = torch.rand(1, 3, 64, 64)
        faster.model.codec.encode(pixels)
        assert faster.settle(20)
        assert torch.allclose(faster.model.codec.encode(pixels), model.codec.encode(pixels), atol=1e-5) and len(made) == 3


@TRACED
def test_what_fails_or_gives_something_else_is_left_out(accelerated, caplog):
    def fails(*_):
        raise RuntimeError("no such\nkernel")

    def wrong(network, *_):
        return lambda *tensors: 1.2 * network(*tensors)

    faster = accelerated(Way("one", fails), Way("two", wrong), Way("three", traced))
    with caplog.at_level(logging.ERROR), torch.no_grad():
        faster.model.unet(*inputs())
        assert faster.settle(20)
    assert (
        faster.in_use
        == "three; one does not work here: no such kernel; two does not work here: the results of the denoiser differ by 20.0%"
    )
    lonely = accelerated(Way("one", fails))
    with caplog.at_level(logging.ERROR), torch.no_grad():
        for _ in range(2):
            lonely.model.unet(*inputs())
            assert lonely.settle(20)
    assert lonely.in_use == "eager; one does not work here: no such kernel"


def test_a_way_that_fails_later_is_left_for_all(model, accelerated, caplog):
    def small(network, signature, sample, progress):
        if len(sample[0]) > 1:
            raise ValueError("too many rows")
        return network

    faster = accelerated(Way("small", small), Way("plain", lambda network, *_: network))
    with caplog.at_level(logging.ERROR), torch.no_grad():
        for rows, used in ((1, "small"), (2, "plain; small does not work here: too many rows"), (1, "plain; small does")):
            faster.model.unet(*inputs(rows))
            assert faster.settle(20) and faster.in_use.startswith(used)
        assert torch.equal(faster.model.unet(*inputs(1)), model.unet(*inputs(1)))


def test_a_way_that_fails_at_work_is_left_for_those_inputs(model, accelerated, caplog):
    broken, made = threading.Event(), []

    def fragile(network, signature, *_):
        made.append(signature)

        def run(*tensors):
            if broken.is_set() and len(tensors[0]) == 1:
                raise RuntimeError("no more\nmemory")
            return 1.01 * network(*tensors)

        return run

    faster = accelerated(Way("way", fragile))
    with caplog.at_level(logging.ERROR), torch.no_grad():
        for rows in (1, 2):
            faster.model.unet(*inputs(rows))
            assert faster.settle(20)
        broken.set()
        for _ in range(2):
            assert torch.equal(faster.model.unet(*inputs(1)), model.unet(*inputs(1)))
            assert torch.equal(faster.model.unet(*inputs(2)), 1.01 * model.unet(*inputs(2)))
    assert faster.in_use == "way; way failed at work: no more memory" and len(made) == 2


def test_what_is_put_into_a_network_to_trace_it_is_not_seen_by_frames(model, accelerated):
    go, traced = threading.Event(), threading.Event()

    def make(network, *_):
        layer = network.network.network.conv_in
        weight, shared = layer.weight, model.unet.network.conv_in.weight
        assert weight.data_ptr() == shared.data_ptr() and all(not one.training for one in network.modules())
        layer.weight = torch.nn.Parameter(torch.zeros_like(weight))
        traced.set()
        assert go.wait(10)
        layer.weight = weight
        return network

    faster = accelerated(Way("way", make))
    with torch.no_grad():
        expected = faster.model.unet(*inputs())
        assert traced.wait(10) and torch.equal(faster.model.unet(*inputs()), expected)
        go.set()
        assert faster.settle(20) and faster.in_use == "way" and torch.equal(faster.model.unet(*inputs()), expected)


def test_what_gives_what_it_gave_before_is_left_out(accelerated, caplog):
    def stuck(network, signature, sample, progress):
        found = network(*sample)
        return lambda *tensors: found

    faster = accelerated(Way("one", stuck))
    with caplog.at_level(logging.ERROR), torch.no_grad():
        faster.model.unet(*inputs())
        assert faster.settle(20) and "the results of the denoiser differ" in faster.in_use


def test_in_a_process_one_is_made_at_a_time(accelerated):
    at_work, most = [], []

    def make(network, *_):
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.05)
        at_work.pop()
        return network

    several = [accelerated(Way("way", make)) for _ in range(3)]
    with torch.no_grad():
        for one in several:
            one.model.unet(*inputs())
        assert all(one.settle(20) and one.in_use == "way" for one in several)
    assert most == [1, 1, 1]


def test_one_that_is_closed_stops_what_can_be_stopped(accelerated):
    began = threading.Event()

    def make(network, signature, sample, progress):
        began.set()
        while progress(0.5):
            time.sleep(0.01)
        raise RuntimeError("not finished")

    faster = accelerated(Way("way", make))
    with torch.no_grad():
        faster.model.unet(*inputs())
    assert began.wait(10)
    faster.close()
    assert not faster._thread.is_alive() and faster.faults == []


def test_any_number_of_shapes_is_compiled(monkeypatch):
    counted, compile = [], torch.compile

    def backend(graph, sample):
        counted.append(sample)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda network, **how: compile(network, dynamic=False, backend=backend))
    with torch.no_grad():
        for rows in range(1, 11):
            network, sample = Flat(torch.nn.Linear(rows, 3), ["0"]), [torch.randn(2, rows)]
            run = acceleration.compiled(network, Signature.of(sample), sample, lambda fraction: True)
            assert torch.equal(run(*sample), network(*sample)) and len(counted) == rows


def test_nothing_is_waited_for_once_it_is_closed(model, accelerated):
    faster = accelerated(Way("way", lambda network, *_: network))
    faster.close()
    with torch.no_grad():
        assert torch.equal(faster.model.unet(*inputs()), model.unet(*inputs())) and faster.settle(0)


def test_not_all_shapes_are_kept(accelerated, monkeypatch):
    monkeypatch.setattr(acceleration, "KEPT", 2)
    made = []

    def make(network, signature, *_):
        made.append(signature.shapes[0][1][0])
        return network

    faster = accelerated(Way("way", make))
    with torch.no_grad():
        for rows in (1, 2, 3, 2, 1):
            faster.model.unet(*inputs(rows))
            assert faster.settle(20)
    assert made == [1, 2, 3, 1]


def test_what_is_tried_depends_on_what_is_asked_for(model):
    names = lambda kind, device="cpu": [way.name for way in ways(kind, replace(model, device=torch.device(device)))]
    assert names("eager") == names("auto") == [] and names("auto", "cuda") == ["CUDA graphs"]
    assert names("compile") == ["torch.compile", "CUDA graphs"]
    assert names("tensorrt") == ["TensorRT", "torch.compile", "CUDA graphs"]
    with pytest.raises(ValueError, match="expected one of auto, eager"):
        ways("magic", model)


@pytest.mark.parametrize(("kind", "fault"), [("graphs", "CUDA graphs does not"), ("tensorrt", "not installed: pip install tensorrt-cu13")])
def test_without_a_gpu_networks_run_as_they_are(model, accelerated, kind, fault, caplog):
    faster = accelerated(ways(kind, model)[0])
    with caplog.at_level(logging.ERROR), torch.no_grad():
        assert torch.equal(faster.model.unet(*inputs()), model.unet(*inputs()))
        assert faster.settle(20) and faster.in_use.startswith("eager; ") and fault in faster.in_use
        assert torch.equal(faster.model.unet(*inputs()), model.unet(*inputs()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_a_compiled_model_does_what_it_did(model, accelerated):
    faster = accelerated(*ways("compile", model)[:1])
    with torch.no_grad():
        latents = torch.randn(1, 4, 8, 8)
        expected = model.unet(*inputs()), model.codec.decode(latents)
        faster.model.unet(*inputs()), faster.model.codec.decode(latents)
        assert faster.settle(300) and faster.in_use == "torch.compile"
        assert torch.allclose(faster.model.unet(*inputs()), expected[0], atol=1e-4)
        assert torch.allclose(faster.model.codec.decode(latents), expected[1], atol=1e-4)


# Files


def agrees(network: Flat, sample, folder, off: float = 1e-5) -> None:
    """The file of `network` gives what it gives, for several numbers of rows."""
    import onnxruntime

    export(network, [tensor[:1] for tensor in sample], folder / "network.onnx")
    session = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    for rows in (1, 2, 5):
        tensors = [tensor[:rows] for tensor in sample]
        given = dict(zip(input_names(network), (tensor.numpy() for tensor in tensors), strict=True))
        with torch.no_grad():
            expected = network(*tensors)
        (found,) = session.run(None, given)
        assert np.abs(found - expected.numpy()).max() <= off * max(1, float(expected.abs().max()))


def test_the_autoencoder_in_files(tmp_path):
    vae = tiny_diffusion.vae()
    agrees(Flat(Encoder(vae), ["0"]), [torch.rand(5, 3, 64, 48)], tmp_path)
    agrees(Flat(Decoder(vae), ["0"]), [torch.randn(5, 4, 8, 6)], tmp_path)


def test_halves_as_they_are_on_a_gpu_in_a_file(tmp_path):
    vae = tiny_diffusion.vae().half()  # with types that do not fit one another it would not be read
    agrees(Flat(Encoder(vae), ["0"]), [torch.rand(5, 3, 64, 48)], tmp_path, 5e-3)
    agrees(Flat(Decoder(vae), ["0"]), [torch.randn(5, 4, 8, 6)], tmp_path, 5e-3)


@pytest.mark.slow
def test_a_denoiser_in_halves_in_a_file(tmp_path):
    given = inputs(5)
    network = tiny_diffusion.unet().half().to(memory_format=torch.channels_last)
    agrees(Flat(Denoiser(network), [name for name, _ in flat(given)]), [tensor for _, tensor in flat(given)], tmp_path, 1e-2)


def test_a_denoiser_in_a_file(tmp_path):
    blocks = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",), "block_out_channels": (16,)}
    given = inputs(5)
    agrees(
        Flat(Denoiser(tiny_diffusion.unet(**blocks)), [name for name, _ in flat(given)]), [tensor for _, tensor in flat(given)], tmp_path
    )


@pytest.mark.slow
def test_a_denoiser_with_its_controlnet_in_a_file(tmp_path):
    network = tiny_diffusion.unet()
    denoiser = Denoiser(network, {"depth": tiny_diffusion.controlnet(network)}).eval()
    given = inputs(5)
    given[2].update({"depth": torch.rand(5, 3, 64, 96), "depth scale": torch.rand(5)})
    agrees(Flat(denoiser, [name for name, _ in flat(given)]), [tensor for _, tensor in flat(given)], tmp_path)


@pytest.mark.slow
def test_a_denoiser_of_sdxl_in_a_file(tmp_path):
    network = tiny_diffusion.unet(**tiny_diffusion.LIKE_SDXL)
    given = inputs(5)
    given[2].update({"pooled": torch.randn(5, 16)})
    agrees(Flat(Denoiser(network).eval(), [name for name, _ in flat(given)]), [tensor for _, tensor in flat(given)], tmp_path)


def test_more_rows_than_an_engine_takes_go_through_it_in_parts(model):
    taken = []
    run = engines.in_parts(
        lambda *tensors: (taken.append({len(one) for one in tensors}), model.unet(*tensors[:2], {"tokens": tensors[2]}))[1], 4
    )
    for rows, parts in ((1, [1]), (4, [4]), (5, [4, 1]), (12, [4, 4, 4])):
        taken.clear()
        given = inputs(rows)
        with torch.no_grad():
            found, expected = run(*(tensor for _, tensor in flat(given))), model.unet(*given)
        assert torch.allclose(found, expected, atol=1e-5) and taken == [{part} for part in parts]


def test_an_engine_is_another_for_another_network_size_or_machine(model, tmp_path, monkeypatch):
    names = [name for name, _ in flat(inputs())]
    network = Flat(tiny_diffusion.unet(), names)
    key = lambda given=None, gpu="H100", release="11.4": engines.key(network, Signature.of(given or inputs()), gpu, release)
    first = key()
    assert first == key() == key(inputs(4))  # any number of rows
    others = {key(inputs(height=16)), key(gpu="A100"), key(release="10.16")}
    with torch.no_grad():
        network.network.conv_in.weight[0, 0, 0, 0] += 1e-6
        others.add(key())
        network.network.conv_in.weight.copy_(network.network.conv_in.weight.flip(0))
        others.add(key())
    assert len(others | {first}) == 6
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engines.folder() == tmp_path / "splatview" / "engines"
