"""The INRIA ply: what plyfile writes is read as it is, and what is written is what INRIA writes."""

import io

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from splatview.formats import inria, ply
from splatview.formats.report import Report

ARRAYS = ("means", "quats", "log_scales", "opacity_logits", "sh")


def same(a, b):
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ARRAYS) and a.kind == b.kind


def canonical(count, degree, seed=0):
    """An INRIA file [bytes] and its columns by name, made here with numpy alone."""
    rest = 3 * ((degree + 1) ** 2 - 1)
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(rest)), "opacity"]
    names += [*(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    table = np.random.default_rng(seed).normal(size=(count, len(names))).astype("<f4")
    table[:, 3:6] = 0
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n"
    header += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    return header.encode() + table.tobytes(), dict(zip(names, table.T, strict=True))


def written(columns, text=False, byte_order="<", comments=(), dtype="f4"):
    """A ply [bytes] with these columns, by plyfile."""
    types = dtype if isinstance(dtype, dict) else dict.fromkeys(columns, dtype)
    rows = np.empty(len(columns["x"]), [(name, types[name]) for name in columns])
    for name, values in columns.items():
        rows[name] = values
    stream = io.BytesIO()
    PlyData([PlyElement.describe(rows, "vertex")], text=text, byte_order=byte_order, comments=list(comments)).write(stream)
    return stream.getvalue()


@pytest.mark.parametrize("degree", range(5))
def test_columns_mean_what_inria_means(degree):
    data, columns = canonical(50, degree)
    splats = inria.decode(data)
    per_channel = (degree + 1) ** 2 - 1
    assert splats.sh_degree == degree and splats.kind == "classic"
    np.testing.assert_array_equal(splats.means, np.stack([columns[n] for n in "xyz"], 1))
    np.testing.assert_array_equal(splats.quats, np.stack([columns[f"rot_{i}"] for i in range(4)], 1))
    np.testing.assert_array_equal(splats.log_scales, np.stack([columns[f"scale_{i}"] for i in range(3)], 1))
    np.testing.assert_array_equal(splats.opacity_logits, columns["opacity"])
    for channel in range(3):
        np.testing.assert_array_equal(splats.sh[:, 0, channel], columns[f"f_dc_{channel}"])
        for k in range(per_channel):
            np.testing.assert_array_equal(splats.sh[:, 1 + k, channel], columns[f"f_rest_{channel * per_channel + k}"])


@pytest.mark.parametrize("degree", range(5))
def test_a_canonical_file_comes_back_byte_for_byte(degree):
    data, _ = canonical(20_000, degree)  # more than one block
    report = Report()
    assert bytes(inria.encode(inria.decode(data, report))) == data
    assert report.notes == []


def test_every_bit_pattern_survives():
    data, columns = canonical(300, 1)
    bits = np.random.default_rng(1).integers(0, 2**32, (300, len(columns)), np.uint32)
    bits[0] = 0x7FC12345  # NaN with a payload
    bits[1], bits[2] = 0x80000000, 0xFF800000  # -0, -inf
    bits[:, 3:6] = 0
    odd = data[: -bits.nbytes] + bits.tobytes()
    assert bytes(inria.encode(inria.decode(odd))) == odd


def test_real_inria_file_is_read_as_plyfile_reads_it(data):
    path = data / "splats" / "inria-train-1000.ply"
    splats, rows = inria.decode(path.read_bytes()), PlyData.read(path)["vertex"]
    np.testing.assert_array_equal(splats.means[:, 1], rows["y"])
    np.testing.assert_array_equal(splats.sh[:, 15, 2], rows["f_rest_44"])
    np.testing.assert_array_equal(splats.quats[:, 3], rows["rot_3"])
    assert same(inria.decode(inria.encode(splats)), splats)


@pytest.mark.parametrize(
    "style",
    [
        {"text": True},
        {"byte_order": ">"},
        {"dtype": "f8"},
        {"byte_order": ">", "dtype": "f8"},
        {"comments": ["made by someone", "Vertical axis: y"]},
    ],
    ids=str,
)
def test_order_and_encoding_do_not_matter(style):
    data, columns = canonical(100, 2)
    names = [name for name in columns if name not in ("nx", "ny", "nz")]
    shuffled = {name: columns[name] for name in np.random.default_rng(3).permutation(names)}
    assert same(inria.decode(written(shuffled, **style)), inria.decode(data))


def test_doubles_beyond_float32_become_infinite():
    _, columns = canonical(2, 0)
    assert inria.decode(written({**columns, "x": np.array([1e300, -1e300])}, dtype="f8")).means[:, 0].tolist() == [np.inf, -np.inf]


def test_carriage_returns_in_the_header_are_read():
    data, _ = canonical(5, 0)
    end = data.index(b"end_header\n") + len(b"end_header\n")
    assert same(inria.decode(data[:end].replace(b"\n", b"\r\n") + data[end:]), inria.decode(data))


def test_comments_in_any_encoding_are_read():
    data, _ = canonical(5, 0)
    odd = data.replace(b"element vertex", "comment Höhe ü\nelement vertex".encode(), 1)
    assert same(inria.decode(odd), inria.decode(data))


def test_what_is_dropped_is_noted():
    data, columns = canonical(10, 0)
    report = Report()
    types = {**dict.fromkeys(columns, "f4"), "red": "u1", "label": "i4"}
    extra = {**columns, "nx": np.ones(10), "red": np.arange(10), "label": np.arange(10)}
    assert same(inria.decode(written(extra, dtype=types), report), inria.decode(data))
    [note] = report.notes
    assert all(name in note for name in ("red", "label", "nx")) and "opacity" not in note


@pytest.mark.parametrize(
    ("comment", "kind"),
    [
        ("SplatRenderMode: default", "classic"),
        ("SplatRenderMode: mip", "antialiased"),
        ("SplatRenderMode: 2dgs", "2dgs"),
        ("antialiased 1", "antialiased"),
        ("antialiased 0", "classic"),
    ],
)
def test_the_kind_of_model_is_read_and_written_back(comment, kind):
    _, columns = canonical(4, 1)
    splats = inria.decode(written(columns, comments=[comment]))
    assert splats.kind == kind
    again = bytes(inria.encode(splats))
    assert same(inria.decode(again), splats)
    assert kind == "classic" or comment.encode() in again


def test_2dgs_has_no_thickness():
    _, columns = canonical(4, 0)
    del columns["scale_2"]
    report = Report()
    splats = inria.decode(written(columns), report)
    assert splats.kind == "2dgs" and (splats.scales[:, 2] < 1e-6).all() and "2DGS" in report.notes[0]
    again = bytes(inria.encode(splats))
    assert b"scale_1" in again and b"scale_2" not in again
    assert same(inria.decode(again), splats)


def test_a_table_that_is_neither_gaussians_nor_points_says_what_is_missing():
    with pytest.raises(ValueError, match=r"missing: z, f_dc_0.*and \d more"):
        inria.decode(written({name: np.zeros(3) for name in ("x", "y", "opacity")}))


def test_a_mesh_without_vertices_before_its_faces_is_said_to_be_one():
    mesh = b"ply\nformat ascii 1.0\nelement face 1\nproperty list uchar int i\nelement vertex 1\nproperty float x\nend_header\n1 0\n0\n"
    with pytest.raises(ValueError, match=r"'face' has lists"):
        inria.decode(mesh)


@pytest.mark.parametrize("rest", [1, 8, 10, 44, 73])
def test_a_number_of_harmonics_that_no_degree_has(rest):
    _, columns = canonical(2, 0)
    with pytest.raises(ValueError, match=f"found {rest}"):
        inria.decode(written({**columns, **{f"f_rest_{i}": np.zeros(2) for i in range(rest)}}))


@pytest.mark.parametrize("text", [True, False])
def test_tables_after_the_vertices_are_noted(text):
    data, columns = canonical(3, 0)
    start = written(columns, text=text)
    other = start.replace(b"end_header\n", b"element camera 2\nproperty float f\nend_header\n", 1) + (b"1\n2\n" if text else bytes(8))
    report = Report()
    assert same(inria.decode(other, report), inria.decode(data))
    assert "element camera" in report.notes[0]


def test_container_round_trip():
    table = np.zeros(3, [("a", "<f4"), ("b", "u1"), ("c", "<u4")])
    table["b"] = [1, 2, 3]
    content = ply.read(ply.write({"one": table, "two": table[:1]}, ("hello",)))
    assert content.comments == ("hello",)
    np.testing.assert_array_equal(content.tables["one"], table)
    np.testing.assert_array_equal(content.tables["two"], table[:1])
