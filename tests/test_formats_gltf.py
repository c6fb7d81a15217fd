"""glTF: nothing is lost but the last bit, files of other makers agree, and what a stranger wrote is survived."""

import base64
import copy
import json
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splatview import harmonics
from splatview.formats import gltf, gltf_writer, inria, spz
from splatview.formats.files import Source, open_file
from splatview.formats.gltf_colours import display_harmonics, srgb_from_linear
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity, normalised, rotation_about

MEGABYTE = 1 << 20
HALF_TURN = np.diag([-1.0, -1.0, 1.0])
SPLATTING = "KHR_gaussian_splatting"
ENCODERS = {".glb": gltf_writer.encode_glb, ".gltf": gltf_writer.encode_text}
TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def read(data, folder, name="a.glb", report=None):
    """The layers of a file with these bytes."""
    path = folder / name
    path.write_bytes(data)
    with open_file(path) as content:
        return dict(gltf.read(Source(path, content), report or Report()).layers)


def only(layers):
    [layer] = layers.values()
    return layer.content


def as_glb(document, binary=b""):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def parts(data):
    """The JSON and the binary chunk of a .glb, read by this test alone."""
    (size,) = struct.unpack_from("<I", data, 12)
    return json.loads(bytes(data[20 : 20 + size])), bytes(data[28 + size :])


def tables(data):
    """The attributes of the first primitive of a .glb by name, as they lie there."""
    document, binary = parts(data)
    result = {}
    for name, index in document["meshes"][0]["primitives"][0]["attributes"].items():
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        width = WIDTHS[accessor["type"]]
        flat = np.frombuffer(binary, TYPES[accessor["componentType"]], accessor["count"] * width, view["byteOffset"])
        result[name] = flat.reshape(-1, width)
    return result


def built(columns, extension=None, **more):
    """A .glb's document and binary chunk: one primitive with `columns` {name: array [N, width] or (array, normalised)}."""
    binary, views, accessors, attributes = b"", [], [], {}
    for name, column in columns.items():
        array, normalised_too = column if isinstance(column, tuple) else (column, False)
        kind = next(kind for kind, width in WIDTHS.items() if width == array.shape[1])
        component = next(code for code, dtype in TYPES.items() if np.dtype(dtype) == array.dtype)
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": array.nbytes})
        accessor = {"bufferView": len(views) - 1, "componentType": component, "count": len(array), "type": kind}
        accessors.append(accessor | ({"normalized": True} if normalised_too else {}))
        attributes[name] = len(views) - 1
        binary += array.tobytes() + bytes(-array.nbytes % 4)
    primitive = {"attributes": attributes, "mode": 0}
    if extension is not None:
        primitive["extensions"] = {SPLATTING: extension}
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    return {**document, **more}, binary


def columns(count=3, **changed):
    rng = np.random.default_rng(0)
    floats = lambda *shape: rng.random(shape).astype("<f4")
    names = {"ROTATION": floats(count, 4), "SCALE": floats(count, 3), "OPACITY": floats(count, 1), "SH_DEGREE_0_COEF_0": floats(count, 3)}
    return {"POSITION": floats(count, 3), **{f"{SPLATTING}:{name}": changed.get(name, array) for name, array in names.items()}}


SPLATS = {"colorSpace": "srgb_rec709_display", "kernel": "ellipse"}


