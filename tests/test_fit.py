"""Training fields: reading captures, the laws of its parts, and that it learns."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import captures
import cv2
import numpy as np
import pytest
import torch

import splatview
from splatview import Camera
from splatview.cli import main
from splatview.fit import checkpoints, load_capture
from splatview.fit.colmap import _up
from splatview.fit.encoding import Grid, encode, encoded
from splatview.fit.field import Field, Shape
from splatview.fit.lens import Lens
from splatview.fit.marching import _lattice, march, packed, weights
from splatview.fit.occupancy import OccupancyGrid
from splatview.fit.quality import psnr, ssim
from splatview.fit.training import Recipe, Training
from splatview.geometry import matrix_from_quat, quat_from_matrix
from splatview.hashgrid import Marching
from splatview.ngp import level_shapes

SMALL = Recipe(Shape(levels=6, features=4, log2_size=12, coarsest=8, width=16), samples=1 << 13)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return captures.write(tmp_path_factory.mktemp("capture") / "ball")


# Captures


@pytest.mark.parametrize("distortion", [(), (0.06, -0.08, 0.001, -0.002), (0.3, 0.1, 0, 0, -0.05, 0.2, 0.1, 0.02)])
def test_a_ray_through_a_pixel_comes_back_to_it(distortion):
    lens = Lens(64, 48, 50.0, 55.0, 30.0, 25.0, distortion)
    rays = np.concatenate([lens.rays().reshape(-1, 2), np.ones((64 * 48, 1))], 1)
    K = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    pixels = cv2.projectPoints(rays.astype(np.float64), np.zeros(3), np.zeros(3), K, np.array(distortion or (0.0,) * 4))[0]
    u, v = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    assert np.allclose(pixels.reshape(48, 64, 2), np.stack([u, v], -1), atol=2e-3)


def test_a_fisheye_bends_rays_as_opencv_says():
    lens = Lens(64, 48, 30.0, 30.0, 32.0, 24.0, (0.05, 0.01, 0.0, 0.0), fisheye=True)
    K = np.array([[30.0, 0, 32], [0, 30, 24], [0, 0, 1]])
    pixels = cv2.fisheye.distortPoints(lens.rays().reshape(-1, 1, 2).astype(np.float64), K, np.array(lens.distortion))
    u, v = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    assert np.allclose(pixels.reshape(48, 64, 2), np.stack([u, v], -1), atol=1e-2)


def test_a_capture_has_its_photos_and_counts_those_that_are_missing(folder):
    capture = load_capture(folder)
    assert len(capture.photos) == captures.PHOTOS and capture.missing == 1 and capture.box_scale == 1
    photo = capture.photos[3]
    assert photo.pixels.shape == (captures.SIZE, captures.SIZE, 4)
    forward = photo.world_from_camera[:3, 2]
    assert np.allclose(photo.world_from_camera[:3, 3] + np.linalg.norm(photo.world_from_camera[:3, 3]) * forward, 0, atol=1e-6)
    half = load_capture(folder / "transforms.json", downscale=2).photos[3]
    assert half.pixels.shape[:2] == (captures.SIZE // 2,) * 2 and half.lens.fx == pytest.approx(photo.lens.fx / 2)


def test_the_fields_frame_is_instant_ngps(folder):
    into = load_capture(folder).field_from_world
    assert np.allclose(into.apply([[0, 0, 0], [1, 2, 3]]), [[0.5, 0.5, 0.5], [0.5 + 0.66, 0.5 + 0.99, 0.5 + 0.33]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("frames"), "expected a list of 'frames'"),
        (lambda content: content["frames"][0].pop("file_path"), "frame 0: there is no 'file_path'"),
        (lambda content: content["frames"][0].update(transform_matrix=[[1, 2], [3, 4]]), "frame 0: transform_matrix: expected 4 x 4"),
        (lambda content: content["frames"][0].update(transform_matrix=np.diag([1, 1, -1, 1]).tolist()), "mirrors or shears"),
        (lambda content: content.pop("fl_x"), "expected a focal length"),
        (lambda content: content.update(aabb_scale=3), "aabb_scale: expected 1, 2, 4"),
        (lambda content: content.update(fl_x="far"), "frame 0"),
        (lambda content: content.update(scale=[1]), "expected a scale > 0 and an offset of three numbers"),
        (lambda content: content.update(offset=None), "expected a scale > 0 and an offset of three numbers"),
        (lambda content: content.update(offset=[1, 2]), "expected a scale > 0 and an offset of three numbers"),
        (lambda content: content["frames"].__setitem__(slice(None), content["frames"][-1:]), "of 1 none is there"),
    ],
)
def test_what_is_wrong_with_a_capture_is_said(folder, tmp_path, change, message):
    content = json.loads((folder / "transforms.json").read_text())
    change(content)
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    (tmp_path / "images").symlink_to(folder / "images")
    with pytest.raises(ValueError, match=message):
        load_capture(tmp_path)


def colmap(folder: Path, source: Path, binary: bool, turn=(1.0, 0.0, 0.0, 0.0)) -> Path:
    """The capture in `source` as a COLMAP model, whose world is turned by a quaternion."""
    (folder / "sparse/0").mkdir(parents=True)
    (folder / "images").symlink_to(source / "images")
    capture = load_capture(source)
    lens, lines, records = capture.photos[0].lens, [], []
    for number, photo in enumerate(capture.photos):
        pose = np.linalg.inv(photo.world_from_camera)
        quat, place = quat_from_matrix(pose[:3, :3] @ matrix_from_quat(np.array(turn)).T), pose[:3, 3]
        lines.append(f"{number} {' '.join(map(repr, map(float, [*quat, *place])))} 7 {photo.name}\n1.0 2.0 -1\n")
        records.append(struct.pack("<i7di", number, *quat, *place, 7) + photo.name.encode() + b"\0" + struct.pack("<Qddq", 1, 1.0, 2.0, -1))
    numbers = lens.fx, lens.fy, lens.cx, lens.cy, 0.01, 0.02, 0.0, 0.0
    if binary:
        (folder / "sparse/0/cameras.bin").write_bytes(struct.pack("<QiiQQ8d", 1, 7, 4, lens.width, lens.height, *numbers))
        (folder / "sparse/0/images.bin").write_bytes(struct.pack("<Q", len(records)) + b"".join(records))
    else:
        (folder / "sparse/0/cameras.txt").write_text(f"# cameras\n7 OPENCV {lens.width} {lens.height} {' '.join(map(repr, numbers))}\n")
        (folder / "sparse/0/images.txt").write_text("# images\n" + "".join(lines))
    return folder


@pytest.mark.parametrize("binary", [False, True])
def test_a_colmap_model_is_the_same_capture(folder, tmp_path, binary):
    found, wanted = load_capture(colmap(tmp_path, folder, binary)), load_capture(folder)
    assert [photo.name for photo in found.photos] == [photo.name for photo in wanted.photos]
    for one, other in zip(found.photos, wanted.photos, strict=True):
        assert np.allclose(one.world_from_camera, other.world_from_camera, atol=1e-6) and np.array_equal(one.pixels, other.pixels)
    assert found.photos[0].lens.distortion == (0.01, 0.02, 0.0, 0.0)
    assert np.allclose(found.field_from_world.apply([0, 0, 0]), 0.5, atol=0.05)  # what all look at is in the middle


@pytest.mark.parametrize("quat", [(0.0, 1, 0, 0), (0.5, 0.5, 0.5, 0.5), (1.0, 2, -3, 4), (0.7, -0.7, 0, 0.1)])
def test_however_a_colmap_model_lies_its_cameras_stand_upright(folder, tmp_path, quat):
    """The same field's frame as from transforms.json, but for a turn about the vertical."""
    found = load_capture(colmap(tmp_path, folder, True, quat))
    wanted = load_capture(folder)
    ours, theirs = (np.array([photo.world_from_camera[:3] for photo in capture.photos]) for capture in (found, wanted))
    turn = ours[0, :, :3] @ theirs[0, :, :3].T
    assert np.allclose(turn @ [0, 0, 1], [0, 0, 1], atol=1e-6) and np.allclose(ours, turn @ theirs, atol=1e-6)
    assert np.linalg.norm(found.viewpoints.places - 0.5, axis=1).mean() == pytest.approx(4 * 0.33)  # as instant-ngp's converter has it


