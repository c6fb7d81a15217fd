"""The lossy formats: a round trip stays within the quantiser's step, in the format's own space."""

import gzip
import io
import struct
from dataclasses import dataclass, replace

import numpy as np
import pytest
import zstandard
from plyfile import PlyData
from scipy.spatial import cKDTree

from splatview.formats import compressed_ply, inria, packing, splat, spz
from splatview.formats.report import Report
from splatview.geometry import Similarity, multiply_quats, normalised


@dataclass(frozen=True)
class Space:
    """What a format can say, and how finely: (low, high) limits, and the largest error within them."""

    log_scales: tuple[float, float]
    colours: tuple[float, float]  # DC, 0..1 is displayable
    mean_error: float
    log_scale_error: float
    colour_error: float
    alpha_error: float
    angle_error: float
    sh_errors: tuple[float, ...] = ()  # by degree, from 1


# A smallest-three quaternion with errors up to e in three components turns by at most 2 sqrt(3 + 9) e = 7 e.
TURN = 7
SPZ = Space(
    log_scales=(-10, 5.9375),
    colours=(0.5 - 0.5 / 0.15 * packing.C0, 0.5 + 0.5 / 0.15 * packing.C0),
    mean_error=0.5 / 4096,
    log_scale_error=0.5 / 16,
    colour_error=0.5 / 255 / 0.15 * packing.C0,
    alpha_error=0.5 / 255,
    angle_error=TURN * 0.5 / 511 / 2**0.5,
    sh_errors=(4.5 / 128, 8.5 / 128, 8.5 / 128, 8.5 / 128),  # half a bucket; other writers round to a byte first
)
SPLAT = Space((float(np.log(1e-30)), 88), (0, 1), 0, 1e-6, 0.5 / 255, 0.5 / 255, 4 * 0.5 / 128)
COMPRESSED = Space((-20, 20), (-1e9, 1e9), 0, 0, 0, 0.5 / 255, TURN * 0.5 * 2**0.5 / 1023, (4.001 / 256,) * 3)
SLACK = 1e-5  # float32


def angles(a, b):
    """The turn [N] in radians between orientations, the sign of a quaternion aside."""
    one, other = normalised(a.astype(np.float64)), normalised(b.astype(np.float64))
    return 2 * np.arcsin(np.minimum(np.minimum(np.linalg.norm(one - other, axis=1), np.linalg.norm(one + other, axis=1)) / 2, 1))


def check(truth, read, space, means=None, log_scales=None, colours=None, truncates=1):
    """`read` is `truth` within the steps of `space`; errors [N, 3] that depend on the Gaussian may be given instead."""
    error = np.abs(read.means - truth.means.astype(np.float64))
    assert (error <= (space.mean_error if means is None else means) + SLACK * (1 + np.abs(truth.means))).all()
    error = np.abs(read.log_scales - np.clip(truth.log_scales, *space.log_scales))
    assert (error <= (space.log_scale_error if log_scales is None else log_scales) + SLACK * 20).all()
    error = np.abs(read.colours - np.clip(truth.colours, *space.colours))
    assert (error <= truncates * (space.colour_error if colours is None else colours) + SLACK).all()
    assert (np.abs(read.opacities - truth.opacities) <= truncates * space.alpha_error + SLACK).all()
    assert np.isfinite(read.opacity_logits).all()
    assert (angles(truth.quats, read.quats) <= truncates * space.angle_error + SLACK).all()
    for degree in range(1, read.sh_degree + 1):
        band = slice(degree**2, (degree + 1) ** 2)
        limit = 4 if space is COMPRESSED else 1
        error = np.abs(read.sh[:, band] - np.clip(truth.sh[:, band], -limit, limit))
        assert (error <= space.sh_errors[degree - 1] + SLACK).all()


def chunk_errors(data, count):
    """Half steps [N, 3] of means, log scales and colours that the chunks of a compressed ply [bytes] allow, read by plyfile."""
    rows = PlyData.read(io.BytesIO(bytes(data)))["chunk"]
    chunk, steps = np.arange(count) // 256, np.array([2047, 1023, 2047])
    names = [("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")]
    spans = [np.stack([rows[f"max_{n}"] - rows[f"min_{n}"] for n in part], 1)[chunk] for part in names]
    return spans[0] / steps / 2, spans[1] / steps / 2, spans[2] / 255 / 2


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


