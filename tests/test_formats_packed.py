"""The lossy formats: a round trip stays within the quantiser's step, in the format's own space."""

import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from format_steps import COMPRESSED, SPLAT, SPZ, angles, check, chunk_errors

from splatview.formats import compressed_ply, packing, splat, spz
from splatview.formats.report import Report


def hard(splats):
    """`splats` with what is hard to store in the first rows: ends of every range, and zero or huge quaternions."""
    arrays = {name: getattr(splats, name).copy() for name in ("means", "quats", "log_scales", "opacity_logits", "sh")}
    arrays["opacity_logits"][:6] = [np.inf, -np.inf, 1e30, -1e30, 88, -88]
    arrays["log_scales"][:4] = np.array([[-np.inf], [-1e30], [-30], [-69]])
    arrays["log_scales"][4:6] = np.array([[19], [5.5]])
    arrays["sh"][6:9, 1:] = np.array([1, -1, 30])[:, None, None]
    arrays["sh"][9:11, 0] = np.array([[5], [-5]])
    arrays["quats"][11] = 1e30
    arrays["quats"][12] = [0, 0, -1e-30, 0]
    return replace(splats, **arrays)


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("version", [3, 4])
def test_spz_stays_within_its_steps(random_gaussians, version, degree):
    truth = hard(random_gaussians(20_000, degree))
    check(truth, spz.decode(spz.encode(truth, version)), SPZ)


def test_spz_version_4_holds_degree_4(random_gaussians):
    truth = hard(random_gaussians(500, 4))
    read = spz.decode(spz.encode(truth, 4))
    assert read.sh_degree == 4
    check(truth, read, SPZ)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 50_000])
def test_equal_gaussians_are_an_ordinary_scene(random_gaussians, count):
    """They pack to next to nothing, and a chunk of them has no extent."""
    truth = random_gaussians(1, 3).take(np.zeros(count, int))
    check(truth, spz.decode(spz.encode(truth)), SPZ)
    check(truth, spz.decode(spz.encode(truth, 4)), SPZ)
    check(truth, compressed_ply.decode(compressed_ply.encode(truth)), COMPRESSED, 0, 0, 0)


@pytest.mark.parametrize("degree", range(4))
def test_compressed_ply_stays_within_its_steps(random_gaussians, degree):
    splats = hard(random_gaussians(20_000, degree))
    truth = splats.take(packing.morton_order(splats.means))
    data = compressed_ply.encode(splats)
    means, log_scales, colours = chunk_errors(data, len(truth))
    check(truth, compressed_ply.decode(data), COMPRESSED, means, log_scales, colours)


def test_splat_stays_within_its_steps(random_gaussians):
    truth, report = hard(random_gaussians(20_000, 2)), Report()
    read = splat.decode(splat.encode(truth, report))
    check(truth, read, SPLAT)
    assert "degrees 1 to 2 were dropped" in report.notes[0]


@pytest.mark.parametrize(
    ("encode", "decode", "space"),
    [(splat.encode, splat.decode, SPLAT), (spz.encode, spz.decode, SPZ), (lambda g: spz.encode(g, 4), spz.decode, SPZ)],
    ids=["splat", "spz3", "spz4"],
)
def test_a_second_save_loses_nothing_more(random_gaussians, encode, decode, space):
    once = decode(encode(random_gaussians(5000, 3)))
    twice = decode(encode(once))
    for name in ("means", "opacity_logits", "sh"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name))
    np.testing.assert_allclose(twice.log_scales, once.log_scales, atol=1e-6)
    assert (angles(once.quats, twice.quats) <= space.angle_error).all()  # two nearly equal components may swap places


def test_alpha_bytes_come_back_and_have_finite_logits():
    assert np.isfinite(packing.LOGITS).all()
    np.testing.assert_array_equal(packing.alpha_bytes(packing.LOGITS), np.arange(256))


def test_words_of_11_10_11_bits_come_back():
    words = np.random.default_rng(0).integers(0, 2**32, 10_000, np.uint32)
    np.testing.assert_array_equal(packing.pack_11_10_11(packing.unpack_11_10_11(words)), words)


def test_morton_order_visits_octant_by_octant():
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
    shuffled = np.random.default_rng(0).permutation(8)
    np.testing.assert_array_equal(shuffled[packing.morton_order(corners[shuffled])], np.arange(8))
    cloud = np.random.default_rng(0).random((4096, 3), np.float32)
    sorted_steps = np.linalg.norm(np.diff(cloud[packing.morton_order(cloud)], axis=0), axis=1)
    assert np.median(sorted_steps) < 0.2 * np.median(np.linalg.norm(np.diff(cloud, axis=0), axis=1))


