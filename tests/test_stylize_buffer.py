"""Frames that enter the stream together: each becomes what it becomes alone, in its order, and what stands still waits for no others."""

# ruff: noqa: F811 (fixtures)

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from test_stylize_diffusion import STILL, a_frame, calls, close_to, model, one_thread, opened  # noqa: F401

from splatview.cli.inputs import Shot
from splatview.cli.redrawing import Redrawing
from splatview.frame import Frame
from splatview.stylize.diffusing import Phrase
from splatview.stylize.temporal import Steady

pytestmark = pytest.mark.xdist_group("diffusion")

KINDS = ["none", "full", "self", "initialize"]


def one_at_a_time(opened, frames, controls):
    """The picture of each frame, given until it has settled."""
    stylizer = opened(replace(controls, buffer=1))
    for frame in frames:
        picture = stylizer.style(frame)
        while not stylizer.settled:
            picture = stylizer.style(frame)
        yield picture


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("steps", "together"), [(1, 2), (1, 4), (2, 3), (4, 2)])
def test_frames_that_enter_together_become_what_they_become_alone(opened, calls, kind, steps, together):
    controls = replace(STILL, steps=steps, buffer=together, guidance=kind, scale=1.5, negative="grey")
    stylizer, frames = opened(controls), [a_frame(seed) for seed in range((steps + 2) * together + 1)]
    shown = []
    for frame in frames:
        picture = stylizer.style(frame)
        shown.append((stylizer.shown, picture))
    rows = together * {"full": 2 * steps, "initialize": steps + 1}.get(kind, steps)
    assert calls == [rows] * (1 + (len(frames) - 1) // together)  # one for the first, which nobody waits for, and one for so many
    late = steps * together - 1
    truths = one_at_a_time(opened, frames[: len(frames) - late], controls)
    for frame, truth, (found, picture) in zip(frames, truths, shown[late:], strict=False):
        assert found is frame and close_to(picture, truth)
    assert all(found is frames[0] for found, _ in shown[: late + 1])


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("moving", range(5))
def test_a_frame_that_stands_still_waits_for_no_others(opened, calls, steps, moving):
    """However many wait for others beside it, they come first."""
    stylizer, frames = opened(replace(STILL, steps=steps, buffer=4)), [a_frame(seed) for seed in range(moving + 1)]
    shown = [(stylizer.style(frame), stylizer.shown)[1] for frame in frames]
    calls.clear()
    for _ in range(4 * steps + 4):
        picture = stylizer.style(frames[-1])
        shown.append(stylizer.shown)
        if stylizer.settled:
            break
    assert stylizer.settled and stylizer.shown is frames[-1] and set(calls) <= {4 * steps} and len(calls) <= steps
    order = [frames.index(frame) for frame, _ in itertools.groupby(shown)]
    assert order == list(range(moving + 1))  # none is left out, none comes twice
    assert close_to(picture, next(one_at_a_time(opened, frames[-1:], replace(STILL, steps=steps))))
    worked = len(calls)
    assert stylizer.style(frames[-1]) is picture and len(calls) == worked


def test_only_frames_that_are_shown_are_decoded(model, opened):
    decoded = []
    decode = lambda clean: (decoded.append(len(clean)), model.codec.decode(clean))[1]
    stylizer = opened(replace(STILL, buffer=4), codec=replace(model.codec, decode=decode))
    for seed in (0, 1, 2):
        stylizer.style(a_frame(seed))
    while not stylizer.settled:
        stylizer.style(a_frame(2))
    assert decoded == [1, 1, 1]  # although four went through the network each time
    for seed in range(3, 7):
        stylizer.style(a_frame(seed))
    assert decoded == [1] * 4
    stylizer.take(replace(STILL, buffer=1))
    stylizer.style(a_frame(9))
    assert stylizer.shown.camera == a_frame(9).camera and decoded == [1] * 5  # what is overtaken is not


@pytest.mark.parametrize(("steps", "together"), [(1, 4), (3, 2)])
def test_the_average_over_frames_is_the_same_one_late(opened, steps, together):
    """While frames wait for others, a picture that was there before does not count again."""
    base = a_frame()
    frames = [Frame(base.camera, {"rgb": base.rgb * (1 - k / 400)}) for k in range(13)]

    def averages(controls):
        steady, found = Steady(opened(controls)), {}
        for frame in [*frames, *[frames[-1]] * (steps * together)]:
            picture = steady.style(frame)
            found.setdefault(next(place for place, one in enumerate(frames) if one is steady.shown), []).append(picture)
        return found

    one, other = (averages(replace(STILL, steps=steps, buffer=count)) for count in (1, together))
    assert list(one) == list(other) == list(range(13))
    for place in range(1, 12):  # the first is shown before it is finished, the last goes on
        assert close_to(one[place][-1], other[place][-1], 2 if steps > 1 else 1)


def test_the_number_of_frames_together_may_change_on_the_way(opened):
    stylizer, frames, seen = opened(replace(STILL, steps=2)), [a_frame(seed) for seed in range(40)], []
    for number, frame in enumerate(frames):
        together, steps = [(1, 2), (4, 2), (2, 2), (3, 1), (1, 1), (4, 3), (1, 4), (2, 2)][number // 5]
        stylizer.take(replace(STILL, steps=steps, buffer=together))
        stylizer.style(frame)
        seen.append(next(place for place, one in enumerate(frames) if one is stylizer.shown))
    assert seen == sorted(seen)
    assert seen[24] == 24  # nothing is late any more
    while not stylizer.settled:
        picture = stylizer.style(frames[-1])
    assert stylizer.shown is frames[-1] and close_to(picture, next(one_at_a_time(opened, frames[-1:], replace(STILL, steps=2))))


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("change", [{"strength": 0.8}, {"seed": 3}, {"size": 128}, {"prompt": (Phrase("a dog"),)}, {"steps": 3}])
def test_what_changes_while_frames_wait_for_others_counts_for_what_stands_still(opened, together, change):
    controls = replace(STILL, steps=2, buffer=together)
    stylizer, frames = opened(controls), [a_frame(seed) for seed in range(5)]
    for frame in frames:
        stylizer.style(frame)
    stylizer.take(replace(controls, **change))
    assert stylizer._prompts.settle(5)
    while not stylizer.settled:
        picture = stylizer.style(frames[-1])
    assert stylizer.shown is frames[-1]
    assert close_to(picture, next(one_at_a_time(opened, frames[-1:], replace(controls, **change))))


SIZES = [(64, 96), (96, 64), (64, 64), (160, 64)]


@pytest.mark.parametrize(("steps", "together"), [(2, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("each", [1, 3])
def test_pictures_of_other_sizes_get_their_own_style(opened, steps, together, each):
    """As in a folder of photographs."""
    frames = [a_frame(number, *SIZES[number // each % 4]) for number in range(7)]
    controls = replace(STILL, steps=steps, buffer=together)
    redrawing, shots = Redrawing(opened(controls), live=False), [Shot(one, Fraction(k), "") for k, one in enumerate(frames)]
    redrawn = [one for shot in shots for one in redrawing.work(shot) or ()] + redrawing.rest()
    assert [one.shot for one in redrawn] == shots
    for one, expected in zip(redrawn, one_at_a_time(opened, frames, controls), strict=True):
        assert close_to(one.picture, expected)


def test_a_network_that_fails_once_is_asked_again(opened, model):
    class Fragile:
        fails = 0

        def __call__(self, *inputs):
            self.fails -= 1
            if self.fails == 0:
                raise RuntimeError("no more memory")
            return model.unet(*inputs)

    network = Fragile()
    stylizer = opened(replace(STILL, steps=2, buffer=2), unet=network)
    for number in range(1, 9):
        network.fails = number
        frames = [a_frame(seed) for seed in (number, number + 1)]
        for frame in [*frames, *[frames[-1]] * 8]:
            try:
                picture = stylizer.style(frame)
            except RuntimeError:
                assert not stylizer.settled
        assert stylizer.settled and stylizer.shown is frames[-1]
        assert close_to(picture, next(one_at_a_time(opened, frames[-1:], replace(STILL, steps=2))))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("together", [1, 2, 4])
def test_a_video_has_each_frames_own_picture(opened, steps, together):
    frames = [a_frame(seed) for seed in (0, 1, 2, 2, 2, 2, 3, 4, 4)]
    redrawing, shots = (
        Redrawing(opened(replace(STILL, steps=steps, buffer=together)), live=False),
        [Shot(one, Fraction(k), "") for k, one in enumerate(frames)],
    )
    redrawn = [one for shot in shots for one in redrawing.work(shot) or ()] + redrawing.rest()
    assert [one.shot for one in redrawn] == shots
    for one in redrawn:
        standing = opened(replace(STILL, steps=steps))
        for _ in range(steps):
            expected = standing.style(one.shot.frame)
        assert close_to(one.picture, expected)
    assert Redrawing(opened(), live=False).rest() == []
