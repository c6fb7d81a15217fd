"""Laws of the average over frames: what is carried along surfaces, what begins anew, and how noise falls."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from drawn_planes import Card, drawn, looking, rays

from splatview.frame import Frame
from splatview.stylize.accumulate import Accumulation, renewed
from splatview.stylize.temporal import Steady
from splatview.stylize.warp import between, nearness, places

WALL = Card((0, 0, 3), phase=0.4, tilt=0.3)
BOX = Card((0.1, 0, 1.6), (0.35, 0.3), phase=5.0)


class AsDrawn:
    """The style that changes nothing."""

    def style(self, frame):
        return frame.rgb8


@dataclass
class Noisy:
    """The picture with noise of its own in each frame."""

    deviation: float = 20.0
    seed: int = 0

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)

    def style(self, frame):
        return np.clip(frame.rgb8 + self.rng.normal(0, self.deviation, frame.rgb8.shape) + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Flat:
    """One colour."""

    value: int

    def style(self, frame):
        return np.full(frame.rgb8.shape, self.value, np.uint8)


def psnr(ours, theirs, where=slice(None)):
    return 20 * np.log10(255 / np.sqrt(np.mean((np.asarray(ours, float)[where] - np.asarray(theirs, float)[where]) ** 2) + 1e-9))


def warped(now: Frame, before: Frame):
    at = places(between(now.camera, before.camera), nearness(now))
    inside = (at.x >= 1) & (at.x <= before.camera.width - 2) & (at.y >= 1) & (at.y <= before.camera.height - 2)
    return cv2.remap(before.rgb8, at.x, at.y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), inside


@pytest.mark.parametrize(
    ("width", "height", "offset"), [(96, 64, (0, 0)), (97, 41, (13.3, -7.7)), (33, 200, (-100.25, 0.5)), (1, 1, (0, 0))]
)
def test_the_same_camera_is_the_identity(width, height, offset):
    frame = drawn(looking((0.3, -0.2, -1), width=width, height=height, offset=offset), [BOX])  # with sky beside the box
    at = places(between(frame.camera, frame.camera), nearness(frame))
    assert np.abs(at.x - np.arange(width)).max() < 1e-3 and np.abs(at.y - np.arange(height)[:, None]).max() < 1e-3
    assert np.array_equal(warped(frame, frame)[0], frame.rgb8)
    rule = Accumulation()
    after = renewed(renewed(None, frame, frame.rgb8, rule), frame, frame.rgb8, rule)
    assert (after.count == 2).all() and np.abs(after.picture - frame.rgb8).max() < 1e-3


@pytest.mark.parametrize("size", [(96, 64), (131, 75)])
def test_a_wall_is_carried_to_where_another_camera_sees_it(size):
    before = drawn(looking((0, 0, -1), width=160, height=120), [WALL])
    now = drawn(looking((0.3, -0.1, -0.8), (0.1, 0.1, 2), *size, fov=0.7, offset=(5.3, -3.8)), [WALL])
    picture, inside = warped(now, before)
    assert inside.mean() > 0.8 and psnr(picture, now.rgb8, inside) > 35


def test_the_sky_turns_and_does_not_move():
    before, moved = (drawn(looking(eye, np.add(eye, (0, 0, 1))), []) for eye in ((0, 0, 0), (3, -2, 5)))
    assert np.array_equal(warped(moved, before)[0], before.rgb8)
    turned = drawn(looking((3, -2, 5), (3.1, -1.95, 6)), [])
    picture, inside = warped(turned, before)
    assert inside.mean() > 0.7 and psnr(picture, turned.rgb8, inside) > 35
    steady = Steady(Flat(100))
    steady.style(drawn(before.camera, [], sky=False))  # black, as what is out of a picture may be taken for
    steady._stylizer = Flat(200)
    shown = steady.style(drawn(turned.camera, [], sky=False))
    assert (shown[inside] == 150).all() and (shown[:, -2:] == 200).all()


def hidden_before(now: Frame, before: Frame, cards):
    """[H, W] pixels of `now` of which `before` saw nothing nearby, told from rays alone; the rest may be near an edge."""
    eye, directions = rays(now.camera)
    depth = np.where(now.depth > 0, now.depth, 1e6)
    points = eye + depth[..., None] * directions
    away = points - before.camera.position
    blocked = np.zeros(depth.shape, bool)
    for card in cards:
        along, _ = card.hit(before.camera.position, away)
        blocked |= along < 0.99
    local = points @ before.camera.camera_from_world[:3, :3].T + before.camera.camera_from_world[:3, 3]
    x, y = ((local[..., axis] / local[..., 2]) * before.camera.K[axis, axis] + before.camera.K[axis, 2] for axis in (0, 1))
    outside = (x < -1) | (x > before.camera.width + 1) | (y < -1) | (y > before.camera.height + 1) | (local[..., 2] <= 0)
    return cv2.erode(blocked.astype(np.uint8), np.ones((5, 5)), borderValue=1).astype(bool) | outside


def test_what_comes_into_sight_is_the_new_picture():
    before = drawn(looking((-0.3, 0, -1)), [WALL, BOX])
    now = drawn(looking((0.3, 0, -1)), [WALL, BOX])
    new = hidden_before(now, before, [WALL, BOX])
    assert 0.05 < new.mean() < 0.5
    steady = Steady(Noisy())
    for _ in range(5):
        steady.style(before)
    steady.stylizer.rng = np.random.default_rng(7)
    shown, raw = steady.style(now), Noisy(seed=7).style(now)
    assert np.array_equal(shown[new], raw[new])
    assert np.abs(shown[~new].astype(float) - now.rgb8[~new]).mean() < 0.6 * np.abs(raw[~new].astype(float) - now.rgb8[~new]).mean()


def test_noise_falls_as_one_over_n_down_to_what_the_floor_leaves():
    frame = drawn(looking((0, 0, -1)), [WALL])
    grey = Frame(frame.camera, {**frame.images, "rgb8": np.full_like(frame.rgb8, 128)})
    noisy, rule, history, variances = Noisy(10), Accumulation(floor=0.1), None, []
    for _ in range(60):
        history = renewed(history, grey, noisy.style(grey), rule)
        variances.append(float(np.var(history.picture)))
    assert np.allclose(variances[:10], variances[0] / np.arange(1, 11), rtol=0.08)
    assert np.mean(variances[40:]) == pytest.approx(variances[0] * 0.1 / 1.9, rel=0.05)
    assert abs(history.picture.mean() - 128) < 0.1


def test_an_average_arrives_where_a_rounded_one_would_stop():
    frame = drawn(looking((0, 0, -1)), [WALL])
    rule = Accumulation(floor=0.02)
    history = None
    for value in [100] * 60 + [101] * 60:
        history = renewed(history, frame, Flat(value).style(frame), rule)
    assert np.abs(history.picture - 101).max() < 0.4  # steps of 1 / 50 of a level, each of which would be rounded away


def test_a_box_that_is_moved_leaves_no_ghost():
    camera, steady = looking((0, 0, -1)), Steady(AsDrawn())
    for step in range(24):
        box = Card((-0.4 + 0.035 * step, 0, 1.6), (0.25, 0.2), phase=5.0)
        frame = drawn(camera, [WALL, box])
        shown = steady.style(frame)
        alone = np.abs(drawn(camera, [WALL]).rgb8.astype(int) - frame.rgb8).max(-1) == 0
        assert np.abs(shown.astype(int) - frame.rgb8)[alone].max() <= 1  # nothing of the box where there is none now
        assert (
            np.abs(shown.astype(int) - frame.rgb8).max() <= Accumulation().change
        )  # its paint moves with it, too, though its depth does not tell


def test_a_faint_thing_that_is_moved_leaves_no_ghost():
    """Of so little difference in colour that only depth can tell."""
    camera, steady = looking((0, 0, -1)), Steady(AsDrawn())
    for step in range(20):
        frame = drawn(camera, [Card((-0.4 + 0.035 * step, 0, 1.6), (0.25, 0.2))], sky=False)
        faint = (frame.alpha > 0) * np.float32(0.06)
        faint = Frame(camera, {"rgb8": np.repeat((faint[..., None] * 200).astype(np.uint8), 3, 2), "alpha": faint, "depth": frame.depth})
        assert np.abs(steady.style(faint).astype(int) - faint.rgb8).max() == 0


def test_a_scene_that_is_painted_anew_is_seen_at_once():
    camera, steady = looking((0, 0, -1)), Steady(AsDrawn())
    for _ in range(12):
        steady.style(drawn(camera, [WALL]))
    painted = drawn(camera, [Card(WALL.centre, tilt=WALL.tilt, phase=2.0)])
    assert np.abs(steady.style(painted).astype(int) - painted.rgb8).max() <= Accumulation().change


def test_another_stylizer_begins_anew_and_an_equal_one_goes_on():
    frame, steady = drawn(looking((0, 0, -1)), [WALL]), Steady(Flat(100))
    steady.style(frame)
    steady.stylizer = Flat(200)
    assert (steady.style(frame) == 200).all()
    steady.stylizer = Flat(200)
    steady.style(frame)
    assert (steady._history.count == 2).all()
    steady.forget()
    steady.style(frame)
    assert (steady._history.count == 1).all()


def test_another_size_keeps_what_is_known_and_shows_all_detail():
    small, large = looking((0, 0, -1), width=64, height=48), looking((0, 0, -1), width=192, height=144)
    checks = 40 * ((np.arange(192) + np.arange(144)[:, None]) % 2)[..., None]

    class Tinted:
        """A wrong tint in every frame, another one each time, and checks that a small picture cannot have."""

        def __init__(self):
            self.rng = np.random.default_rng(0)
            self.tint = 0

        def style(self, frame):
            self.tint = self.rng.choice([-30, 30])
            return (100 + self.tint + (checks if frame.camera.width == 192 else 20) + np.zeros(frame.rgb8.shape)).astype(np.uint8)

    steady = Steady(Tinted())
    for _ in range(40):
        steady.style(drawn(small, [WALL]))
    shown = steady.style(drawn(large, [WALL])).astype(float)
    middle = shown[8:-8, 8:-8]
    assert abs(middle.mean() - 120) < 15 < abs(steady.stylizer.tint)
    assert np.ptp(middle, axis=(0, 1)) == pytest.approx(40, abs=2)
    assert steady._history.count.max() < 2  # ten pictures of a ninth of the pixels
    for _ in range(40):
        steady.style(drawn(large, [WALL]))
    back = steady.style(drawn(small, [WALL])).astype(float)
    assert back.shape == (48, 64, 3) and np.abs(back - 120).max() < 15


def test_what_is_behind_the_camera_of_before_is_new():
    steady = Steady(Flat(100))
    steady.style(drawn(looking((0, 0, 0), (0, 0, 1)), []))
    steady._stylizer = Flat(200)
    assert (steady.style(drawn(looking((0, 0, 0), (0, 0.01, -1)), [])) == 200).all()


def test_of_a_video_what_stands_still_is_averaged():
    camera = looking((0, 0, -1))
    still = drawn(camera, [WALL]).rgb8
    steady, raw = Steady(Noisy()), Noisy()
    for step in range(15):
        rgb8 = still.copy()
        rgb8[20:40, 4 * step : 4 * step + 12] = (255, 255, 255) if step % 2 else (0, 0, 0)
        frame = Frame(camera, {"rgb8": rgb8})
        shown, new = steady.style(frame), raw.style(frame)
    moving = (rgb8 != still).any(-1)
    assert np.array_equal(shown[moving], new[moving])
    calm = np.ones_like(moving)
    calm[18:42] = False
    assert np.std((shown - still.astype(float))[calm]) < 0.4 * np.std((new - still.astype(float))[calm])


def test_pictures_are_the_frame_s_own_and_stay_as_they_are():
    frame, steady = drawn(looking((0, 0, -1)), [WALL]), Steady(Noisy())
    shown = [steady.style(frame) for _ in range(4)]
    kept = [picture.copy() for picture in shown]
    steady.style(frame)
    assert all(np.array_equal(one, two) for one, two in zip(shown, kept, strict=True))
    only_rgb = Frame(frame.camera, {"rgb": frame.rgb8 / np.float32(255)})
    assert Steady(AsDrawn()).style(only_rgb).shape == frame.rgb8.shape


def test_camera_of_another_principal_point_is_a_camera_like_any_other():
    """Half a picture to the side, as the tiles of a wall are: what both see is carried over, the rest is new."""
    left, right = (looking((0, 0, -1), offset=(offset, 0)) for offset in (20, -20))
    steady = Steady(Flat(100))
    steady.style(drawn(left, [WALL]))
    steady._stylizer = Flat(200)
    shown = steady.style(drawn(right, [WALL]))
    assert (shown[:, -40:] == 200).all() and (shown[:, :56] == 150).all()


def test_pictures_that_come_late_are_carried_from_the_frames_that_they_are_of():
    class Late:
        """The style that changes nothing, two frames late, at the size that is asked for."""

        def __init__(self):
            self.waiting = []

        def style(self, frame):
            self.waiting = [*self.waiting, frame][-3:]
            self.shown = self.waiting[0]
            return cv2.resize(self.shown.rgb8, (frame.camera.width, frame.camera.height))

    steady, frames = Steady(Late()), [drawn(looking((0.05 * step, 0, -1)), [WALL, BOX]) for step in range(12)]
    for step, frame in enumerate(frames):
        shown = steady.style(frame)
        assert steady.shown is frames[max(0, step - 2)] and psnr(shown, steady.shown.rgb8) > 30
    larger = drawn(looking((0.6, 0, -1), width=144, height=96), [WALL, BOX])
    assert steady.style(larger).shape == (96, 144, 3) and steady.shown is frames[-2]


def test_a_frame_that_stands_still_settles_at_its_own_picture():
    frames = [drawn(looking((x, 0, -1)), [WALL, BOX]) for x in (-0.1, 0.1)]
    steady = Steady(AsDrawn(), Accumulation(floor=0.2))
    for frame in frames * 5:
        steady.style(frame)
    first = np.abs(steady.style(frames[0]).astype(int) - frames[0].rgb8).mean()
    pushes = 0
    while not steady.settled:
        shown = steady.style(frames[0])
        pushes += 1
    assert 5 < pushes < 15 and np.abs(shown.astype(int) - frames[0].rgb8).mean() < 0.2 * first
    steady.style(frames[1])
    assert not steady.settled
    calm = Steady(AsDrawn())
    calm.style(frames[0])
    assert not calm.settled
    calm.style(frames[0])
    assert calm.settled  # nothing would change