@pytest.mark.parametrize("reach", [2047, 2049, 1e5, 8e6])
def test_spz_of_a_large_scene_rounds_more_and_says_so(random_gaussians, reach):
    splats, report = random_gaussians(10, 0), Report()
    truth = replace(splats, means=splats.means * np.float32(reach / np.abs(splats.means).max()))
    bits = min(12, int(np.floor(np.log2(2**23 / reach))))
    check(truth, spz.decode(spz.encode(truth, 3, report)), SPZ, means=0.5 / 2**bits)
    assert bool(report.notes) == (bits < 12)


def test_spz_refuses_what_24_bits_cannot_reach(random_gaussians):
    splats = random_gaussians(3, 0)
    with pytest.raises(ValueError, match="scale or crop"):
        spz.encode(replace(splats, means=splats.means + np.float32(1e7)))


@pytest.mark.parametrize(("encode", "what"), [(spz.encode, "spz_version=4"), (compressed_ply.encode, "max_sh=3")])
def test_degree_4_is_refused_with_the_option_that_helps(random_gaussians, encode, what):
    with pytest.raises(ValueError, match=what):
        encode(random_gaussians(3, 4))


@pytest.mark.parametrize("encode", [spz.encode, compressed_ply.encode, splat.encode])
def test_what_is_no_number_is_left_out_and_noted(random_gaussians, encode):
    splats, report = random_gaussians(600, 1), Report()
    means, sh = splats.means.copy(), splats.sh.copy()
    means[3, 1], sh[7, 2, 0] = np.nan, np.inf
    decode = {spz.encode: spz.decode, compressed_ply.encode: compressed_ply.decode, splat.encode: splat.decode}[encode]
    assert len(decode(encode(replace(splats, means=means, sh=sh), report=report))) == 598
    assert any("2 Gaussians" in note for note in report.notes)
    with pytest.raises(ValueError, match="every one of them"):
        encode(replace(splats, means=splats.means * np.nan))


@pytest.mark.parametrize("kind", ["classic", "antialiased"])
def test_the_kind_of_model_is_kept(random_gaussians, kind):
    splats = random_gaussians(10, 1, kind=kind)
    for read in (spz.decode(spz.encode(splats)), spz.decode(spz.encode(splats, 4)), compressed_ply.decode(compressed_ply.encode(splats))):
        assert read.kind == kind


@pytest.mark.parametrize("version", [3, 4])
def test_spz_header_is_what_niantic_says(random_gaussians, version):
    data = spz.encode(random_gaussians(7, 2, kind="antialiased"), version)
    plain = gzip.decompress(data) if version == 3 else data
    assert struct.unpack_from("<4sIIBBB", plain) == (b"NGSP", version, 7, 2, 12, 1)
    if version == 3:
        assert len(plain) == 16 + 7 * (9 + 1 + 3 + 3 + 4 + 24)
        return
    streams, table = plain[15], struct.unpack_from("<I", plain, 16)[0]
    sizes = [struct.unpack_from("<QQ", plain, table + 16 * i) for i in range(streams)]
    assert [size for _, size in sizes] == [7 * width for width in (9, 1, 3, 3, 4, 24)]
    at = table + 16 * streams
    for packed, size in sizes:
        assert len(zstandard.ZstdDecompressor().decompress(plain[at : at + packed])) == size
        at += packed
    assert at == len(plain)


def test_spz_version_1_has_half_floats(random_gaussians):
    truth = random_gaussians(100, 0)
    later = gzip.decompress(spz.encode(truth, 3))
    means = truth.means.astype("<f2")
    xyz = np.zeros((100, 3), np.uint8)  # -1: half a turn about x is (255, 127.5, 127.5), and three bytes cannot say it exactly
    xyz[:] = [255, 127, 128]
    body = means.tobytes() + later[16 + 900 : 16 + 900 + 700] + xyz.tobytes()
    read = spz.decode(struct.pack("<4sIIBBBB", b"NGSP", 1, 100, 0, 12, 0, 0) + body)
    np.testing.assert_array_equal(read.means, means.astype(np.float32))
    np.testing.assert_allclose(read.quats, np.tile([0, 1, 0, 0], (100, 1)), atol=0.01)
