"""`splatview capture`: photographs that show what the scene shows, from where they say, and that a field learns from."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_fields import ball

from splatview import Camera, Gaussians, RenderOptions, Scene, load, open_renderer, save
from splatview.cli import main
from splatview.cli.capture import box
from splatview.cli.pictures import straight_rgba
from splatview.cli.vantage import CLOSE, Stand, views
from splatview.fit import load_capture, transforms
from splatview.fit.field import Shape
from splatview.fit.lens import Lens
from splatview.fit.posed import Frame, Posed
from splatview.fit.quality import psnr
from splatview.fit.training import Recipe, Training
from splatview.formats.cameras import load_cameras, save_cameras
from splatview.framing import frame_scene
from splatview.geometry import Similarity
from splatview.ngp import field_from_world
from splatview.scene import Layer


def surface(points: np.ndarray, size: float) -> Gaussians:
    """Dense round splats at `points` [N, 3], coloured by where they are."""
    sh = np.clip(points / np.abs(points).max(), -1, 1)[:, None] * 1.2
    return Gaussians(
        points, np.tile([1.0, 0, 0, 0], (len(points), 1)), np.full((len(points), 3), np.log(size)), np.full(len(points), 4.0), sh
    )


def sphere(radius: float = 1.0, count: int = 2000) -> Gaussians:
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return surface(radius * directions / np.linalg.norm(directions, axis=1, keepdims=True), 0.06 * radius)


def room() -> Gaussians:
    """A closed one of 8 x 6 x 3, around the origin."""
    points = np.random.default_rng(1).uniform(-1, 1, (6000, 3))
    side = np.random.default_rng(2).integers(0, 3, 6000)
    points[np.arange(6000), side] = np.sign(points[np.arange(6000), side])
    return surface(points * [4, 3, 1.5], 0.12)


def written(folder: Path, content, name: str = "scene.ply", placement: Similarity = Similarity()) -> Path:
    save(Scene({"scene": Layer(content, placement)}), folder / name)
    return folder / name


def captured(file: Path, folder: Path, *flags: str):
    assert main(["capture", str(file), str(folder), "--size", "48x36", "--backend", "cpu", *flags]) == 0
    return load_capture(folder)


def camera_of(photo) -> Camera:
    lens = photo.lens
    K = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    return Camera(K, np.linalg.inv(photo.world_from_camera), lens.width, lens.height)


SCENES = {"splats": lambda folder: written(folder, sphere()), "a field": lambda folder: written(folder, ball(), "ball.ingp")}


@pytest.mark.parametrize("name", SCENES)
def test_a_photo_is_the_picture_from_where_it_says(name, tmp_path):
    file = SCENES[name](tmp_path)
    capture = captured(file, tmp_path / "photos", "--photos", "12")
    assert len(capture.photos) == 12 and not capture.missing
    scene, renderer = load(file), open_renderer("cpu")
    for photo in capture.photos:
        again = straight_rgba(renderer.render(scene, camera_of(photo), RenderOptions(outputs=("rgb", "alpha"))))
        assert np.abs(again[..., 3].astype(int) - photo.pixels[..., 3]).max() <= 1
        solid = again[..., 3] > 20
        assert solid.any() and np.abs(again[solid].astype(int) - photo.pixels[solid]).max() <= 2


def test_opaque_photos_stand_before_the_background(tmp_path):
    flags = "--photos", "3", "--opaque", "--background", "#2040c0"
    capture = captured(written(tmp_path, sphere()), tmp_path / "photos", *flags)
    assert all(photo.name.endswith(".jpg") and photo.pixels.shape == (36, 48, 3) for photo in capture.photos)
    corners = [photo.pixels[0, 0] for photo in capture.photos]
    assert np.abs(np.min(np.abs(np.array(corners, int) - [0x20, 0x40, 0xC0]).max(1))) < 8


def test_cameras_of_ones_own_are_taken_as_they_are(tmp_path):
    shots = [Camera.look_at((3, 0.5 * number, 1), (0, 0, 0), (0, 0, 1), 0.7 + 0.1 * number, 40 + number, 30) for number in range(3)]
    save_cameras(shots, tmp_path / "path.json")
    file = written(tmp_path, sphere())
    assert main(["capture", str(file), str(tmp_path / "photos"), "--camera", str(tmp_path / "path.json"), "--backend", "cpu"]) == 0
    capture = load_capture(tmp_path / "photos")
    for found in ([camera_of(photo) for photo in capture.photos], load_cameras(tmp_path / "photos" / "transforms.json")):
        for one, other in zip(found, shots, strict=True):
            assert (one.width, one.height) == (other.width, other.height)
            assert np.allclose(one.K, other.K) and np.allclose(one.camera_from_world, other.camera_from_world, atol=1e-9)


def test_what_is_written_is_read_again(tmp_path):
    rng = np.random.default_rng(3)
    frames = []
    for number in range(4):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.normal(size=3)
        pose[:3, 0] *= np.linalg.det(pose[:3, :3])
        frames.append(Frame(tmp_path / f"images/{number}.png", Lens(40 + number, 30, 50.5, 51.5, 19.0, 16.25), pose))
    posed = Posed(tuple(frames), field_from_world(0.3, (0.1, 0.2, 0.7)), 4)
    transforms.write(posed, tmp_path / "transforms.json")
    again = transforms.read(tmp_path / "transforms.json")
    assert np.allclose(again.field_from_world.matrix, posed.field_from_world.matrix) and again.box_scale == 4
    for one, other in zip(again.frames, posed.frames, strict=True):
        assert one.file == other.file and one.lens.sized(10, 10) == Lens(**{**vars(other.lens), "distortion": (0.0,) * 5}).sized(10, 10)
        assert np.allclose(one.world_from_camera, other.world_from_camera)


@pytest.mark.parametrize("change", [lambda one: Posed(one.frames, Similarity(), 1), lambda one: one])
def test_what_the_file_cannot_say_is_refused(tmp_path, change):
    bent = Lens(4, 3, 5.0, 5.0, 2.0, 1.5, (0.1,))
    frame = Frame(tmp_path / "0.png", bent, np.eye(4))
    with pytest.raises(ValueError, match="expected lenses that bend nothing"):
        transforms.write(change(Posed((frame,), field_from_world(1, (0, 0, 0)), 1)), tmp_path / "transforms.json")


def test_where_up_is_not_z_it_is_said(tmp_path, capsys):
    captured(written(tmp_path, sphere()), tmp_path / "z", "--photos", "1", "--up", "z")
    assert "--up" not in capsys.readouterr().out
    captured(written(tmp_path, sphere()), tmp_path / "y", "--photos", "1", "--up", "-y")
    assert "view a field of it with --up -y" in capsys.readouterr().out


# Views


def stood(content, stand: Stand, count: int = 96) -> list[Camera]:
    scene, renderer = Scene({"scene": Layer(content)}), open_renderer("cpu")
    options = RenderOptions(outputs=("alpha", "depth"))
    return list(islice(views(frame_scene(scene, "z"), (64, 48), 1.0, lambda camera: renderer.render(scene, camera, options), stand), count))


def test_views_stand_all_around_and_above_the_ground_and_more_of_them_in_front():
    eyes = np.array([camera.position for camera in stood(sphere(), "around")])
    assert len(eyes) == 96 and np.array_equal(eyes, [camera.position for camera in stood(sphere(), "around")])
    turn = np.arctan2(eyes[:, 0], -eyes[:, 1])  # 0 in front
    assert (np.histogram(turn, 8, (-np.pi, np.pi))[0] >= 4).all() and (np.abs(turn) < np.pi / 2).mean() > 0.55
    assert (np.linalg.norm(eyes, axis=1) > 1.2).all(), "none is in the ball"
    assert (eyes[:, 2] > -1).all() and (eyes[::8, 2] > 0.5).any()


def test_a_closed_room_is_photographed_from_within_too_and_no_wall_is_in_front_of_ones_nose():
    cameras, scene, renderer = stood(room(), "both"), Scene({"room": Layer(room())}), open_renderer("cpu")
    inside = [camera for camera in cameras if (np.abs(camera.position) < [4, 3, 1.5]).all()]
    assert 10 < len(inside) < 60
    near = CLOSE * frame_scene(scene, "z").radius
    for camera in cameras:
        frame = renderer.render(scene, camera)
        assert ((frame.alpha > 0.5) & (frame.depth < near)).mean() < 0.05 and (frame.alpha > 0.5).any()
    middles = {tuple(np.sign(np.round(camera.forward, 1)[:2])) for camera in inside}
    assert len(middles) >= 4, "they look about"


# The box


def test_the_box_of_a_bounded_scene_is_tight(tmp_path):
    placed = written(tmp_path, sphere(2.0), placement=Similarity(translation=(5, -3, 1)))
    capture = captured(placed, tmp_path / "photos", "--photos", "40")
    assert capture.box_scale == 1
    there = capture.field_from_world.apply([[3, -3, 1], [7, -3, 1], [5, -5, 1], [5, -1, 1], [5, -3, 3]])
    assert (np.abs(there - 0.5) < 0.52).all() and np.abs(there - 0.5).max() > 0.42


def test_the_box_of_a_scene_with_a_sky_holds_it_and_keeps_the_finest_cells_for_what_is_near():
    framing = frame_scene(Scene({"ball": Layer(sphere())}), "z")
    near, sky = sphere(1.0).means, sphere(25.0).means
    into, scale = box(np.concatenate([near, sky]), framing)
    assert scale in (16, 32) and (np.abs(into.apply(sky) - 0.5) <= scale / 2).all()
    unit = np.abs(into.apply(near) - 0.5).max()
    assert 0.3 < unit <= 0.5
    assert box(np.zeros((0, 3)), framing)[1] == 1 and box(sphere(1e6).means, framing)[1] == 128


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scene.ply", "taken"], "expected a new folder or an empty one, found something in the way"),
        (["scene.ply", "scene.ply"], "expected a new folder or an empty one"),
        (["scene.ply", "scene.ply/new"], "scene.ply/new: Not a directory"),
        (["nothing.ply", "new"], "nothing.ply"),
        (["scene.ply", "new", "--photos", "0"], "--photos: expected 1 to 10000"),
        (["scene.ply", "new", "--fov", "180"], "--fov: expected degrees"),
        (["scene.ply", "new", "--camera", "taken/it.json"], "unknown camera file"),
        (["clear.ply", "new"], "expected something that is seen from around it"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, sphere())
    glass = sphere()
    written(tmp_path, Gaussians(glass.means, glass.quats, glass.log_scales, np.full(len(glass), -9.0), glass.sh), "clear.ply")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "it.json").write_text("{}")
    assert main(["capture", *arguments, "--backend", "cpu"]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    new = tmp_path / "new"
    assert not new.exists() or not list(new.iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    """No file may be larger than a few bytes: writing fails as on a disk that is full."""
    written(tmp_path, sphere())
    command = [
        sys.executable,
        "-m",
        "splatview",
        "capture",
        "scene.ply",
        "photos",
        "--size",
        "400x300",
        "--photos",
        "2",
        "--backend",
        "cpu",
    ]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    done = subprocess.run(command, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "File too large" in done.stderr and done.stderr.count("\n") == 1
    assert not list((tmp_path / "photos").iterdir())


def test_a_field_learns_a_scene_from_its_capture_and_lies_where_it_does(tmp_path):
    placed = written(tmp_path, sphere(2.0), placement=Similarity(translation=(5, -3, 1)))
    capture = captured(placed, tmp_path / "photos", "--photos", "60", "--fov", "40", "--stand", "around")
    training = Training(capture, Recipe(Shape(levels=6, features=4, log2_size=12, coarsest=8, width=16), samples=1 << 13))
    for step in range(150):
        training.step(step / 150)
    assert np.mean([psnr(*training.shown(photo)) for photo in training.held_out]) > 18
    field = Scene({"ball": Layer(training.value(), capture.field_from_world.inverse())})
    photo = training.held_out[0]
    frame = open_renderer("cpu").render(field, camera_of(photo))
    truth = photo.pixels.astype(np.float32) / 255
    assert cv2.PSNR(np.clip(frame.rgb, 0, 1), truth[..., :3] * truth[..., 3:], 1.0) > 15
    assert json.loads((tmp_path / "photos" / "transforms.json").read_text())["w"] == 48