@pytest.mark.parametrize("down", [0.2, 1.0, 1.4])
def test_cameras_that_look_down_from_one_side_do_not_lean(down):
    """Level ones on an arc of 60 degrees, pitched by `down`: a mean of what is above them would lean by as much."""
    poses = []
    for angle in np.linspace(-0.5, 0.5, 9):
        ahead = np.array([np.cos(angle) * np.cos(down), np.sin(angle) * np.cos(down), -np.sin(down)])
        right = np.array([np.sin(angle), -np.cos(angle), 0])
        poses.append(np.block([[np.stack([right, np.cross(ahead, right), ahead], 1), np.zeros((3, 1))], [np.zeros(3), 1]]))
    up = _up(np.array(poses))
    assert up / np.linalg.norm(up) == pytest.approx([0, 0, 1], abs=1e-6)


def test_cameras_side_by_side_have_above_them_what_is_up():
    up = _up(np.tile(np.linalg.inv(Camera.look_at((0, -3, 1), (0, 0, 1), (0, 0, 1), 0.8, 10, 10).camera_from_world), (5, 1, 1)))
    assert up / np.linalg.norm(up) == pytest.approx([0, 0, 1], abs=1e-6)


@pytest.mark.parametrize("end", [4, 100, 200])
@pytest.mark.parametrize("binary", [False, True])
def test_a_damaged_model_is_one_clear_error(folder, tmp_path, binary, end):
    model = colmap(tmp_path, folder, binary) / f"sparse/0/images.{'bin' if binary else 'txt'}"
    model.write_bytes(model.read_bytes()[:end])
    with pytest.raises(ValueError, match=r"COLMAP: expected (a whole model|images)"):
        load_capture(tmp_path)


