"""Nothing from outside is trusted: damaged or malicious bytes give a ValueError with a reason, in bounded memory, without a warning."""

import gzip
import json
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from splatview.formats import compressed_ply, inria, load_cameras, splat, spz
from splatview.formats.files import open_file
from splatview.gaussians import Gaussians

MEGABYTE = 1 << 20


def scene(count=9, degree=1):
    rng = np.random.default_rng(0)
    sizes = ((count, 3), (count, 4), (count, 3), (count,), (count, (degree + 1) ** 2, 3))
    return Gaussians(*(rng.normal(size=size) for size in sizes))


def ascii_ply():
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    header = "ply\nformat ascii 1.0\nelement vertex 3\n" + "".join(f"property float {name}\n" for name in names) + "end_header\n"
    return header.encode() + b"0.25 -1 2e1 0.5 0.5 0.5 3 -4 -4 -4 1 0 0 1\n" * 3


FILES = {
    "ply": (inria.decode, bytes(inria.encode(scene()))),
    "ascii ply": (inria.decode, ascii_ply()),
    "compressed ply": (compressed_ply.decode, bytes(compressed_ply.encode(scene(300)))),
    "splat": (splat.decode, splat.encode(scene())),
    "spz raw": (spz.decode, gzip.decompress(spz.encode(scene()))),
    "spz 3": (spz.decode, spz.encode(scene())),
    "spz 4": (spz.decode, spz.encode(scene(), 4)),
}
files = pytest.mark.parametrize("name", FILES)


def read(name, data):
    """The Gaussians in `data`, or None if it was refused with a reason; anything else that happens fails the test."""
    try:
        splats = FILES[name][0](data)
    except ValueError as error:
        assert str(error)
        return None
    assert len(splats) > 0
    return splats