def hard(splats):
    """`splats` with the ends of every range in the first rows."""
    arrays = {name: getattr(splats, name).copy() for name in ("quats", "log_scales", "opacity_logits")}
    arrays["opacity_logits"][:6] = [np.inf, -np.inf, 1e30, -1e30, 15, -80]
    arrays["log_scales"][:4] = np.array([[-np.inf], [-1e30], [-87], [88]])
    arrays["quats"][:2] = [[1e30, 0, 0, 1e30], [0, 0, -1e-30, 0]]
    return replace(splats, **arrays)


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_round_trip_loses_the_last_bit_at_most(random_gaussians, tmp_path, suffix, degree):
    truth = hard(random_gaussians(20_000, degree))
    again = only(read(bytes(ENCODERS[suffix](truth)), tmp_path, f"a{suffix}"))
    np.testing.assert_array_equal(again.means, truth.means)
    np.testing.assert_array_equal(again.sh, truth.sh)
    np.testing.assert_array_equal(again.quats, normalised(truth.quats.astype(np.float64)).astype(np.float32))
    np.testing.assert_allclose(again.log_scales, np.clip(truth.log_scales, np.log(np.finfo(np.float32).tiny), 88.72), rtol=3e-7, atol=3e-7)
    assert np.isfinite(again.opacity_logits).all()
    np.testing.assert_allclose(again.opacities, truth.opacities, atol=1e-7)
    logits = truth.opacity_logits[6:]
    np.testing.assert_allclose(again.opacity_logits[6:], logits, rtol=3e-7, atol=3e-7 + 2**-24 * np.exp(np.max(logits)))
    assert abs(again.opacity_logits[5] - -80) < 1e-4


def test_the_file_is_what_the_extension_says(random_gaussians):
    truth = random_gaussians(500, 3)
    data = bytes(gltf_writer.encode_glb(truth))
    document, binary = parts(data)
    held = tables(data)
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data)) and len(data) % 4 == 0
    assert document["extensionsUsed"] == [SPLATTING] and document["buffers"] == [{"byteLength": len(binary)}]
    np.testing.assert_allclose(held["POSITION"], truth.means @ HALF_TURN.T)
    np.testing.assert_array_equal(document["accessors"][0]["min"], held["POSITION"].min(0))
    np.testing.assert_array_equal(document["accessors"][0]["max"], held["POSITION"].max(0))
    turned = truth.transformed(Similarity((0, 0, 0, 1)))
    xyzw, expected = held[f"{SPLATTING}:ROTATION"], np.roll(normalised(turned.quats), -1, 1)
    np.testing.assert_allclose(np.abs((xyzw * expected).sum(1)), 1, atol=1e-6)
    np.testing.assert_allclose(held[f"{SPLATTING}:SCALE"], truth.scales, rtol=1e-6)
    np.testing.assert_allclose(held[f"{SPLATTING}:OPACITY"][:, 0], truth.opacities, atol=1e-7)
    np.testing.assert_allclose(held["COLOR_0"] / 255, np.clip(np.c_[truth.colours, truth.opacities], 0, 1), atol=0.501 / 255)
    for degree in range(4):
        for k in range(2 * degree + 1):
            coefficient = held[f"{SPLATTING}:SH_DEGREE_{degree}_COEF_{k}"]
            np.testing.assert_allclose(coefficient, turned.sh[:, degree * degree + k], atol=1e-5)
    assert len(held) == 5 + 16


@pytest.mark.parametrize("kind", ["classic", "antialiased", "2dgs"])
def test_the_kind_of_model_stands_in_the_extras(random_gaussians, tmp_path, kind):
    report = Report()
    data = bytes(gltf_writer.encode_glb(random_gaussians(5, 1, kind=kind), report))
    assert only(read(data, tmp_path)).kind == kind
    assert any("kind of model" in note for note in report.notes) == (kind != "classic")


def test_degree_4_is_refused_with_the_option_that_helps(random_gaussians):
    with pytest.raises(ValueError, match="max_sh=3"):
        gltf_writer.encode_glb(random_gaussians(3, 4))


def test_what_is_no_number_is_left_out_and_noted(random_gaussians, tmp_path):
    splats, report = random_gaussians(60, 1), Report()
    means = splats.means.copy()
    means[3, 1] = np.nan
    data = bytes(gltf_writer.encode_glb(replace(splats, means=means), report))
    assert len(only(read(data, tmp_path))) == 59 and "1 Gaussians" in report.notes[0]


# --- files of other makers ------------------------------------------------------------------------------------


