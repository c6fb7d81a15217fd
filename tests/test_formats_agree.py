"""Every real file loads, and the same scene agrees across all its formats, Gaussian by Gaussian, within each format's steps."""

import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from format_steps import COMPRESSED, EXACT, KSPLAT, SPLAT, SPZ, TURN, angles, check, chunk_errors, half_errors, matched, nearest

import splatview
from splatview.formats import FORMATS
from splatview.geometry import Similarity, multiply_quats

NO_SPLATS = {"nerf/nerfstudio_ngp"}  # a radiance field: refused with its name (test_formats_checkpoints)


def loaded(path, **options):
    [layer] = splatview.load(path, **options).layers.values()
    return layer.content


def assert_equal(one, other, but=()):
    for name in {"means", "quats", "log_scales", "opacity_logits", "sh"} - set(but):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_every_real_file_loads(data):
    suffixes = tuple(entry.suffix for entry in FORMATS)
    paths = [path for part in ("splats", "conformance", "nerf") for path in sorted((data / part).rglob("*")) if path.is_file()]
    paths = [path for path in paths if path.name.endswith(suffixes) and not any(path.is_relative_to(data / part) for part in NO_SPLATS)]
    assert {suffix for suffix in suffixes if any(path.name.endswith(suffix) for path in paths)} >= set(suffixes) - {
        ".pt",
        ".pth",
        ".ingp",
        ".msgpack",
    }
    assert len(paths) >= 45
    for path in paths:
        scene = splatview.load(path)
        assert scene.count > 0, path
        for layer in scene.layers.values():
            splats = layer.content
            arrays = (splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh)
            assert all(np.isfinite(array).all() for array in arrays), path


# --- one scene in eleven files: 8,192 Gaussians, harmonics of degree 3 -------------------------------------------


@pytest.fixture(scope="module")
def leica(data):
    return loaded(data / "splats" / "leica-sofort-top8192.ply")


@pytest.fixture(scope="module")
def derived(data):
    return data / "splats" / "leica_derived"


@pytest.mark.parametrize("name", ["leica.v3.spz", "leica.v4.spz"])
def test_spz_agrees(derived, leica, name):
    read = loaded(derived / name)
    check(matched(read, leica), read, SPZ)


def test_compressed_ply_agrees(derived, leica):
    path = derived / "leica.compressed.ply"
    read = loaded(path)
    check(matched(read, leica), read, COMPRESSED, *chunk_errors(path.read_bytes(), len(read)))


def test_splat_agrees(derived, leica):
    read = loaded(derived / "leica.splat")
    check(matched(read, leica), read, SPLAT, truncates=2)  # its writer cuts numbers off instead of rounding


def test_glb_agrees(derived, leica):
    """Turned to y-up and back, with the harmonics: not a bit of them is lost, as it is half a turn."""
    read = loaded(derived / "leica.glb")
    check(leica, read, EXACT)
    np.testing.assert_array_equal(read.means, leica.means)
    np.testing.assert_array_equal(read.sh, leica.sh)


def test_a_splatfacto_run_agrees(data, leica):
    assert_equal(loaded(data / "nerf" / "nerfstudio_splatfacto"), leica)


@pytest.mark.parametrize("level", range(3))
def test_ksplat_agrees(derived, leica, level):
    """Degree 2 is all that the format holds; every harmonic is in its place."""
    path = derived / f"leica.l{level}_sh2.ksplat"
    read, low, high = loaded(path), *struct.unpack_from("<ff", path.read_bytes(), 36)
    assert read.sh_degree == 2
    truth = matched(read, leica)
    if level == 0:
        check(truth, read, replace(KSPLAT, sh_errors=(0, 0)), truncates=2)
        return
    (block,) = struct.unpack_from("<f", path.read_bytes(), 4096 + 16)
    space = replace(KSPLAT, mean_error=block / 2 / 32767 / 2, angle_error=2**-10, sh_errors=(2**-11,) * 2)
    if level == 2:  # its writer finds the range in some of the harmonics, and cuts the others off there
        truth = replace(truth, sh=np.concatenate([truth.sh[:, :1], np.clip(truth.sh[:, 1:], low, high)], 1))
        space = replace(space, sh_errors=((high - low) / 255,) * 2)
    check(truth, read, space, log_scales=half_errors(truth.scales), truncates=2)


def sog_meta(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("meta.json"))


