"""Styles of ONNX files: whatever their sizes, channels and values, they are shown sRGB and give it back; other files are refused."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import tiny_onnx
from onnx import TensorProto, helper, load_model_from_string
from stylized_frames import clouds, frame
from tiny_onnx import SWAP, halves, mixed, model, picture, resized, then, without_mean

from splatview import extras
from splatview.extras import MissingExtra
from splatview.frame import Interrupted
from splatview.stylize import onnx_model
from splatview.stylize.onnx_graph import IMAGENET, read
from splatview.stylize.onnx_model import OnnxNetwork, load_network
from splatview.stylize.onnx_style import Declared, OnnxStyle, Redrawing, open_onnx

RGB8 = clouds(90, 120)
STYLES = ("fns_candy", "fns_mosaic")


def network(data, **declared):
    return OnnxNetwork.of(read(data), Declared(**declared), threads=1)


@pytest.mark.parametrize("values", ["0..1", "0..255", "-1..1"])
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_a_network_gets_what_is_declared_and_gives_srgb_back(channels, values):
    """The network makes its first channel negative: red if it has RGB, blue if it has BGR."""
    middle = {"0..1": 1.0, "0..255": 255.0, "-1..1": 0.0}[values]
    redrawn = network(mixed(np.diag([-1, 1, 1]), (middle, 0, 0)), channels=channels, values=values)(RGB8)
    expected = RGB8.astype(float)
    changed = 0 if channels == "RGB" else 2
    expected[..., changed] = 255 - expected[..., changed]
    np.testing.assert_allclose(redrawn, expected, atol=0.02)


@pytest.mark.parametrize(
    "data, values",
    [
        (then("Sigmoid"), "0..1"),
        (then("Tanh"), "0..1"),  # of 0..1 it makes 0..1
        (then("Tanh", matrix=2 * np.eye(3) - 1), "-1..1"),
        (then("Sigmoid", 255.0), "0..255"),
        (mixed(), "0..1"),
        (mixed(200 * np.eye(3)), "0..255"),
    ],
)
def test_values_are_found_by_trial(data, values):
    assert network(data).convention == Declared("RGB", values)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("values", ["0..1", "0..255"])
@pytest.mark.parametrize("operator", ["Sub", "Add"])
def test_a_mean_that_is_taken_off_tells_channels_and_values(channels, values, operator):
    means = IMAGENET[:: 1 if channels == "RGB" else -1] / (1 if values == "0..255" else 255)
    found = network(without_mean(means, operator, -1.0 if operator == "Add" else 1.0))
    assert found.convention == Declared(channels, values)
    np.testing.assert_allclose(found(RGB8), RGB8, atol=0.1)


def test_other_constants_tell_nothing():
    assert read(without_mean((0.5, 0.5, 0.5))).says == Declared()
    assert read(without_mean((0.1, 0.2, 0.3))).says == Declared()


def test_metadata_and_names_tell_channels():
    assert read(mixed(**{"Image.BitmapPixelFormat": "Bgra8", "Image.NominalPixelRange": "Normalized_0_1"})).says == Declared("BGR", "0..1")
    assert read(mixed(**{"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "NominalRange_0_255"})).says == Declared(
        "RGB", "0..255"
    )
    nodes = [helper.make_node("Identity", ["input_bgr"], ["redrawn"])]
    assert read(model(nodes, source=picture("input_bgr"))).says.channels == "BGR"


def test_what_is_declared_counts_more_than_what_the_file_tells():
    data = without_mean(IMAGENET[::-1])
    assert network(data).convention == Declared("BGR", "0..255")
    assert network(data, channels="RGB", values="-1..1").convention == Declared("RGB", "-1..1")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8])
def test_channels_may_come_last_and_numbers_may_be_small(kind):
    source, result = picture(kind=kind, first=False), picture("redrawn", kind=kind, first=False)
    turned = network(model([helper.make_node("Identity", ["picture"], ["redrawn"])], source=source, result=result))
    assert turned.convention.values == ("0..255" if kind == TensorProto.UINT8 else "0..1")
    np.testing.assert_allclose(turned(RGB8), RGB8, atol=0.2)


def test_a_picture_may_come_in_with_channels_first_and_go_out_with_them_last():
    nodes = [helper.make_node("Transpose", ["picture"], ["redrawn"], perm=[0, 2, 3, 1])]
    np.testing.assert_allclose(network(model(nodes, result=picture("redrawn", first=False)))(RGB8), RGB8, atol=0.2)


@pytest.mark.parametrize("times", [1, 2, 3, 5])
def test_sides_are_rounded_up_to_what_the_network_takes(times):
    found = network(halves(times=times))
    assert found.multiple == max(4, 2**times)
    for size in ((64, 64), (65, 127), (90, 120)):
        rgb8 = clouds(*size)
        whole = 2**times
        redrawn = found(rgb8)
        down, across = size[0] // whole, size[1] // whole
        blocks = rgb8[: down * whole, : across * whole].reshape(down, whole, across, whole, 3).mean((1, 3))
        assert redrawn.shape == rgb8.shape
        np.testing.assert_allclose(redrawn[: down * whole : whole, : across * whole : whole], blocks, atol=0.05)


@pytest.mark.parametrize("ends", [{}, {"auto_pad": "VALID"}])
@pytest.mark.parametrize("data", ["transposed", "resized"])
def test_a_size_that_is_written_down_is_left_open(data, ends):
    fixed = halves((96, 128), times=2, ends=ends) if data == "transposed" else resized((96, 128))
    graph = read(fixed)
    found = OnnxNetwork.of(graph, Declared("RGB", "0..1"), threads=1)
    assert graph.source.size == (96, 128) and found.multiple == 4
    assert found(clouds(180, 70)).shape == (180, 70, 3)
    as_it_was = OnnxNetwork(graph, onnx_model._session(graph.model, 1)[0], 0, found.convention)
    rgb8 = clouds(96, 128)
    assert (found(rgb8) == as_it_was(rgb8)).all()


def test_pictures_are_brought_to_a_size_that_cannot_be_left_open():
    found = network(resized((96, 128), shaped=True), values="0..1")
    assert found.multiple == 0
    np.testing.assert_allclose(found(np.full((70, 200, 3), 77, np.uint8)), 77, atol=0.1)


def small(data, **controls):
    return OnnxStyle(network(data, channels="RGB", values="0..1"), Redrawing(**controls))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (90, 120), (359, 641), (3, 400)])
@pytest.mark.parametrize("width", [96, 320])
def test_a_network_that_changes_nothing_leaves_the_frame_as_sharp_as_it_was(size, width):
    rgb8 = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    styled = small(mixed(), width=width).style(frame(rgb8))
    assert styled.dtype == np.uint8 and np.abs(styled.astype(int) - rgb8).max() <= 1


def test_the_strength_is_how_much_of_the_change_is_made():
    rgb8 = clouds(180, 320) // 2 + 64
    changes = [
        small(mixed(0.8 * SWAP, (0.1,) * 3), strength=strength).style(frame(rgb8)).astype(float) - rgb8 for strength in (0, 0.5, 1, 1.5)
    ]
    assert not changes[0].any() and changes[2].std() > 10
    np.testing.assert_allclose(changes[1], 0.5 * changes[2], atol=1.1)
    np.testing.assert_allclose(changes[3], 1.5 * changes[2], atol=1.6)


def test_a_network_sees_no_more_than_its_width_and_never_more_than_the_frame():
    seen = []

    def spy(rgb8):
        seen.append(rgb8.shape[:2])
        return rgb8.astype(np.float32)

    for width in (96, 320, 1920):
        OnnxStyle(spy, Redrawing(width=width)).style(frame(clouds(180, 320)))
    assert seen == [(64, 96), (180, 320), (180, 320)]  # 54 rows are mirrored up to 64


def test_what_is_no_number_changes_nothing():
    styled = OnnxStyle(lambda rgb8: np.full(rgb8.shape, np.nan, np.float32)).style(frame(RGB8))
    assert styled.dtype == np.uint8 and styled.shape == RGB8.shape


def test_a_call_that_is_not_wanted_any_more_ends_soon():
    net, small, large = network(tiny_onnx.slow(), values="0..1", channels="RGB"), clouds(128, 128), clouds(1024, 1024)
    began = time.perf_counter()
    assert (net(small) == pytest.approx(small, abs=0.01)) and not net.calls._now
    quick = time.perf_counter() - began  # of a 64th of the pixels
    style, found = OnnxStyle(net, Redrawing(width=1024)), []

    def call():
        try:
            style.style(frame(large))
        except Interrupted as error:
            found.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    while not net.calls._now:
        time.sleep(0.001)
    time.sleep(quick)
    began = time.perf_counter()
    other = net.again()
    style.close()
    thread.join()
    assert time.perf_counter() - began < 16 * quick and found == ["the network was closed"]
    with pytest.raises(Interrupted, match="was closed"):
        style.style(frame(small))
    np.testing.assert_allclose(other(small), small, atol=0.01)  # which is to be closed by itself


def test_what_fails_by_itself_was_not_told_to_end():
    with pytest.raises(Exception, match="Unexpected input data type") as error:
        net = network(mixed())
        replace(net, graph=replace(net.graph, source=replace(net.graph.source, dtype=np.float64)))(RGB8)
    assert not isinstance(error.value, Interrupted)


def test_controls_have_ends():
    for wrong in ({"width": 8}, {"width": 4000}, {"strength": 2.0}, {"strength": float("nan")}):
        with pytest.raises(ValueError, match=r"^Redrawing\.\w+: expected .* to .*, got .*$"):
            Redrawing(**wrong)


def classifier():
    return model(
        [helper.make_node("Identity", ["picture"], ["redrawn"])],
        result=helper.make_tensor_value_info("redrawn", TensorProto.FLOAT, [1, 1000]),
    )


def two_inputs():
    made = load_model_from_string(mixed())
    made.graph.input.append(picture("style"))
    return made.SerializeToString()


def weights_elsewhere():
    made = load_model_from_string(mixed())
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].ClearField("raw_data")
    entry = made.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return made.SerializeToString()


def unknown_operator():
    return model([helper.make_node("Beautify", ["picture"], ["redrawn"])])


def smaller_output():
    return model(
        [helper.make_node("AveragePool", ["picture"], ["redrawn"], kernel_shape=[2, 2], strides=[2, 2])],
        result=picture("redrawn", ("a", "b")),
    )


BROKEN = {
    "text": (b"a style, not a model\n", "expected an ONNX model"),
    "empty": (b"", "the file is empty"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "expected an ONNX model"),
    "cut short": (mixed()[:-40], "expected an ONNX model"),
    "a classifier": (classifier(), "expected a picture as its output"),
    "two inputs": (two_inputs(), "expected a network with one picture as its input, got 2 inputs: picture, style"),
    "four channels": (mixed(source=picture(channels=4)), r"expected a picture as its input, .*; got picture \[1, 4, \?, \?\]"),
    "integers": (mixed(source=picture(kind=TensorProto.INT64)), "expected a picture of floats or bytes as its input, .* of INT64"),
    "weights elsewhere": (weights_elsewhere(), "its weights lie in another file"),
    "an unknown operator": (unknown_operator(), "the network does not run: .*Beautify"),
    "a smaller output": (smaller_output(), r"the network does not run: of a picture of .* it makes \[64, 128, 3\]"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_style_is_refused_in_one_line(tmp_path, what):
    data, words = BROKEN[what]
    path = tmp_path / "style.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"^{path}: {words}") as error:
        open_onnx(path)
    assert "\n" not in str(error.value)


def test_a_file_of_gigabytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "LARGEST", 1 << 20)
    path = tmp_path / "style.onnx"
    path.write_bytes(bytes((1 << 21) + 1))
    with pytest.raises(ValueError, match="expected an ONNX model of at most 1 MiB, got 2 MiB"):
        open_onnx(path)
    with pytest.raises(FileNotFoundError):
        open_onnx(tmp_path / "none.onnx")


def test_without_its_packages_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"onnx, onnxruntime: pip install 'splatview\[onnx\]'"):
        open_onnx(tmp_path / "style.onnx")


@pytest.mark.parametrize("name", STYLES)
def test_real_styles_are_found_out(data, name):
    found = load_network(data / "weights" / f"{name}.onnx", threads=1)
    assert found.convention == Declared("BGR", "0..255") and found.multiple == 4 and found.graph.source.size == (720, 720)
    redrawn = found(clouds(67, 91))
    assert redrawn.shape == (67, 91, 3) and 20 < redrawn.mean() < 235 and redrawn.std() > 30


@pytest.mark.parametrize("name", STYLES)
def test_real_styles_of_any_size_are_what_they_were_at_theirs(data, name):
    graph = read((data / "weights" / f"{name}.onnx").read_bytes())
    rgb8 = clouds(720, 720)
    convention = Declared("BGR", "0..255")
    pictures = [
        OnnxNetwork(graph, onnx_model._session(one, 1)[0], side, convention)(rgb8) for one, side in ((graph.model, 0), (graph.resizable, 4))
    ]
    assert (pictures[0] == pictures[1]).all()


def test_a_file_that_is_broken_is_told_in_one_line_whatever_is_broken_in_it(tmp_path, capfd):
    """Bytes here and there are others: some do not matter, and what the readers say of the rest has many classes."""
    whole, random, opened = mixed(), np.random.default_rng(0), 0
    for _ in range(150):
        data = bytearray(whole)
        for place in random.integers(0, len(data), random.integers(1, 4)):
            data[place] = random.integers(256)
        (tmp_path / "a.onnx").write_bytes(data)
        try:
            open_onnx(tmp_path / "a.onnx")
            opened += 1
        except ValueError as error:
            assert "a.onnx" in str(error) and "\n" not in str(error)
    assert 0 < opened < 150 and capfd.readouterr() == ("", "")