# Laws


def test_the_native_encoding_and_its_gradient_are_those_of_readable_torch():
    grid = Grid.of(level_shapes(4, 9, 4, 1.7), 4, CPU)
    unit, gradient = torch.rand(500, 3), torch.randn(500, 16)
    table = torch.randn(grid.rows, 4).requires_grad_()
    fast, plain = encode(unit, table, grid), encoded(unit, table, grid)
    assert torch.allclose(fast, plain, atol=1e-5)
    one, other = (torch.autograd.grad(found, table, gradient)[0] for found in (fast, plain))
    assert torch.allclose(one, other, atol=1e-4)


def test_weights_are_those_of_blending_one_by_one_and_so_is_their_gradient():
    generator = torch.Generator().manual_seed(0)
    samples = packed(torch.tensor([0, 0, 0, 2, 2, 3, 3, 3, 3]), torch.rand(9), 0.1 + torch.rand(9, generator=generator), 5)
    density = (5 * torch.rand(9, generator=generator)).requires_grad_()
    found, one_by_one = weights(density, samples), []
    for first, last in zip(samples.first, samples.last, strict=True):
        light = torch.tensor(1.0)
        for place in range(int(first), int(last)):
            left = torch.exp(-density[place] * samples.length[place])
            one_by_one.append(light * (1 - left))
            light = light * left
    gradient = torch.randn(9, generator=generator)
    assert torch.allclose(found, torch.stack(one_by_one), atol=1e-6)
    both = (torch.autograd.grad(one, density, gradient)[0] for one in (found, torch.stack(one_by_one)))
    assert torch.allclose(*both, atol=1e-6)