def refused(decode, data, megabytes=1):
    """`data` is refused without taking much memory for it."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as error:
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()
    return str(error.value)


@files
def test_the_files_of_this_test_are_good(name):
    assert read(name, FILES[name][1]) is not None


@files
def test_every_shorter_file_is_refused(name):
    data = FILES[name][1]
    for length in range(len(data)):
        whole_records = name == "splat" and length > 0 and length % 32 == 0
        no_line_end = name == "ascii ply" and length == len(data) - 1
        assert (read(name, data[:length]) is None) != (whole_records or no_line_end), length


@files
@given(st.data())
def test_flipped_bits_are_survived(name, data):
    damaged = bytearray(FILES[name][1])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    read(name, bytes(damaged))


@files
@given(st.data())
def test_overwritten_stretches_are_survived(name, data):
    good = FILES[name][1]
    at = data.draw(st.integers(0, len(good)))
    junk = data.draw(st.binary(max_size=40) | st.sampled_from([b"\xff" * 32, b"\x00" * 32, b" 4294967296 ", b"\n-1\n", b"1e999 ", b"nan "]))
    kept = data.draw(st.integers(0, len(junk)))
    read(name, good[:at] + junk + good[at + kept :])


@files
@given(junk=st.binary(max_size=200))
def test_junk_is_survived(name, junk):
    read(name, junk)
    read(name, FILES[name][1][:16] + junk)


@given(st.binary(min_size=70, max_size=70))
def test_any_body_within_gzip_is_survived(body):
    for version in (1, 2, 3):
        read("spz 3", gzip.compress(struct.pack("<4sIIBBBB", b"NGSP", version, 2, 1, 12, 1, 0) + body))


@pytest.mark.parametrize("name", ["spz 3", "spz 4"])
def test_damage_within_compressed_data_is_noticed(name):
    good = FILES[name][1]
    start = 10 if name == "spz 3" else 32 + 6 * 16 + 18  # behind the headers of gzip, and of the first zstd frame
    for at in range(start, len(good) - 8):
        damaged = bytearray(good)
        damaged[at] ^= 0x10
        splats = read(name, bytes(damaged))
        assert splats is None or np.array_equal(splats.means, spz.decode(good).means)


@pytest.mark.parametrize("count", [0, 10, 2**31, 2**32, 2**32 - 1, 10**15, 10**30, -1, "many", "1e3"])
@pytest.mark.parametrize("name", ["ply", "ascii ply", "compressed ply"])
def test_wrong_counts_in_a_ply(name, count):
    decode, good = FILES[name]
    for line in [line for line in good.split(b"\n") if line.startswith(b"element ")]:
        changed = good.replace(line, line.rsplit(b" ", 1)[0] + f" {count}".encode(), 1)
        assert str(count) in refused(decode, changed) or count in (0, 10)


@pytest.mark.parametrize("count", [0, 1, 10, 2**31, 2**32 - 1])
@pytest.mark.parametrize("name", ["spz raw", "spz 3", "spz 4"])
def test_wrong_counts_in_an_spz(name, count):
    good = FILES[name][1]
    plain = gzip.decompress(good) if name == "spz 3" else good
    changed = plain[:8] + struct.pack("<I", count) + plain[12:]
    assert refused(spz.decode, gzip.compress(changed) if name == "spz 3" else changed)


@pytest.mark.parametrize(("at", "value"), [(4, 0), (4, 5), (4, 255), (12, 5), (12, 255), (13, 25), (13, 255)])
@pytest.mark.parametrize("name", ["spz raw", "spz 4"])
def test_wrong_header_fields_in_an_spz(name, at, value):
    changed = bytearray(FILES[name][1])
    changed[at] = value
    assert "expected" in refused(spz.decode, bytes(changed))


@pytest.mark.parametrize("count", [2, 10_000_000, 2**32 - 1])
def test_gzip_bombs_are_refused(count):
    header = struct.pack("<4sIIBBBB", b"NGSP", 3, count, 3, 12, 0, 0)
    codec = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = codec.compress(header) + b"".join(codec.compress(bytes(MEGABYTE)) for _ in range(700)) + codec.flush()
    assert len(bomb) < MEGABYTE
    refused(spz.decode, bomb, megabytes=8)


def test_gzip_of_something_else_is_refused():
    assert "NGSP" in refused(spz.decode, gzip.compress(bytes(100 * MEGABYTE)))


def v4(sizes, streams, count=1000):
    table = b"".join(struct.pack("<QQ", len(stream), size) for stream, size in zip(streams, sizes, strict=True))
    return struct.pack("<4sIIBBBBI12x", b"NGSP", 4, count, 0, 12, 0, len(streams), 32) + table + b"".join(streams)


@pytest.mark.parametrize("sized", [True, False], ids=["the frame says how much", "it does not"])
def test_zstd_bombs_are_refused(sized):
    sizes = [1000 * width for width in (9, 1, 3, 3, 4)]
    good = [zstandard.compress(bytes(size)) for size in sizes]
    assert len(spz.decode(v4(sizes, good))) == 1000
    codec = zstandard.ZstdCompressor(write_content_size=sized)
    writer = codec.compressobj(size=300 * MEGABYTE if sized else -1)
    bomb = b"".join(writer.compress(bytes(MEGABYTE)) for _ in range(300)) + writer.flush()
    assert len(bomb) < MEGABYTE
    assert "more" in refused(spz.decode, v4(sizes, [bomb, *good[1:]]), megabytes=16)
    honest = 2**32 - 1
    assert "cannot honestly hold" in refused(spz.decode, v4([honest * width for width in (9, 1, 3, 3, 4)], [bomb] * 5, honest))


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("change", [-1, 1, 2**40])
def test_wrong_sizes_in_the_table_of_streams_are_refused(index, change):
    sizes = [1000 * width for width in (9, 1, 3, 3, 4)]
    good = [zstandard.compress(bytes(size)) for size in sizes]
    said = [size + change * (at == index) for at, size in enumerate(sizes)]
    assert f"stream {index}" in refused(spz.decode, v4(said, good))


def test_a_zstd_window_of_gigabytes_is_refused():
    sizes = [1000 * width for width in (9, 1, 3, 3, 4)]
    good = [zstandard.compress(bytes(size)) for size in sizes]
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, 21 << 3]) + b"\x01\x00\x00"  # no content size, window of 2^31 bytes, an empty block
    assert "damaged" in refused(spz.decode, v4(sizes, [frame, *good[1:]]))


@pytest.mark.parametrize("half", [0x7C00, 0xFC00, 0x7E00])
def test_half_floats_that_are_no_numbers_are_refused(half):
    body = struct.pack("<3H", 0, half, 0) + bytes(10)
    assert "finite" in refused(spz.decode, struct.pack("<4sIIBBBB", b"NGSP", 1, 1, 0, 12, 0, 0) + body)


@pytest.mark.parametrize("table", [0, 16, 31, 33, 200, 2**32 - 1])
def test_a_table_of_streams_elsewhere_is_refused(table):
    good = FILES["spz 4"][1]
    assert "stream" in refused(spz.decode, good[:16] + struct.pack("<I", table) + good[20:])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_chunk_ranges_that_are_no_numbers_are_refused(value):
    good = bytearray(FILES["compressed ply"][1])
    start = good.index(b"end_header\n") + 11
    for column in range(18):
        changed = bytearray(good)
        changed[start + 4 * column : start + 4 * column + 4] = struct.pack("<f", value)
        assert "finite" in refused(compressed_ply.decode, bytes(changed))


def test_columns_of_another_type_are_refused():
    good = FILES["compressed ply"][1]
    assert "packed_rotation" in refused(compressed_ply.decode, good.replace(b"uint packed_rotation", b"int packed_rotation"))
    assert "packed_rotation" in refused(compressed_ply.decode, good.replace(b"uint packed_rotation", b"uint packed_rotatiom"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_splat_file_of_other_bytes_is_refused(value):
    changed = bytearray(FILES["splat"][1])
    changed[36:40] = struct.pack("<f", value)
    assert "finite" in refused(splat.decode, bytes(changed))


@pytest.mark.parametrize("scale", [0.0, -1.0, -0.0, 1e-45])
def test_a_splat_file_may_have_sizes_without_logarithm(scale):
    changed = bytearray(FILES["splat"][1])
    changed[12:16] = struct.pack("<f", scale)
    assert np.isfinite(splat.decode(bytes(changed)).log_scales).all()


CAMERAS = [
    {"width": 8, "height": 6, "K": [5, 5, 4, 3], "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [0, 0, 1]},
    {"render_width": 8, "render_height": 6, "camera_path": [{"camera_to_world": np.eye(4).ravel().tolist(), "fov": 50}]},
    {"w": 8, "h": 6, "fl_x": 5, "frames": [{"transform_matrix": np.eye(4).tolist()}]},
    [{"width": 8, "height": 6, "fx": 5, "fy": 5, "position": [0, 0, 1], "rotation": np.eye(3).tolist()}],
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("Kat"), inner, max_size=2))


@given(st.data())
def test_damaged_camera_files_are_refused(tmp_path_factory, data):
    content = json.loads(json.dumps(data.draw(st.sampled_from(CAMERAS))))
    places = []  # (container, key) of everything in the file

    def visit(part):
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list):
                visit(part[key])

    visit(content)
    container, key = data.draw(st.sampled_from(places))
    container[key] = data.draw(values)
    path = tmp_path_factory.mktemp("cameras") / "cameras.json"
    path.write_text(json.dumps(content))
    try:
        assert len(load_cameras(path)) >= 1
    except ValueError as error:
        assert str(path) in str(error)


@given(st.binary(max_size=60))
def test_junk_is_no_camera_file(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("cameras") / "cameras.json"
    path.write_bytes(junk)
    with pytest.raises(ValueError, match=r"cameras\.json"):
        load_cameras(path)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path, random_gaussians):
    path = tmp_path / "a.ply"
    path.write_bytes(bytes(inria.encode(random_gaussians(50_000, degree=0))))
    with open_file(path) as data:
        os.truncate(path, 1_000_000)
        with pytest.raises(ValueError, match="became shorter while it was read"):
            inria.decode(data)