def test_sog_agrees(data, leica):
    """Every number is the nearest of its codebook, the harmonics too: this palette has a vector for each Gaussian."""
    path = data / "splats" / "leica-sofort-top8192.sog"
    read, meta = loaded(path), sog_meta(path)
    truth = matched(read, leica)
    low, high = np.array(meta["means"]["mins"]), np.array(meta["means"]["maxs"])
    means = (high - low) / 65535 * np.exp(np.maximum(np.abs(low), np.abs(high)))  # its steps are of sign(x) ln(1 + |x|)
    space = replace(EXACT, alpha_error=0.5 / 255, angle_error=TURN / 255 / 2**0.5, sh_errors=())
    errors = [
        np.abs(nearest(meta[name]["codebook"], values) - values) for name, values in (("scales", truth.log_scales), ("sh0", truth.sh[:, 0]))
    ]
    check(truth, read, space, means, errors[0], errors[1], truncates=2)
    assert meta["shN"]["count"] == len(leica)
    np.testing.assert_allclose(read.sh[:, 1:], nearest(meta["shN"]["codebook"], truth.sh[:, 1:]), atol=1e-5)


# --- other scenes ---------------------------------------------------------------------------------------------


def test_the_angel_agrees(data):
    """The ply is what its maker read in the sog: the same numbers in the same order. The others are made of it."""
    folder = data / "splats"
    truth, sog = loaded(folder / "statue-angel.ply"), loaded(folder / "statue-angel.sog")
    assert_equal(sog, truth, but=["opacity_logits"])
    np.testing.assert_allclose(sog.opacities, truth.opacities, atol=0.3 / 255)  # it reads the bytes 0 and 255 as the very ends
    splat = loaded(folder / "statue-angel.splat")
    check(matched(splat, truth), splat, SPLAT, truncates=2)
    ksplat = loaded(folder / "statue-angel.l1.ksplat")
    kept = matched(ksplat, truth.take(truth.opacities > 1.5 / 255))  # its maker drops an alpha of 1
    check(kept, ksplat, replace(KSPLAT, mean_error=5 / 2 / 32767 / 2, angle_error=2**-10), log_scales=half_errors(kept.scales), truncates=2)


def test_playbots_level_2_agrees(data):
    folder = data / "splats"
    truth = loaded(folder / "playbot-lod2.ply")
    assert splatview.formats.levels(folder / "playbot_sog_lod")[2] == len(truth)
    for read in (loaded(folder / "playbot_sog_lod", level=2), loaded(folder / "playbot_sog_lod" / "2_0")):
        assert_equal(read, truth, but=["opacity_logits"])
        np.testing.assert_allclose(read.opacities, truth.opacities, atol=0.3 / 255)


def test_three_points_agree_in_three_formats(data):
    folder = data / "conformance"
    truth = loaded(folder / "train-3points.ply")
    # Its writer turned the scene half a turn about x, as the text of spz asks for; most do not, and we follow them.
    half_turn = (0.0, 1.0, 0.0, 0.0)
    turned = truth.transformed(Similarity(half_turn))
    turned = replace(turned, quats=multiply_quats(turned.quats, half_turn))  # it turned each splat's own axes too
    check(turned, loaded(folder / "train-3points.spz"), SPZ)
    check(truth, loaded(folder / "train-3points.splat"), SPLAT, truncates=2)


@pytest.mark.parametrize(("one", "other", "ahead"), [("raw", "v2", -1), ("v3", "v4", 1)])
def test_minimal_spz_files_are_four_corners(data, one, other, ahead):
    """The same four Gaussians with and without gzip, and with gzip and zstd (the two pairs differ in z and in contrast)."""
    a, b = (loaded(data / "conformance" / f"st-minimal-{name}.spz") for name in (one, other))
    assert a.sh_degree == 0
    np.testing.assert_array_equal(a.means, [[-1, 0, ahead], [0, 0, ahead], [-1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(a.scales, 0.1, rtol=0.03)
    np.testing.assert_allclose(a.opacities, 0.9, atol=0.01)
    assert (angles(a.quats, np.tile([1, 0, 0, 0], (4, 1))) < 0.02).all()
    assert_equal(a, b)


@pytest.mark.parametrize("name", ["st-minimal.splat", "st-minimal.ksplat"])
def test_minimal_files_of_other_formats_are_the_same_corners(data, name):
    """But for their colours, and orientations that their maker wrote as xyzw: spheres look the same."""
    truth, read = loaded(data / "conformance" / "st-minimal-v2.spz"), loaded(data / "conformance" / name)
    np.testing.assert_array_equal(read.means, truth.means)
    np.testing.assert_allclose(read.log_scales, truth.log_scales, atol=SPZ.log_scale_error)
    np.testing.assert_allclose(read.opacities, truth.opacities, atol=SPZ.alpha_error)


@pytest.mark.parametrize(
    ("name", "count", "kind"),
    [
        ("guitar.compressed.ply", 90_854, "classic"),
        ("leica-sofort-scaniverse-top8192.spz", 8192, "antialiased"),
        ("statue-narcissus.sog", 101_275, "classic"),
    ],
)
def test_real_files_of_other_makers_are_read(data, name, count, kind):
    read = loaded(data / "splats" / name)
    assert len(read) == count and read.kind == kind
    np.testing.assert_allclose(np.linalg.norm(read.quats, axis=1), 1, atol=0.01)
