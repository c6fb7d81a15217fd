"""Laws of the noise for diffusion: it is white in every frame, and lies on surfaces from frame to frame."""

import numpy as np
import pytest
from drawn_planes import Card, drawn, looking
from scipy import stats

from splatview.camera import Camera
from splatview.frame import Frame
from splatview.stylize.noise import CarriedNoise, HashedNoise

KINDS = [CarriedNoise, HashedNoise]
WALL = Card((0, 0, 3), tilt=0.3)
BOX = Card((0.1, 0, 1.6), (0.35, 0.3))
SHAPE = (4, 32, 48)


def flight(frames=8):
    """Past a box, nearer and nearer."""
    for t in np.linspace(0, 1, frames):
        yield drawn(looking((-0.5 + t, 0.1 * t, -1.5 + 1.4 * t), width=192, height=128, offset=(3.3, -5.1)), [WALL, BOX])


def rolled(camera: Camera) -> Camera:
    """A quarter turn about the view axis: what was right is below. For square pictures with the principal point in the middle."""
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]
    return Camera(camera.K, turn @ camera.camera_from_world, camera.width, camera.height)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_white_in_every_frame(kind):
    noise = kind(3)
    for number, frame in enumerate(flight()):
        values = noise(frame, SHAPE)
        assert values.shape == SHAPE and values.dtype == np.float32 and values.flags["C_CONTIGUOUS"]
        assert abs(values.mean()) < 0.04 and abs(values.std() - 1) < 0.03, number
        assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3, number
        for lag in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2)):
            assert abs(np.mean(values * np.roll(values, lag, (1, 2)))) < 0.05, (number, lag)
        assert np.abs(np.corrcoef(values.reshape(4, -1)) - np.eye(4)).max() < 0.1, number


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_says_it_all(kind):
    one, two, other = ([noise(frame, SHAPE) for frame in flight(3)] for noise in (kind(1), kind(1), kind(2)))
    assert np.array_equal(one, two)
    assert abs(np.corrcoef(np.ravel(one[-1]), np.ravel(other[-1]))[0, 1]) < 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cards", [[Card((0, 0, 3))], [WALL, BOX], []])
def test_one_place_has_one_value_from_two_cameras(kind, cards):
    camera, noise = looking((0.03, 0.017, -1), (0.03, 0.017, 2), 128, 128), kind()
    first = noise(drawn(camera, cards), (4, 32, 32))
    second = noise(drawn(rolled(camera), cards), (4, 32, 32))
    assert np.mean(second == np.rot90(first, -1, (1, 2))) > 0.98  # an edge of the box may fall into another pixel


@pytest.mark.parametrize("kind", KINDS)
def test_it_moves_with_a_wall_across_the_picture(kind):
    wall, noise = [Card((0, 0, 3))], kind()
    still = looking((0, 0, -1), (0, 0, 3), 192, 128)
    step = 4 * 4 / still.K[0, 0]  # of a latent pixel, at a depth of 4
    first = noise(drawn(still, wall), SHAPE)
    third = noise(drawn(looking((3 * step, 0, -1), (3 * step, 0, 3), 192, 128), wall), SHAPE)
    same = third[:, :, :-3] == first[:, :, 3:]
    assert np.mean(same) > (0.99 if kind is CarriedNoise else 0.9)  # at the sides, another pixel may be the nearest to a cube's middle
    assert abs(np.mean(third * first)) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_sky_s_stays_while_the_camera_moves_and_turns_with_it(kind):
    noise = kind()
    ahead, moved, aside = (
        drawn(looking(eye, np.add(eye, to)), []) for eye, to in (((0, 0, 0), (0, 0, 1)), ((5, 1, 9), (0, 0, 1)), ((5, 1, 9), (1, 0, 1)))
    )
    first = noise(ahead, (4, 16, 24))
    assert np.array_equal(noise(moved, (4, 16, 24)), first)
    assert np.mean(noise(aside, (4, 16, 24)) == first) < 0.02
    video = Frame(ahead.camera, {"rgb8": ahead.rgb8})
    assert np.array_equal(kind()(video, (4, 16, 24)), kind()(ahead, (4, 16, 24)))


def test_carried_values_are_neither_mixed_nor_doubled_nor_seen_through_things():
    noise, before = CarriedNoise(), None
    for frame in flight(12):
        values = noise(frame, SHAPE)
        assert len(np.unique(values)) > 0.998 * values.size
        if before is not None:
            stayed = np.isin(values[0], before[0]).mean()
            assert 0.5 < stayed < 1
        before = values
    frames = [drawn(looking((x, 0, -1), (x, 0, 3), 192, 128), cards) for x, cards in ((0, [WALL]), (0, [WALL, BOX]), (0, [WALL]))]
    noise = CarriedNoise()
    bare, boxed, again = (noise(frame, SHAPE) for frame in frames)
    box = (frames[1].depth != frames[0].depth)[2::4, 2::4]
    assert 0.02 < box.mean() < 0.5
    assert np.array_equal(bare[:, ~box], boxed[:, ~box]) and not np.isin(boxed[:, box], bare).any()
    assert np.array_equal(bare[:, ~box], again[:, ~box]) and not np.isin(again[:, box], boxed).any()


def test_carried_values_creep_along_with_slow_motion():
    """A twentieth of a pixel in each frame, which rounding would leave where it is."""
    wall, noise = [Card((0, 0, 3))], CarriedNoise()
    pixel = 4 * 4 / looking((0, 0, -1), width=192, height=128).K[0, 0]
    shown = [noise(drawn(looking((x, 0, -1), (x, 0, 3), 192, 128), wall), SHAPE) for x in np.arange(0, 2.3, 0.047) * pixel]
    assert np.mean(shown[-1][:, :, :-3] == shown[0][:, :, 2:-1]) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_latent_pictures_change_their_size_and_depth(kind):
    noise, frame = kind(), drawn(looking((0, 0, -1), width=192, height=128), [WALL, BOX])
    for shape in ((4, 16, 24), (4, 32, 48), (4, 11, 17), (4, 160, 240), (4, 11, 17), (16, 11, 17), (1, 1, 1)):
        assert noise(frame, shape).shape == shape
    small, large = noise(frame, (4, 16, 24)), noise(frame, (4, 32, 48))
    if kind is CarriedNoise:
        assert np.isin(small, large).all()


@pytest.mark.parametrize("cards", [[], [WALL]])
def test_what_is_behind_the_camera_has_nothing_of_what_is_ahead(cards):
    noise, before = CarriedNoise(), []
    for target in ((0, 0, 1), (0, 0.1, -1), (0, 0, 1)):
        values = noise(drawn(looking((0, 0, 0), target), cards), SHAPE)
        assert abs(values.std() - 1) < 0.03 and np.isin(values, before).mean() < 0.01
        before = values