def from_data(path, report=None):
    with open_file(path) as content:
        return dict(gltf.read(Source(path, content), report or Report()).layers)


def test_leica_agrees_with_its_ply(data):
    truth = inria.decode((data / "splats" / "leica-sofort-top8192.ply").read_bytes())
    layers = from_data(data / "splats" / "leica_derived" / "leica.glb")
    read = layers["leica"].content
    assert layers["leica"].placement.is_identity
    np.testing.assert_array_equal(read.means, truth.means)
    np.testing.assert_array_equal(read.sh, truth.sh)
    np.testing.assert_allclose(read.log_scales, truth.log_scales, atol=1e-6)
    np.testing.assert_allclose(read.opacities, truth.opacities, atol=1e-7)
    np.testing.assert_allclose(np.abs((read.quats * normalised(truth.quats)).sum(1)), 1, atol=1e-6)


def test_we_write_what_the_peer_writes(data):
    truth = inria.decode((data / "splats" / "leica-sofort-top8192.ply").read_bytes())
    theirs = tables((data / "splats" / "leica_derived" / "leica.glb").read_bytes())
    ours = tables(bytes(gltf_writer.encode_glb(truth)))
    assert list(ours) == list(theirs)
    for name in ours:
        if name.endswith("ROTATION"):
            np.testing.assert_allclose(np.abs((ours[name] * normalised(theirs[name])).sum(1)), 1, atol=1e-6)
        else:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1 if name == "COLOR_0" else 1e-6)


def test_the_conformance_matrix_loads_and_its_variants_agree(data):
    report = Report()
    layers = from_data(data / "conformance" / "khr_conformance_matrix.gltf", report)
    degrees = {name: layer.content.sh_degree for name, layer in layers.items()}
    assert len(layers) == 15 and all(len(layer.content) == 1 for layer in layers.values())
    assert degrees == {name: int(name[-1]) if name.startswith("sh_degree") else 0 for name in degrees}
    assert any("logarithms" in note for note in report.notes) and any("linear light" in note for note in report.notes)
    content = {name: layer.content for name, layer in layers.items()}
    for name in ("rotation_i8_norm", "rotation_i16_norm"):  # half a turn about x, then about z: half a turn about y
        np.testing.assert_array_equal(np.abs(content[name].quats), [[0, 0, 1, 0]])
    for name, scales in {"scale_f32": [0.2, -0.1, 0.7], "scale_i8": [1, -2, 3], "scale_i8_norm": [1, 0, -1]}.items():
        np.testing.assert_allclose(content[name].log_scales, [scales])
    np.testing.assert_array_equal(content["scale_i16"].log_scales, [[2, -3, 4]])
    np.testing.assert_array_equal(content["scale_i16_norm"].log_scales, [[1, 0, -1]])
    for name, opacity in {"opacity_f32": 0.75, "opacity_u8_norm": 64 / 255, "opacity_u16_norm": 16384 / 65535}.items():
        np.testing.assert_allclose(content[name].opacities, opacity, rtol=1e-6)
    flat = 0.5 + harmonics.C0 * np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(content["rotation_f32"].colours, [srgb_from_linear(flat)], rtol=1e-5)
    np.testing.assert_allclose(content["scale_f32"].colours, [flat], rtol=1e-6)  # the one in sRGB
    np.testing.assert_array_equal(content["scale_f32"].means, [[-1, -2, 3]])


def test_linear_colours_look_the_same_as_srgb(random_gaussians):
    assert np.allclose(srgb_from_linear(np.array([-1, 0, 0.0031308, 0.5, 1])), [0, 0, 0.04045, 0.73536, 1], atol=1e-4)
    sh = np.random.default_rng(0).normal(0, 0.05, (200, 16, 3)).astype(np.float32)
    directions = normalised(np.random.default_rng(1).normal(size=(200, 3)))
    flat, round_about = display_harmonics(sh[:, :1]), display_harmonics(sh)
    np.testing.assert_allclose(harmonics.evaluate(flat, directions), srgb_from_linear(harmonics.evaluate(sh[:, :1], directions)), atol=1e-6)
    np.testing.assert_allclose(harmonics.evaluate(round_about, directions), srgb_from_linear(harmonics.evaluate(sh, directions)), atol=0.02)