# --- real files -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leica(data):
    return inria.decode((data / "splats" / "leica-sofort-top8192.ply").read_bytes())


def matched(read, truth):
    """`truth` in the order of `read`: the nearest in place, size and colour together; every Gaussian is used once."""

    def place(splats):
        colours, sizes = np.clip(splats.colours, 0, 1), np.clip(splats.log_scales, -9.5, 2)
        return np.concatenate([splats.means * 20, sizes, colours * 5, splats.opacities[:, None]], 1)

    _, index = cKDTree(place(truth)).query(place(read))
    assert len(np.unique(index)) == len(truth) == len(read)
    return truth.take(index)


@pytest.mark.parametrize("name", ["leica.v3.spz", "leica.v4.spz"])
def test_leica_spz_agrees_with_its_ply(data, leica, name):
    read = spz.decode((data / "splats" / "leica_derived" / name).read_bytes())
    check(matched(read, leica), read, SPZ)


def test_leica_compressed_ply_agrees_with_its_ply(data, leica):
    content = (data / "splats" / "leica_derived" / "leica.compressed.ply").read_bytes()
    read = compressed_ply.decode(content)
    means, log_scales, colours = chunk_errors(content, len(read))
    check(matched(read, leica), read, COMPRESSED, means, log_scales, colours)


def test_leica_splat_agrees_with_its_ply(data, leica):
    read = splat.decode((data / "splats" / "leica_derived" / "leica.splat").read_bytes())
    check(matched(read, leica), read, SPLAT, truncates=2)  # its writer cuts numbers off instead of rounding


def test_three_points_agree_in_three_formats(data):
    folder = data / "conformance"
    truth = inria.decode((folder / "train-3points.ply").read_bytes())
    # Its writer turned the scene half a turn about x, as the text of spz asks for; most do not, and we follow them.
    half_turn = (0.0, 1.0, 0.0, 0.0)
    turned = truth.transformed(Similarity(half_turn))
    turned = replace(turned, quats=multiply_quats(turned.quats, half_turn))  # it turned each splat's own axes too
    check(turned, spz.decode((folder / "train-3points.spz").read_bytes()), SPZ)
    check(truth, splat.decode((folder / "train-3points.splat").read_bytes()), SPLAT, truncates=2)


@pytest.mark.parametrize(("one", "other", "ahead"), [("raw", "v2", -1), ("v3", "v4", 1)])
def test_minimal_spz_files_are_four_corners(data, one, other, ahead):
    """The same four Gaussians with and without gzip, and with gzip and zstd (the two pairs differ in z and in contrast)."""
    a, b = (spz.decode((data / "conformance" / f"st-minimal-{name}.spz").read_bytes()) for name in (one, other))
    assert a.sh_degree == 0
    np.testing.assert_array_equal(a.means, [[-1, 0, ahead], [0, 0, ahead], [-1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(a.scales, 0.1, rtol=0.03)
    np.testing.assert_allclose(a.opacities, 0.9, atol=0.01)
    assert (angles(a.quats, np.tile([1, 0, 0, 0], (4, 1))) < 0.02).all()
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_angel_splat_agrees_with_its_ply(data):
    truth = inria.decode((data / "splats" / "statue-angel.ply").read_bytes())
    read = splat.decode((data / "splats" / "statue-angel.splat").read_bytes())
    check(matched(read, truth), read, SPLAT, truncates=2)


@pytest.mark.parametrize(
    ("name", "decode", "count", "kind"),
    [
        ("guitar.compressed.ply", compressed_ply.decode, 90_854, "classic"),
        ("leica-sofort-scaniverse-top8192.spz", spz.decode, 8192, "antialiased"),
    ],
)
def test_real_files_of_other_makers_are_read(data, name, decode, count, kind):
    read = decode((data / "splats" / name).read_bytes())
    assert len(read) == count and read.kind == kind
    assert all(np.isfinite(array).all() for array in (read.means, read.quats, read.log_scales, read.opacity_logits, read.sh))
    np.testing.assert_allclose(np.linalg.norm(read.quats, axis=1), 1, atol=0.01)