def test_the_native_march_finds_what_looking_at_every_place_finds():
    generator, marching = torch.Generator().manual_seed(0), Marching(0.002, 0.004, 2.0, 0.1)
    grid = OccupancyGrid(4, marching, CPU)
    grid.thickness = (torch.rand(grid.thickness.shape, generator=generator) < 0.05).float()
    grid._decide()
    origins = torch.rand(50, 3, generator=generator) * 4 - 1.5
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator), dim=1)
    shift = torch.rand(50, generator=generator)
    found = march(origins, directions, shift, grid, marching, -1.5, 2.5)
    ray, at, length = _lattice(origins, directions, shift, grid, marching, -1.5, 2.5)
    assert len(ray) > 1000 and abs(len(found.ray) - len(ray)) <= 0.002 * len(ray)  # a place on a cell's border may go either way
    for number in range(50):
        ours, theirs = found.distance[found.ray == number], at[ray == number]
        near = (ours[:, None] - theirs).abs().amin(1) if len(theirs) and len(ours) else torch.zeros(0)
        assert (near < 1e-4).float().mean() >= 0.99 if len(near) else len(ours) <= 1
    assert torch.allclose(found.length.mean(), length.mean(), rtol=1e-2)


def test_the_grid_that_is_trained_says_what_its_value_says():
    grid = OccupancyGrid(4, Marching(0.002), CPU)
    grid.thickness = (torch.rand(grid.thickness.shape, generator=torch.Generator().manual_seed(1)) < 0.1).float()
    grid._decide()
    points = torch.rand(5000, 3) * 5 - 2
    assert np.mean(grid.at(points).numpy() == grid.value().at(points.numpy())) >= 0.999


def test_the_value_answers_as_the_field_that_was_trained():
    box = np.array([[-0.5] * 3, [1.5] * 3])
    field = Field(SMALL.shape, box, CPU, torch.Generator().manual_seed(2))
    with torch.no_grad():
        field.table.mul_(5000)
        points, directions = torch.rand(200, 3) * 2 - 0.5, torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
        density, rgb = field(points, directions, torch.arange(200))
    got = field.hashgrid(Marching(0.01), None).specified(points.numpy(), directions.numpy())
    assert np.allclose(got[0], density, rtol=1e-4) and np.allclose(got[1], rgb, atol=1e-4)


def test_a_value_stays_what_it_was_while_training_goes_on(folder):
    training = trained(folder, 3)
    value = training.value()
    arrays = *value.density.weights, *value.colour.weights, *(level.table for level in value.levels), value.occupancy.cells
    before = [array.copy() for array in arrays]
    for _ in range(20):
        training.step(0.1)
    assert all(map(np.array_equal, arrays, before)) and not np.array_equal(training.value().density.weights[0], before[0])


def test_likeness_is_one_of_the_same_and_less_of_others():
    picture = np.random.default_rng(0).random((40, 30, 3), np.float32)
    assert ssim(picture, picture) == pytest.approx(1) and psnr(picture, picture) > 100
    assert ssim(picture, picture[::-1]) < 0.3 and psnr(picture, picture * 0 + 0.5) == pytest.approx(10.8, abs=0.5)


@pytest.mark.parametrize(("finest", "side"), [(512, 1), (2048, 1), (300, 4)])
def test_the_finest_level_has_as_many_cells_as_were_asked_for(finest, side):
    box = 0.5 + side / 2 * np.array([[-1.0] * 3, [1.0] * 3])
    levels = Field(Shape(finest=finest, log2_size=10), box, CPU, torch.Generator()).grid.levels
    assert levels[0][0] + 1 == 16 and levels[-1][0] + 1 == pytest.approx(finest * side, rel=1e-5)


# Training


def trained(folder, steps):
    training = Training(load_capture(folder), SMALL)
    for step in range(steps):
        training.step(step / max(1, steps))
    return training


def test_it_learns_the_ball(folder):
    before, after = trained(folder, 1), trained(folder, 200)
    worst = [min(psnr(*training.shown(photo)) for photo in training.held_out) for training in (before, after)]
    assert len(after.held_out) == 6 and worst[0] < 12 and worst[1] > 18
    assert after.grid.share < 0.6