def test_an_spz_within_keeps_glTFs_numbers_or_is_turned(data, random_gaussians, tmp_path):
    [layer] = from_data(data / "conformance" / "cesium_spz_basic.glb").values()
    # Cesium's own: raw numbers (1, 2, 3), and a node that turns z up to y up; then our half turn about z.
    np.testing.assert_allclose(layer.placement.apply(layer.content.means), [[-1, -3, -2]], atol=1e-6)
    truth = random_gaussians(50, 2, kind="antialiased")
    packed = spz.encode(truth)
    raw = spz.decode(packed)
    for about, turn in (({}, (0, 0, 0, 1)), (SPLATS, (0, 1, 0, 0))):
        extension = {**about, "extensions": {f"{SPLATTING}_compression_spz_2": {"bufferView": 0}}}
        document, _ = built({"POSITION": np.zeros((50, 3), "<f4")}, extension)
        document["bufferViews"], document["buffers"] = [{"buffer": 0, "byteLength": len(packed)}], [{"byteLength": len(packed)}]
        read_back = only(read(as_glb(document, packed), tmp_path))
        expected = raw.transformed(Similarity(turn))
        assert read_back.kind == "antialiased"
        np.testing.assert_allclose(read_back.means, expected.means)
        np.testing.assert_allclose(read_back.sh, expected.sh, atol=1e-6)


# --- layout ---------------------------------------------------------------------------------------------------


def test_scales_are_linear_unless_one_is_negative(tmp_path):
    linear = np.array([[0.5, 1, 2]] * 3, "<f4")
    assert np.allclose(only(read(as_glb(*built(columns(SCALE=linear), SPLATS)), tmp_path)).log_scales, np.log(linear))
    logs = np.array([[0.5, 1, 2], [1, 1, -1], [0, 0, 0]], "<f4")
    assert np.array_equal(only(read(as_glb(*built(columns(SCALE=logs), SPLATS)), tmp_path)).log_scales, logs)


@pytest.mark.parametrize("opacity", [0.0, 1.0])
def test_the_ends_of_opacity_have_finite_logits(tmp_path, opacity):
    splats = only(read(as_glb(*built(columns(OPACITY=np.full((3, 1), opacity, "<f4")), SPLATS)), tmp_path))
    assert np.isfinite(splats.opacity_logits).all() and np.allclose(splats.opacities, opacity, atol=1e-7)


def test_whole_numbers_stand_for_what_they_should(tmp_path):
    changed = {
        "ROTATION": (np.array([[127, -128, 0, 64]] * 3, "i1"), True),
        "SCALE": (np.array([[32767, 16384, 1]] * 3, "<i2"), True),
        "OPACITY": (np.array([[255], [0], [51]], "u1"), True),
    }
    splats = only(read(as_glb(*built(columns(**changed), SPLATS)), tmp_path))
    np.testing.assert_allclose(splats.quats, [[0, -1, -1, -64 / 127]] * 3, atol=1e-6)
    np.testing.assert_allclose(splats.scales, [[1, 16384 / 32767, 1 / 32767]] * 3, rtol=1e-5)
    np.testing.assert_allclose(splats.opacities, [1, 0, 0.2], atol=1e-6)


