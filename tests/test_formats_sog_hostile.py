"""Damaged or malicious SOGs, zips and pictures included, give a ValueError with a reason, in bounded memory, without a warning."""

import functools
import io
import json
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from splatview.formats import sog, sog_images, sog_lod, sog_writer
from splatview.formats.files import FileBytes, Source, open_file
from splatview.formats.report import Report
from splatview.gaussians import Gaussians
from splatview.scene import Scene

MEGABYTE = 1 << 20


@functools.cache
def good(count=9, degree=1):
    """The files of a small scene, by name."""
    rng = np.random.default_rng(0)
    sizes = ((count, 3), (count, 4), (count, 3), (count,), (count, (degree + 1) ** 2, 3))
    with zipfile.ZipFile(io.BytesIO(sog_writer.encode(Gaussians(*(rng.normal(size=size) for size in sizes))))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def meta(**changes):
    """The description of the small scene with other entries; None takes one away."""
    content = {**json.loads(good()["meta.json"]), **changes}
    return json.dumps({name: value for name, value in content.items() if value is not None}).encode()


def one():
    """A description of version 1 of the same pictures."""
    content = json.loads(meta(version=None, count=None))
    content["means"]["shape"] = [9, 3]
    for name, channels in (("scales", 3), ("sh0", 4)):
        content[name] = {"mins": [-1] * channels, "maxs": [1] * channels, "files": content[name]["files"]}
    content["shN"] = {"mins": -1, "maxs": 1, "files": content["shN"]["files"]}
    return json.dumps(content).encode()


def zipped(files, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def decoded(data):
    return sog.read(Source(Path("a.sog"), FileBytes(io.BytesIO(data), 0, len(data))), Report())  # type: ignore[arg-type]


def read(data):
    """The Gaussians in `data`, or None if it was refused with a reason; anything else that happens fails the test."""
    try:
        splats = decoded(data)
    except ValueError as error:
        assert str(error)
        return None
    assert len(splats) > 0 and np.isfinite(splats.means).all()
    return splats


def refused(data, megabytes=2):
    """The reason why `data` is refused, without taking much memory for it."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as error:
            decoded(data)
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()
    return str(error.value)


def test_the_files_of_this_test_are_good():
    assert len(decoded(zipped(good()))) == len(decoded(zipped({**good(), "meta.json": one()}))) == 9


# --- any damage -----------------------------------------------------------------------------------------------


def test_every_shorter_file_is_refused():
    data = zipped(good())
    for length in range(0, len(data), 7):
        assert read(data[:length]) is None, length


@given(st.data())
def test_flipped_bits_of_a_bundle_are_survived(data):
    damaged = bytearray(zipped(good()))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1) | st.integers(len(damaged) - 700, len(damaged) - 1))  # the directory too
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    read(bytes(damaged))


@given(st.data())
def test_damage_within_the_files_is_survived(data):
    """The zip is whole, so its checksums do not catch what is wrong."""
    name = data.draw(st.sampled_from(sorted(good())))
    damaged = bytearray(good()[name])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1) | st.integers(0, 40))] ^= 1 << data.draw(st.integers(0, 7))
    end = data.draw(st.just(len(damaged)) | st.integers(0, len(damaged)))
    read(zipped({**good(), name: bytes(damaged[:end])}))


@given(st.binary(max_size=200))
def test_junk_is_survived(junk):
    assert read(junk) is None
    assert read(zipped({"meta.json": junk})) is None
    read(zipped({**good(), "quats.webp": b"RIFF\x00\x00\x00\x00WEBP" + junk}))


scalars = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=3)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["files", "mins", "0"]), inner, max_size=2)
)


def places(content):
    """(container, key) of everything in a JSON value."""
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places(content[key])


def damaged_json(data, content):
    """`content` with some entries replaced, as JSON."""
    changed = json.loads(content)
    for _ in range(data.draw(st.integers(1, 3))):
        found = [place for place in places(changed) if not isinstance(place[1], int) or place[1] < 4]  # not 256 times the same
        if found:
            container, key = data.draw(st.sampled_from(found))
            container[key] = data.draw(values)
    return json.dumps(changed).encode()


@pytest.mark.parametrize("version", [1, 2])
@given(data=st.data())
def test_any_description_is_survived(version, data):
    read(zipped({**good(), "meta.json": damaged_json(data, one() if version == 1 else meta())}))


# --- what a description may say -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 17, 2**31, 2**32, 16384**2, 10**30, 9.0, "9", True, [9]])
def test_wrong_counts(count):
    assert "expected" in refused(zipped({**good(), "meta.json": meta(count=count)}))


@pytest.mark.parametrize("version", [0, 1, 3, "2", True, 2.5, [], {}])
def test_other_versions(version):
    assert "version" in refused(zipped({**good(), "meta.json": meta(version=version)}))


@pytest.mark.parametrize("name", ["means", "quats", "scales", "sh0"])
@pytest.mark.parametrize("part", [None, [], 3, {}, {"files": []}, {"files": [3, 4]}, {"files": "means_l.webp"}])
def test_missing_parts(name, part):
    assert name in refused(zipped({**good(), "meta.json": meta(**{name: part})}))


@pytest.mark.parametrize("book", [[], [1.0] * 257, [True] * 256, ["1"] * 256, [1e39] * 256, [10**400] * 256, None, {}, 7, [[1.0] * 256]])
@pytest.mark.parametrize("name", ["scales", "sh0", "shN"])
def test_wrong_codebooks(name, book):
    part = json.loads(meta())[name]
    assert "codebook" in refused(zipped({**good(), "meta.json": meta(**{name: {**part, "codebook": book}})}))


@pytest.mark.parametrize("name", ["scales", "sh0", "shN"])
def test_a_codebook_that_is_too_short_is_refused_where_it_matters(name):
    part = json.loads(meta())[name]
    short = lambda length: zipped({**good(), "meta.json": meta(**{name: {**part, "codebook": part["codebook"][:length]}})})
    assert "codebook" in refused(short(3))
    used = len(set(part["codebook"]))  # the rest is padding
    np.testing.assert_array_equal(decoded(short(used)).sh, decoded(zipped(good())).sh)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000])
def test_numbers_that_are_none(text):
    changed = meta(means={**json.loads(meta())["means"], "mins": [0, 0, 12345.5]}).replace(b"12345.5", text.encode())
    assert refused(zipped({**good(), "meta.json": changed}))


@pytest.mark.parametrize("value", [88.8, -1e3, 1e38, [1], None, "1"])
@pytest.mark.parametrize("end", ["mins", "maxs"])
def test_positions_beyond_all_numbers(value, end):
    means = {**json.loads(meta())["means"], end: [0, value, 0]}
    assert "expected" in refused(zipped({**good(), "meta.json": meta(means=means)}))


@pytest.mark.parametrize("text", [b"", b"[]", b"3", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b'{"version": 2'])
def test_json_that_is_no_object(text):
    assert "meta.json" in refused(zipped({**good(), "meta.json": text}), megabytes=8)


@pytest.mark.parametrize(
    "change", [{"bands": 4}, {"bands": 2}, {"bands": -1}, {"count": 10**6}, {"count": 65}, {"count": 3}, {"bands": "1"}]
)
def test_palettes_that_do_not_fit(change):
    part = {**json.loads(meta())["shN"], **change}
    assert "expected" in refused(zipped({**good(), "meta.json": meta(shN=part)}))


def test_labels_out_of_range():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1] = [0, 255, 0, 255]
    assert "65,280" in refused(zipped({**good(), "shN_labels.webp": sog_images.encode(labels)}))


# --- pictures and zips that pretend ---------------------------------------------------------------------------


def lossless(width, height):
    """The header of a WebP of that size, and nothing behind it."""
    chunk = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(20)
    return b"RIFF" + struct.pack("<I", len(chunk) + 12) + b"WEBPVP8L" + struct.pack("<I", len(chunk)) + chunk


def extended(width, height, flags=0):
    chunk = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + chunk + good()["quats.webp"][12:]


@pytest.mark.parametrize("name", sorted(set(good()) - {"meta.json"}))
@pytest.mark.parametrize("picture", [lossless(16383, 16383), lossless(1025, 1025), extended(1 << 24, 1 << 24), extended(4, 4, flags=2)])
def test_pictures_that_claim_too_much_are_not_decoded(name, picture):
    assert name in refused(zipped({**good(), name: picture}))


@pytest.mark.parametrize("picture", [lossless(1024, 1024), lossless(4, 4), extended(8, 8), lossless(2, 2), b"GIF89a", b"RIFF"])
def test_pictures_that_are_damaged(picture):
    assert "quats.webp" in refused(zipped({**good(), "quats.webp": picture}), megabytes=16)


def test_a_picture_that_moves_is_refused():
    stream = io.BytesIO()
    frames = [Image.fromarray(np.full((4, 4, 4), shade, np.uint8)) for shade in (0, 200)]
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert "still" in refused(zipped({**good(), "quats.webp": stream.getvalue()}))


def test_many_equal_texels_are_no_scene():
    """WebP packs a million of them into some hundred bytes, and their Gaussians would take 236."""
    flat = sog_images.encode(np.full((1000, 1000, 4), 255, np.uint8))
    files = dict.fromkeys(set(good()) - {"meta.json"}, flat)
    assert sum(map(len, files.values())) < 20_000
    part = {**json.loads(meta())["shN"], "bands": 3}
    assert "cannot honestly hold" in refused(zipped({**files, "meta.json": meta(count=1_000_000, shN=part)}))


def test_no_warning_of_large_pictures():
    """PIL's own limit, which it warns about, is passed by an honest scene of 90 million Gaussians."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 10
        try:
            texels = np.zeros((4, 4, 4), np.uint8)
            np.testing.assert_array_equal(sog_images.decode(sog_images.encode(texels), "a", 1, 16, Report()), texels)
            with pytest.raises(ValueError, match="damaged"):  # what PIL itself refuses
                sog_images.decode(sog_images.encode(np.zeros((8, 8, 4), np.uint8)), "a", 1, 64, Report())
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@pytest.mark.parametrize(("name", "start"), [("meta.json", b""), ("sh0.webp", b"RIFF\x00\x00\x00\x00WEBPVP8L")])
def test_zip_bombs_are_refused(name, start):
    bomb = zipped({**good(), name: start + b" " * (60 * MEGABYTE)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < MEGABYTE
    assert "expected at most" in refused(bomb, megabytes=8)


def test_a_zip_that_lies_about_a_size_is_refused():
    bomb = bytearray(zipped({**good(), "sh0.webp": bytes(60 * MEGABYTE)}, zipfile.ZIP_DEFLATED))
    bomb = bomb.replace(struct.pack("<I", 60 * MEGABYTE), struct.pack("<I", 1000))
    assert "sh0.webp" in refused(bytes(bomb), megabytes=16)


@pytest.mark.parametrize("name", ["sh0.webp", "meta.json"])
def test_zips_without_a_file(name):
    assert name in refused(zipped({key: data for key, data in good().items() if key != name}))


# --- folders and levels ---------------------------------------------------------------------------------------

OUTSIDE = [
    "../secret.webp",
    "/etc/passwd",
    "a/../../secret.webp",
    "",
    "a\0b",
    "x" * 5000,
    "\udc80",
    ".",
    "..",
    "not there.webp",
    "link.webp",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A streamed scene of one small SOG, with a secret above it and a link to that."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "secret.webp").write_bytes(good()["quats.webp"])
    (root / "scene" / "0_0").mkdir(parents=True)
    for name, data in good().items():
        (root / "scene" / "0_0" / name).write_bytes(data)
    for link in (root / "scene" / "link.webp", root / "scene" / "0_0" / "link.webp"):
        link.symlink_to(root / "secret.webp")
    return root / "scene"


def scene_of(path, reader=sog_lod.read):
    with open_file(path) as data:
        return reader(Source(path, data), Report())


LEAF = {"file": 0, "offset": 0, "count": 9}


def tree(**changes):
    content = {"version": 1, "lodLevels": 1, "filenames": ["0_0/meta.json"], "tree": {"children": [{"lods": {"0": LEAF}}]}, **changes}
    return json.dumps(content).encode()


def refuses(folder, content):
    (folder / "lod-meta.json").write_bytes(content)
    with pytest.raises(ValueError) as error:
        scene_of(folder / "lod-meta.json")
    return str(error.value)


@pytest.mark.parametrize("name", OUTSIDE)
def test_file_names_that_lead_elsewhere(folder, name):
    assert "cannot be read" in refuses(folder, tree(filenames=[name]))
    assert not name or "cannot be read" in refuses(folder, tree(environment=name))
    (folder / "0_0" / "meta.json").write_bytes(meta(quats={"files": [name]}))
    for path, reader in ((folder / "lod-meta.json", sog_lod.read), (folder / "0_0" / "meta.json", sog.read_folder)):
        (folder / "lod-meta.json").write_bytes(tree())
        with pytest.raises(ValueError, match="cannot be read"):
            scene_of(path, reader)
    (folder / "0_0" / "meta.json").write_bytes(good()["meta.json"])
    assert isinstance(scene_of(folder / "lod-meta.json"), Scene)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"lodLevels": 0},
        {"lodLevels": 10**9},
        {"lodLevels": True},
        {"filenames": "0_0/meta.json"},
        {"filenames": [1]},
        {"filenames": ["0_0/meta.json", "0_0/./meta.json"]},
        {"environment": 3},
        {"tree": None},
        {"tree": []},
        {"tree": {}},
        {"tree": {"children": 3}},
        {"tree": {"children": [[]]}},
        {"tree": {"lods": [LEAF]}},
        {"tree": {"lods": {"0": [0, 0, 9]}}},
        *({"tree": {"lods": {level: LEAF}}} for level in ("1", "-1", "x", "", "0" * 5000, "²")),
        *({"tree": {"lods": {"0": {**LEAF, **leaf}}}} for leaf in ({"file": 1}, {"file": -1}, {"file": None}, {"file": 0.0})),
        *({"tree": {"lods": {"0": {**LEAF, **leaf}}}} for leaf in ({"count": 10}, {"count": -1}, {"count": 2**32}, {"count": 0})),
        *({"tree": {"lods": {"0": {**LEAF, **leaf}}}} for leaf in ({"offset": 1}, {"offset": -1}, {"offset": 2**63}, {"offset": "0"})),
    ],
    ids=str,
)
def test_trees_that_make_no_sense(folder, change):
    assert "expected" in refuses(folder, tree(**change)) or "asks for" in refuses(folder, tree(**change))


def test_leaves_that_share_gaussians_are_refused(folder):
    """A file of some kilobytes could ask for the same Gaussians a million times."""
    children = [{"lods": {"0": {**LEAF, "offset": at, "count": 3}}} for at in (0, 2)]
    assert "share" in refuses(folder, tree(tree={"children": children}))


def test_many_chunks_that_share_their_pictures_are_refused(folder):
    """A hundred descriptions of half a kilobyte would unpack the same pictures of equal texels a hundred times."""
    flat = sog_images.encode(np.full((1000, 1000, 4), 255, np.uint8))
    part = {"mins": [0] * 4, "maxs": [1] * 4, "files": ["../flat.webp"] * 2}
    three = {**part, "mins": [0] * 3, "maxs": [1] * 3}
    content = {"means": {**three, "shape": [1_000_000, 3]}, "scales": three, "quats": part, "sh0": part}
    (folder / "flat.webp").write_bytes(flat)
    for index in range(3):
        (folder / f"copy{index}").mkdir()
        (folder / f"copy{index}" / "meta.json").write_text(json.dumps(content))
    leaves = [{"lods": {"0": {"file": index, "offset": 0, "count": 1_000_000}}} for index in range(3)]
    names = [f"copy{index}/meta.json" for index in range(3)]
    assert "cannot honestly hold" in refuses(folder, tree(filenames=names, tree={"children": leaves}))
    (folder / "lod-meta.json").write_bytes(tree(filenames=names, tree=leaves[0]))
    assert scene_of(folder / "lod-meta.json").count == 1_000_000


def test_a_tree_of_any_depth_is_survived(folder):
    deep = tree().replace(b'{"children"', b'{"children": [' * 400 + b'{"children"', 1)
    deep = deep[:-1] + b"]}" * 400 + b"}"
    (folder / "lod-meta.json").write_bytes(deep)
    assert scene_of(folder / "lod-meta.json", lambda source, _: sog_lod.levels(source)) == (9,)
    assert "JSON" in refuses(folder, b'{"tree":' * 200_000)


@given(data=st.data())
def test_any_tree_is_survived(folder, data):
    (folder / "lod-meta.json").write_bytes(damaged_json(data, tree()))
    try:
        scene = scene_of(folder / "lod-meta.json")
    except ValueError as error:
        assert str(error)
    else:
        assert scene.count > 0