@pytest.fixture
def one_thread():
    """Torch adds up in the same order every time: Adam makes steps of full size out of the last bit of a gradient near zero."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_restored_training_goes_on_as_if_nothing_had_happened(folder, one_thread):
    whole, half, other = (Training(load_capture(folder), SMALL) for _ in range(3))
    for _ in range(20):
        whole.step(0.1)
    for _ in range(10):
        half.step(0.1)
    other.restore(half.state())
    for _ in range(10):
        loss = other.step(0.1)
    assert other.steps == whole.steps == 20 and torch.isfinite(loss)
    assert torch.equal(other.field.table, whole.field.table) and torch.equal(other.grid.thickness, whole.grid.thickness)
    with pytest.raises(ValueError, match="expected the checkpoint of"):
        Training(load_capture(folder), Recipe(SMALL.shape, SMALL.samples, seed=5)).restore(half.state())


def test_the_command_trains_a_scene_that_opens(folder, tmp_path, capsys):
    target = tmp_path / "ball.ingp"
    assert main(["fit", str(folder), str(target), "--steps", "12", "--log2-size", "10", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "41 photos (1 more are listed and not there)" in told and "6 photos held out: mean PSNR" in told
    [layer] = splatview.load(target).layers.values()
    assert isinstance(layer.content, splatview.HashGrid) and len(layer.content.levels) == 8
    assert np.allclose(layer.placement.apply([0.5, 0.5, 0.5]), 0, atol=1e-5)
    photos = load_capture(folder).photos
    assert np.allclose(layer.placement.apply(layer.viewpoints.places), [photo.world_from_camera[:3, 3] for photo in photos], atol=1e-4)
    assert np.allclose(layer.viewpoints.subject, 0.5, atol=1e-4)  # the ball, which all look at
    assert main(["info", str(target)]) == 0 and "photographs       41" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupted_training_goes_on(folder, tmp_path, capsys, monkeypatch):
    target, flags = tmp_path / "ball.ingp", ["--steps", "6", "--log2-size", "10", "--device", "cpu"]
    whole = Training.step

    def interrupted(training, progress):
        if training.steps == 4:
            raise KeyboardInterrupt
        return whole(training, progress)

    monkeypatch.setattr(Training, "step", interrupted)
    assert main(["fit", str(folder), str(target), *flags]) == 130
    assert "--resume goes on" in capsys.readouterr().out and not target.exists()
    monkeypatch.setattr(Training, "step", whole)
    assert main(["fit", str(folder), str(target), *flags]) == 2
    assert "--resume goes on with it, --restart begins anew" in capsys.readouterr().err
    assert main(["fit", str(folder), str(target), *flags, "--resume"]) == 0
    assert "going on after 4 steps" in capsys.readouterr().out and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.json", "out.ingp"], "there is no such file or folder"),
        ([".", "out.ingp"], "expected a folder with transforms.json or a COLMAP model"),
        ([".", "out.ply"], "expected a name that ends with .ingp"),
        ([".", "nowhere/out.ingp"], "there is no folder"),
        ([".", "out.ingp", "--minutes", "-1"], "expected more than 0"),
        ([".", "out.ingp", "--finest", "8"], "--finest: expected 32 to 65536, got 8"),
        ([".", "out.ingp", "--resume"], "there is no out.ingp.ckpt"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_checkpoint_of_another_training_is_one_line(folder, tmp_path, capsys):
    target, flags = tmp_path / "ball.ingp", ["--steps", "2", "--log2-size", "10", "--device", "cpu", "--resume"]
    recipe = Recipe(Shape(log2_size=10), samples=1 << 16)
    state = {**Training(load_capture(folder), recipe).state(), "seconds": 1.0}
    for change, message in (({"table": {}}, "expected a whole checkpoint"), ({"field": {}}, "expected a whole checkpoint"), ({}, "")):
        checkpoints.save({**state, **change}, tmp_path / "ball.ingp.ckpt")
        told = main(["fit", str(folder), str(target), *flags, *([] if message else ["--aabb-scale", "2"])]), capsys.readouterr().err
        assert told[0] == 2 and (message or "expected the checkpoint of") in told[1] and told[1].count("\n") == 1


def test_a_damaged_checkpoint_is_one_line(folder, tmp_path, capsys):
    (tmp_path / "ball.ingp.ckpt").write_bytes(b"no checkpoint")
    assert main(["fit", str(folder), str(tmp_path / "ball.ingp"), "--steps", "2", "--device", "cpu", "--resume"]) == 2
    assert "expected a checkpoint of splatview fit" in capsys.readouterr().err