def test_interleaved_attributes(random_gaussians, tmp_path):
    truth = random_gaussians(40_000, 1)
    data = bytes(gltf_writer.encode_glb(truth))
    document, held = parts(data)[0], list(tables(data).values())
    rows = np.concatenate([np.ascontiguousarray(table).view(np.uint8).reshape(len(truth), -1) for table in held], 1)
    offsets = np.cumsum([0, *(table.shape[1] * table.itemsize for table in held)])
    document["bufferViews"] = [{"buffer": 0, "byteLength": rows.size, "byteStride": rows.shape[1]}]
    for accessor, offset in zip(document["accessors"], offsets, strict=False):
        accessor |= {"bufferView": 0, "byteOffset": int(offset)}
    one, other = only(read(data, tmp_path)), only(read(as_glb(document, rows.tobytes()), tmp_path))
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_nodes_place_their_meshes(tmp_path):
    document, binary = built(columns(), SPLATS)
    turn = rotation_about([1, 2, 3], 1.0)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 2 * turn, [5, 6, 7]
    half = np.sqrt(0.5)
    document["nodes"] = [
        {"children": [1, 2], "matrix": matrix.T.ravel().tolist()},
        {"mesh": 0, "translation": [1, 0, 0], "rotation": [0, half, 0, half], "scale": [3, 3, 3], "name": "left\n\u202e chair"},
        {"mesh": 0},
        {"mesh": 0, "name": "of another scene"},
    ]
    document["meshes"][0]["name"] = "chair"
    layers = read(as_glb(document, binary), tmp_path)
    assert list(layers) == ["left chair", "chair"]
    assert layers["left chair"].content is layers["chair"].content
    own = np.frombuffer(binary, "<f4", 9).reshape(3, 3)
    quarter = rotation_about([0, 1, 0], np.pi / 2)
    worlds = [own @ (3 * quarter).T + [1, 0, 0], own]
    for layer, world in zip(layers.values(), worlds, strict=True):
        expected = (world @ (2 * turn).T + [5, 6, 7]) @ HALF_TURN
        np.testing.assert_allclose(layer.placement.apply(layer.content.means), expected, rtol=1e-5)


def test_a_single_layer_is_named_by_the_file_and_several_get_numbers(tmp_path):
    document, binary = built(columns(), SPLATS)
    document["nodes"][0]["name"] = "node"
    assert list(read(as_glb(document, binary), tmp_path, "my.chair.glb")) == ["my.chair"]
    document["meshes"][0]["primitives"] *= 3
    assert list(read(as_glb(document, binary), tmp_path)) == ["node", "node 2", "node 3"]


@pytest.mark.parametrize("scale", [[1, 2, 1], [-1, 1, 1], [0, 0, 0], [1e30, 1e-30, 1]])
def test_a_node_that_stretches_or_mirrors_is_refused(tmp_path, scale):
    document, binary = built(columns(), SPLATS, nodes=[{"mesh": 0, "scale": scale, "name": "bent"}])
    with pytest.raises(ValueError, match=r"'bent'.*uniform scale.*before exporting"):
        read(as_glb(document, binary), tmp_path)


def test_plain_points_become_small_splats(tmp_path):
    linear = np.array([[0, 0.5, 1, 1]] * 3, "<f4")
    report = Report()
    splats = only(read(as_glb(*built({"POSITION": columns()["POSITION"], "COLOR_0": linear})), tmp_path, report=report))
    np.testing.assert_allclose(splats.colours, [srgb_from_linear(np.array([0, 0.5, 1]))] * 3, atol=1e-6)
    assert "plain point cloud" in report.notes[0] and (splats.opacities > 0.9).all()


def test_meshes_are_said_to_be_meshes(tmp_path):
    document, binary = built(columns(), SPLATS)
    triangles = {"attributes": {"POSITION": 0}}
    report = Report()
    document["meshes"][0]["primitives"].append(triangles)
    assert len(read(as_glb(document, binary), tmp_path, report=report)) == 1 and "1 meshes in the file are not shown" in report.notes[0]
    document["meshes"][0]["primitives"] = [triangles]
    with pytest.raises(ValueError, match=r"expected Gaussian splats.*found 1 meshes"):
        read(as_glb(document, binary), tmp_path)


def test_what_the_extension_does_not_name_is_noted(tmp_path):
    report = Report()
    about = {"kernel": "cone", "colorSpace": "acescg", "projection": ["perspective"]}
    read(as_glb(*built(columns(), about)), tmp_path, report=report)
    assert [word for note in report.notes for word in ("cone", "acescg", "list") if word in note] == ["cone", "list", "acescg"]


