"""Loading and saving: detection, names, notes, baking, and files that are never half written."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import splatview
from splatview.formats import FORMATS, files
from splatview.geometry import Similarity, rotation_about
from splatview.scene import Layer, Scene

SUFFIXES = [entry.suffix for entry in FORMATS if entry.encode]


@pytest.fixture
def scene(random_gaussians):
    return Scene({"a": Layer(random_gaussians(300, 1))})


def only(scene):
    [layer] = scene.layers.values()
    return layer.content


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_saved_scene_is_loaded_again(scene, tmp_path, suffix):
    path = tmp_path / f"my.garden{suffix}"
    splatview.save(scene, path)
    again = splatview.load(str(path))
    assert list(again.layers) == ["my.garden"]
    assert len(only(again)) == 300
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".ply", ".compressed.ply", ".spz"])
def test_content_says_more_than_the_suffix(scene, tmp_path, suffix):
    path = tmp_path / f"scene{suffix}"
    splatview.save(scene, path)
    wrong = path.rename(tmp_path / "scene.splat")
    np.testing.assert_allclose(np.sort(only(splatview.load(wrong)).means, 0), np.sort(only(scene).means, 0), atol=0.02)
    bare = wrong.rename(tmp_path / "scene")
    assert list(splatview.load(bare).layers) == ["scene"]


def test_suffixes_may_be_capital(scene, tmp_path):
    splatview.save(scene, tmp_path / "A.COMPRESSED.PLY")
    assert b"packed_position" in (tmp_path / "A.COMPRESSED.PLY").read_bytes()
    assert list(splatview.load(tmp_path / "A.COMPRESSED.PLY").layers) == ["A"]


def test_notes_of_the_reader_are_kept(data):
    notes = splatview.load(data / "conformance" / "train-3points.ply").layers["train-3points"].notes
    assert any("nx" in note for note in notes)  # the one file of ours whose normals say something


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.ply"):
        splatview.load(tmp_path / "nothing.ply")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scene.xyz", b"hello, this is nothing", r"unknown format; expected one of .*\.compressed\.ply.*\.splat"),
        ("scene.ply", b"", "empty"),
        ("scene.ply", b"hello", "header"),
        ("scene.spz", b"hello", "NGSP"),
        ("scene.splat", b"hello", "multiple of 32"),
        ("scene.gz", b"\x1f\x8bhello", "gzip"),
    ],
)
def test_bad_content_names_the_file_and_the_reason(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        splatview.load(tmp_path / name)
    assert name in str(error.value)


def test_a_folder_is_no_scene(tmp_path):
    with pytest.raises(ValueError, match="folder"):
        splatview.load(tmp_path)


def test_an_unknown_suffix_lists_the_known_ones(scene, tmp_path):
    with pytest.raises(ValueError) as error:
        splatview.save(scene, tmp_path / "scene.obj")
    assert all(suffix in str(error.value) for suffix in SUFFIXES)


def test_there_must_be_something_to_save(scene, tmp_path):
    for empty in (Scene(), scene.shown("a", False), Scene({"a": Layer(only(scene).take(np.zeros(300, bool)))})):
        with pytest.raises(ValueError, match="nothing to save"):
            splatview.save(empty, tmp_path / "a.ply")
    assert not list(tmp_path.iterdir())


def test_visible_layers_are_baked_into_one(scene, random_gaussians, tmp_path):
    placement = Similarity.from_matrix(
        np.block([[2 * rotation_about([1, 2, 3], 1.0), np.array([[1], [2], [3]])], [np.zeros((1, 3)), np.ones((1, 1))]])
    )
    other = random_gaussians(50, 2, seed=1)
    scene = scene.with_layer("b", Layer(other, placement)).with_layer("c", Layer(other, visible=False))
    splatview.save(scene, tmp_path / "all.ply")
    saved, moved = only(splatview.load(tmp_path / "all.ply")), other.transformed(placement)
    assert len(saved) == 350 and saved.sh_degree == 2
    np.testing.assert_array_equal(saved.means, np.concatenate([scene.layers["a"].content.means, moved.means]))
    np.testing.assert_array_equal(saved.sh[300:], moved.sh)
    assert not saved.sh[:300, 4:].any()


def test_layers_of_different_kinds_are_noted(scene, random_gaussians, tmp_path):
    scene = scene.with_layer("b", Layer(random_gaussians(5, 0, kind="antialiased")))
    [note] = splatview.save(scene, tmp_path / "all.ply")
    assert "antialiased, classic" in note


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_the_format_loses_is_returned(random_gaussians, tmp_path, suffix):
    scene = Scene({"a": Layer(random_gaussians(10, 3))})
    notes = splatview.save(scene, tmp_path / f"a{suffix}")
    assert bool(notes) == (suffix == ".splat")
    assert splatview.save(scene, tmp_path / f"a{suffix}", max_sh=0) == ()


@pytest.mark.parametrize("degree", range(5))
def test_max_sh_cuts_the_harmonics(random_gaussians, tmp_path, degree):
    splats = random_gaussians(10, 4)
    splatview.save(Scene({"a": Layer(splats)}), tmp_path / "a.ply", max_sh=degree)
    np.testing.assert_array_equal(only(splatview.load(tmp_path / "a.ply")).sh, splats.sh[:, : (degree + 1) ** 2])


def test_degree_4_and_the_options_that_help(random_gaussians, tmp_path):
    scene, path = Scene({"a": Layer(random_gaussians(10, 4))}), tmp_path / "a.spz"
    with pytest.raises(ValueError, match=r"--max-sh 3.*--spz-version 4"):
        splatview.save(scene, path)
    assert not path.exists()
    splatview.save(scene, path, max_sh=3)
    assert only(splatview.load(path)).sh_degree == 3
    splatview.save(scene, path, spz_version=4)
    assert only(splatview.load(path)).sh_degree == 4


@pytest.mark.parametrize("options", [{"max_sh": 5}, {"max_sh": -1}, {"spz_version": 2}])
def test_bad_options(scene, tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        splatview.save(scene, tmp_path / "a.spz", **options)


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_failed_save_loses_nothing(scene, tmp_path, monkeypatch, fails):
    path = tmp_path / "a.ply"
    splatview.save(scene, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    if fails == "fsync":
        monkeypatch.setattr(files.os, "fsync", full)
    progress = full if fails == "write" else None
    with pytest.raises(OSError, match="No space"):
        splatview.save(scene.with_layer("b", scene.layers["a"]), path, progress=progress)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ply"]


def test_saving_through_a_link_keeps_the_link(scene, tmp_path):
    (tmp_path / "far").mkdir()
    splatview.save(scene, tmp_path / "far" / "a.ply")
    (tmp_path / "link.ply").symlink_to(tmp_path / "far" / "a.ply")
    splatview.save(scene, tmp_path / "link.ply", max_sh=0)
    assert (tmp_path / "link.ply").is_symlink()
    assert only(splatview.load(tmp_path / "far" / "a.ply")).sh_degree == 0


def test_saving_into_a_missing_folder(scene, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        splatview.save(scene, tmp_path / "none" / "a.ply")


@pytest.mark.parametrize("options", [{"suffix": suffix} for suffix in SUFFIXES] + [{"suffix": ".spz", "spz_version": 4}], ids=str)
def test_progress_only_grows_and_ends_at_one(random_gaussians, tmp_path, options):
    path = tmp_path / f"a{options.pop('suffix')}"
    scene, seen = Scene({"a": Layer(random_gaussians(60_000, 1))}), []

    def progress(fraction, text):
        seen.append(fraction)
        assert text

    for work in (lambda: splatview.save(scene, path, progress=progress, **options), lambda: splatview.load(path, progress)):
        seen.clear()
        work()
        assert seen == sorted(seen) and seen[0] >= 0 and seen[-1] == 1 and len(seen) >= 2


def test_2dgs_is_kept_by_ply(random_gaussians, tmp_path):
    splats = random_gaussians(10, 0, kind="2dgs")
    flat = replace(splats, log_scales=splats.log_scales * np.float32([1, 1, 0]) + np.float32([0, 0, -20]))
    splatview.save(Scene({"a": Layer(flat)}), tmp_path / "a.ply")
    assert only(splatview.load(tmp_path / "a.ply")).kind == "2dgs"
    assert "2DGS" in splatview.save(Scene({"a": Layer(flat)}), tmp_path / "a.spz")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "options", "seconds"),
    [(".ply", {}, 1.5), (".spz", {}, 1.0), (".spz", {"spz_version": 4}, 1.0)],
    ids=["ply", "spz 3", "spz 4"],
)
def test_a_million_gaussians_load_fast(random_gaussians, tmp_path, suffix, options, seconds):
    splatview.save(Scene({"a": Layer(random_gaussians(1_000_000, 3))}), tmp_path / f"a{suffix}", **options)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        assert splatview.load(tmp_path / f"a{suffix}").count == 1_000_000
        taken.append(time.perf_counter() - start)
    assert min(taken) < seconds


def test_the_formats_need_no_torch():
    code = "import sys, splatview; splatview.load; print([name for name in ('torch', 'cv2', 'viser', 'aiohttp') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