@pytest.mark.parametrize("name", ["SCALE", "ROTATION", "OPACITY", "SH_DEGREE_0_COEF_0", "SH_DEGREE_2_COEF_1"])
def test_missing_attributes_are_named(tmp_path, name):
    held = columns()
    held |= {f"{SPLATTING}:SH_DEGREE_{l}_COEF_{k}": held["POSITION"] for l in (1, 2) for k in range(2 * l + 1)}
    del held[f"{SPLATTING}:{name}"]
    with pytest.raises(ValueError, match=f"1 are missing: .*{name}"):
        read(as_glb(*built(held, SPLATS)), tmp_path)


# --- files beside, and addresses ------------------------------------------------------------------------------


def test_a_buffer_may_lie_beside_the_file_and_nowhere_else(tmp_path):
    document, binary = built(columns(), SPLATS)
    folder = tmp_path / "scene"
    (folder / "with space").mkdir(parents=True)
    (folder / "with space" / "a.bin").write_bytes(binary)
    (tmp_path / "outside.bin").write_bytes(binary)
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")

    def attempt(uri):
        document["buffers"][0]["uri"] = uri
        return read(json.dumps(document).encode(), folder, "a.gltf")

    assert len(only(attempt("with%20space/a.bin"))) == 3
    for uri in ("../outside.bin", "%2e%2e/outside.bin", str(tmp_path / "outside.bin"), "link.bin", "//host/a.bin"):
        with pytest.raises(ValueError, match="expected the name of a file in"):
            attempt(uri)
    for uri in ("http://127.0.0.1/a.bin", "file:///etc/passwd", "C:\\a.bin", "ftp:a"):
        with pytest.raises(ValueError, match="found the address"):
            attempt(uri)
    for uri in ("missing.bin", "x" * 5000, "\ud800.bin", "a.bin/" * 900):
        with pytest.raises(ValueError, match="cannot open the buffer"):
            attempt(uri)
    for uri in ("with space", "a\0b"):
        with pytest.raises(ValueError):
            attempt(uri)
    with pytest.raises(ValueError, match=r"bytes in buffer 0, found 3"):
        (folder / "short.bin").write_bytes(b"abc")
        attempt("short.bin")


@pytest.mark.parametrize(
    "uri", ["data:;base64,AA=A", "data:,AAAA", "data:text/plain;base64", "data:;base64,A", "data:;base64,!!!!", "data:#0"]
)
def test_embedded_buffers_that_are_no_base64(tmp_path, uri):
    document, _ = built(columns(), SPLATS)
    document["buffers"][0]["uri"] = uri
    with pytest.raises(ValueError, match="base64"):
        read(json.dumps(document).encode(), tmp_path, "a.gltf")
    escaped = json.dumps(document).replace('"data:', '"\\u0064ata:').encode()
    with pytest.raises(ValueError, match="base64"):
        read(escaped, tmp_path, "a.gltf")


def test_slashes_may_be_escaped(tmp_path):
    document, binary = built(columns(), SPLATS)
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    assert len(only(read(b"\xef\xbb\xbf" + json.dumps(document).replace("/", "\\/").encode(), tmp_path, "a.gltf"))) == 3


# --- strangers ------------------------------------------------------------------------------------------------


def small_scene():
    rng = np.random.default_rng(0)
    return Gaussians(*(rng.normal(size=size) for size in ((3, 3), (3, 4), (3, 3), (3,), (3, 4, 3))))


FILES = {suffix: bytes(encode(small_scene())) for suffix, encode in ENCODERS.items()}
files = pytest.mark.parametrize("suffix", FILES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gltf")


def survived(data, folder, suffix=".glb"):
    """Whether the file is read; ValueError is the only way to refuse it."""
    try:
        layers = read(data, folder, f"a{suffix}")
    except ValueError as error:
        assert str(error)
        return False
    return all(len(layer.content) > 0 for layer in layers.values())


def refused(data, folder, suffix=".glb", megabytes=2):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as error:
            read(data, folder, f"a{suffix}")
        assert tracemalloc.get_traced_memory()[1] < len(data) + megabytes * MEGABYTE
    finally:
        tracemalloc.stop()
    assert len(str(error.value)) < 500
    return str(error.value)


@files
def test_every_shorter_file_is_refused(folder, suffix):
    assert survived(FILES[suffix], folder, suffix)
    for length in range(len(FILES[suffix])):
        assert not survived(FILES[suffix][:length], folder, suffix), length


@files
@given(data=st.data())
def test_flipped_bits_are_survived(folder, suffix, data):
    damaged = bytearray(FILES[suffix])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    survived(bytes(damaged), folder, suffix)


@files
@given(data=st.data())
def test_overwritten_stretches_are_survived(folder, suffix, data):
    good = FILES[suffix]
    at = data.draw(st.integers(0, len(good)))
    words = [b"\xff" * 32, bytes(32), b"4294967296", b"-1", b"1e999", b"NaN", b'"', b"null"]
    junk = data.draw(st.binary(max_size=40) | st.sampled_from(words))
    survived(good[:at] + junk + good[at + data.draw(st.integers(0, len(junk))) :], folder, suffix)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([2**32, 2**53, 2**64, -1, 10**400])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("Kat"), inner, max_size=2))


@given(data=st.data())
def test_any_value_of_the_json_may_be_anything(folder, data):
    document, binary = parts(FILES[".glb"])
    document["nodes"] = [{"mesh": 0, "children": [1]}, {"rotation": [0, 0, 0, 1], "scale": [1, 1, 1], "translation": [0, 0, 0]}]
    document["bufferViews"][0] |= {"byteStride": 12}
    places = []  # (container, key) of everything in the file

    def visit(part):
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list):
                visit(part[key])

    visit(document)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places))
        container[key] = data.draw(values)
    survived(as_glb(document, binary), folder)


@pytest.mark.parametrize("count", [0, 4, 2**31, 2**32, 2**53, 2**63, -1, 1.0, True, "3", None, [3]])
def test_wrong_counts_are_refused(folder, count):
    document, binary = built(columns(), SPLATS)
    for accessor in document["accessors"]:
        accessor["count"] = count
    assert "expected" in refused(as_glb(document, binary), folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("accessors", 0, "byteOffset"), 2**52),
        (("accessors", 0, "bufferView"), 99),
        (("accessors", 0, "sparse"), {"count": 1}),
        (("accessors", 0, "type"), "MAT4"),
        (("accessors", 0, "componentType"), 5130),
        (("accessors", 0, "count"), 2),
        (("bufferViews", 0, "byteLength"), 10**6),
        (("bufferViews", 0, "byteOffset"), 10**6),
        (("bufferViews", 0, "byteStride"), 4),
        (("bufferViews", 0, "extensions"), {"EXT_meshopt_compression": {}}),
        (("buffers", 0, "byteLength"), 10**9),
        (("buffers", 0, "uri"), 5),
        (("nodes", 0, "mesh"), -1),
        (("nodes", 0, "children"), [0]),
        (("nodes", 0, "matrix"), [1] * 15),
        (("nodes", 0, "rotation"), [0, 0, 0, float("1e300")]),
        (("nodes", 0, "name"), 5),
        (("scenes", 0, "nodes"), [0, 0]),
        (("scene",), 5),
        (("asset", "version"), "1.0"),
        (("meshes", 0, "primitives", 0, "mode"), -1),
        (("meshes", 0, "primitives", 0, "extensions"), {"KHR_draco_mesh_compression": {}}),
    ],
    ids=str,
)
def test_what_does_not_hold_together_is_refused(folder, path, value):
    document, binary = built(columns(), SPLATS)
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    assert "glTF: " in refused(as_glb(document, binary), folder)


def test_cycles_and_trees_that_grow_are_refused(folder):
    document, binary = built(columns(), SPLATS)
    document["nodes"] = [{"mesh": 0, "children": [1]}, {"children": [0]}]
    assert "twice" in refused(as_glb(document, binary), folder)
    document["nodes"] = [{"children": [i + 1, i + 1]} for i in range(60)] + [{"mesh": 0}]
    assert "twice" in refused(as_glb(document, binary), folder)
    document["nodes"] = [{"children": [i + 1], "scale": [1e30] * 3} for i in range(3000)] + [{"mesh": 0}]
    assert "finite matrix" in refused(as_glb(document, binary), folder, megabytes=8)
    document["nodes"] = [{"mesh": 0} for _ in range(2000)]
    document["scenes"] = [{"nodes": list(range(2000))}]
    assert "at most 1000 objects" in refused(as_glb(document, binary), folder, megabytes=8)


def test_attributes_that_share_an_accessor_do_not_add_up(folder):
    count = 4 * MEGABYTE
    document, _ = built({"POSITION": np.zeros((1, 3), "u1")}, SPLATS)
    names = [f"{SPLATTING}:{name}" for name in ("ROTATION", "SCALE", "OPACITY")] + [gltf.harmonic_name(k) for k in range(25)]
    document["meshes"][0]["primitives"][0]["attributes"] = {"POSITION": 0, **dict.fromkeys(names, 0)}
    document["accessors"] = [document["accessors"][0] | {"count": count}] * 3
    document["accessors"][1] = document["accessors"][0] | {"type": "VEC4", "count": count}
    document["accessors"][2] = document["accessors"][0] | {"type": "SCALAR", "count": count}
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    attributes[names[0]], attributes[names[2]] = 1, 2
    document["bufferViews"][0]["byteLength"] = document["buffers"][0]["byteLength"] = 4 * count
    data = as_glb(document, bytes(4 * count))
    assert "cannot honestly hold" in refused(data, folder)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused(folder, opening):
    assert "RecursionError" in refused((opening * 200_000).encode(), folder, ".gltf")


def test_large_json_is_refused(folder):
    assert "at most" in refused(b'{"a": [' + b"[]," * (3 * MEGABYTE) + b"[]]}", folder, ".gltf", megabytes=10)
    assert "at most" in refused(b'{"a": [' + b'"data:",' * MEGABYTE + b"[]]}", folder, ".gltf", megabytes=10)
    bomb = struct.pack("<4sIII4s", b"glTF", 2, 2**24 + 20, 2**24, b"JSON") + b" " * 2**24
    assert "JSON chunk" in refused(bomb, folder)


VERSION = b'{"asset": {"version": "2.0"}}'


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{}", b'{"asset": 5}', VERSION, b"\xff\xfe", b'{"a": NaN}', b"1" * 5000])
def test_json_of_something_else_is_refused(folder, text):
    assert "glTF: " in refused(text, folder, ".gltf")


@pytest.mark.parametrize(("at", "value"), [(4, 1), (4, 3), (8, 10), (8, 2**32 - 1), (12, 2**32 - 1), (12, 4), (16, 0)])
def test_wrong_headers_of_a_glb_are_refused(folder, at, value):
    changed = bytearray(FILES[".glb"])
    struct.pack_into("<I", changed, at, value)
    assert "gl" in refused(bytes(changed), folder)


def test_numbers_that_are_none_stay_findable(folder):
    document, binary = built(columns(), SPLATS)
    splats = only(read(as_glb(document, np.full(len(binary) // 4, np.nan, "<f4").tobytes()), folder))
    assert np.isnan(splats.means).all() and np.isnan(splats.opacity_logits).all()
    copied = copy.deepcopy(document)
    copied["meshes"][0]["primitives"][0].pop("extensions")
    with pytest.raises(ValueError, match="finite coordinates"):
        read(as_glb(copied, np.full(len(binary) // 4, np.nan, "<f4").tobytes()), folder)
