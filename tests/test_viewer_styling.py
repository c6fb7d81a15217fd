"""One person's style: when which frame is redrawn, what is shown of it meanwhile, and who is told."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from style_steps import Negative
from test_viewer import coloured_ball

from splatview import Camera, RenderOptions, Scene, open_renderer
from splatview.frame import Interrupted
from splatview.scene import Layer
from splatview.viewer import styling as module
from splatview.viewer.styling import Styling

OUTPUTS = ("rgb8", "alpha", "depth")


class Held(Negative):
    """Finishes nothing until it may."""

    def __init__(self):
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def style(self, frame):
        self.begun.set()
        assert self.go_on.wait(5)
        return super().style(frame)


class Converging(Negative):
    """The third picture of a frame is the last."""

    @property
    def settled(self):
        return len(self.frames) >= 3 and self.frames[-3] is self.frames[-1]


class Late(Negative):
    """Works on two frames at once, as a stream of two steps does."""

    shown, settled = None, False

    def style(self, frame):
        self.frames.append(frame)
        self.settled = len(self.frames) > 1 and self.frames[-2] is frame
        self.shown = self.frames[-2] if len(self.frames) > 1 else frame
        return 255 - self.shown.rgb8


@pytest.fixture(scope="module")
def frame():
    renderer, scene = open_renderer("cpu"), Scene({"ball": Layer(coloured_ball())})

    def drawn(angle=0.0, size=(96, 54), outputs=OUTPUTS):
        eye = 4 * np.cos(angle), 4 * np.sin(angle), 0.5
        return renderer.render(scene, Camera.look_at(eye, (0, 0, 0), (0, 0, 1), 0.8, *size), RenderOptions(outputs=outputs))

    return drawn


@pytest.fixture
def styling():
    """Makes one of a stylizer; it is closed afterwards."""
    made = []

    def make(*given):
        made.append(Styling(*given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def until(true, seconds=5.0):
    """Wait until `true()` is, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)
    return found


def test_a_quick_style_is_that_of_the_very_frame(frame, styling):
    one = styling(Negative())
    one.show(frame())
    until(lambda: one.figures[0].processed)
    for angle in np.linspace(0.1, 1, 10):
        now = frame(angle)
        assert np.array_equal(one.show(now, still=False), 255 - now.rgb8)


def test_a_quick_style_that_comes_a_frame_late_is_not_waited_for_in_vain(frame, styling):
    """Or each picture of a moving camera would come later by all the time that there is."""
    one = styling(Late())
    one.show(frame())
    until(lambda: one.figures[0].processed > 1)
    frames = [frame(angle) for angle in np.linspace(0.1, 1, 20)]
    took = []
    for now in frames:
        began = time.monotonic()
        one.show(now, still=False)
        took.append(time.monotonic() - began)
    assert np.median(took) < 1e-3 * module.PROMPT_MS


def test_a_frame_is_styled_until_the_stylizer_has_settled_and_no_more(frame, styling):
    stylizer, told, done = Converging(), [], threading.Event()
    one, now = styling(stylizer), frame()
    one.changed = lambda: (told.append(len(stylizer.frames)), len(stylizer.frames) >= 3 and done.set())
    one.show(now)
    assert done.wait(5)
    time.sleep(0.05)
    for _ in range(3):
        one.show(now)
    time.sleep(0.05)
    assert len(stylizer.frames) == 3 and all(each is now for each in stylizer.frames) and told[-1] == 3


def test_a_frame_in_motion_is_styled_once_and_until_it_has_settled_when_the_camera_rests_there(frame, styling):
    stylizer = Converging()
    one, now = styling(stylizer), frame()
    one.show(now, still=False)
    until(lambda: one.figures[0].processed)
    time.sleep(0.05)
    assert len(stylizer.frames) == 1, "another frame follows: what is drawn of this one is in its way"
    one.show(now, still=True)
    until(lambda: stylizer.settled)
    time.sleep(0.05)
    assert len(stylizer.frames) == 3


def test_pictures_that_come_late_are_laid_onto_the_frame_that_is_shown(frame, styling):
    """As of a stream that works on two frames at once: of a still view the picture is its own in the end."""
    stylizer = Late()
    one = styling(stylizer)
    for now in (frame(), frame(0.02)):
        one.show(now)
        until(lambda: stylizer.settled and stylizer.frames[-1] is now and one.figures[0].processed == len(stylizer.frames))  # noqa: B023
        assert np.array_equal(one.show(now), 255 - now.rgb8)
    moved = frame(0.04)
    shown = one.show(moved).astype(int)
    assert np.abs(shown - (255 - moved.rgb8)).mean() < 12, "meanwhile the one before, where it lies now"


def test_another_stylizer_redraws_what_is_shown_and_only_then_somebody_is_told(frame, styling):
    one, now, told = styling(Negative()), frame(), []
    one.show(now)
    until(lambda: one.figures[0].processed)
    held = Held()
    one.changed = lambda: told.append(len(held.frames))
    one.use(held)
    assert held.begun.wait(5)
    time.sleep(0.05)
    assert not told, "there is nothing new to be seen yet"
    held.go_on.set()
    until(lambda: told)
    assert told == [1] and held.frames == [now]


def test_a_picture_is_of_the_frame_that_its_own_stylizer_says(frame, styling):
    """Not of what the next one says, which came while it was made."""
    held, late, now = Held(), Late(), frame()
    late.shown = frame(1.0)
    one = styling(held)
    one.show(now)
    assert held.begun.wait(5)
    one.use(blocked := Held())
    blocked.shown = late.shown
    held.go_on.set()
    until(lambda: one.figures[0].processed)
    assert np.array_equal(one.show(now), 255 - now.rgb8)
    blocked.go_on.set()


def test_a_frame_without_what_the_stylizer_needs_is_passed_over(frame, styling):
    """As it was drawn for the stylizer before: nothing has failed."""

    class Share(Negative):
        def style(self, frame):
            return super().style(frame) + np.uint8(frame.coverage.max())

    one, failed = styling(Negative()), []
    one.failed = failed.append
    before = frame()
    one.show(before)
    until(lambda: one.figures[0].processed)
    stylizer = Share()
    one.use(stylizer, ("coverage",))
    one.show(before)
    until(lambda: one.figures[0].skipped)
    now = frame(outputs=(*OUTPUTS, "coverage"))
    one.show(now)
    until(lambda: stylizer.frames)
    assert not failed and stylizer.frames == [now]


def test_errors_are_told_once_each_and_go_when_it_works_or_nobody_looks(frame, styling):
    class Broken:
        def __init__(self, why):
            self.why = why

        def style(self, frame):
            raise RuntimeError(self.why)

    one, failed = styling(Broken("no weights")), []
    one.failed = lambda error: failed.append(str(error))
    for angle in (0.0, 0.1, 0.2):
        one.show(frame(angle))
        until(lambda: one.figures[0].failed == round(10 * angle) + 1)  # noqa: B023
    assert failed == ["no weights"]
    one.use(Broken("no memory"))
    until(lambda: failed[1:])
    one.use(Negative())
    until(lambda: failed[2:])
    one.use(Broken("no luck"))
    until(lambda: failed[3:])
    one.pause()
    assert failed == ["no weights", "no memory", "None", "no luck", "None"]


def test_a_stylizer_that_waits_for_something_is_not_asked_all_the_time(frame, styling):
    """As while a text is encoded: what asks takes the time of what is waited for."""

    class Waiting(Negative):
        settled = False

    stylizer = Waiting()
    one = styling(stylizer)
    one.show(frame())
    time.sleep(0.5)
    assert 2 < len(stylizer.frames) < 60


def test_a_frame_that_comes_as_the_one_before_is_to_be_redrawn_once_more_is_not_lost(frame, styling):
    class Endless(Negative):
        settled = False

    stylizer, first, second = Endless(), frame(), frame(0.3)
    one = styling(stylizer)
    put, showing = one._stage.put, threading.Thread(target=lambda: one.show(second))

    def overtaken(value):
        if value is first and stylizer.frames and not showing.ident:
            showing.start()
            showing.join(0.2)
        put(value)

    one._stage.put = overtaken
    one.show(first)
    until(lambda: showing.ident and not showing.is_alive())
    until(lambda: stylizer.frames[-1] is second)


def test_what_nobody_looks_at_is_not_styled_any_further(frame, styling):
    class Endless(Negative):
        settled = False

    stylizer = Endless(0.01)
    one, now = styling(stylizer), frame()
    one.show(now)
    until(lambda: len(stylizer.frames) > 3)
    one.pause()
    time.sleep(0.05)
    before = len(stylizer.frames)
    time.sleep(0.1)
    assert len(stylizer.frames) == before
    assert not np.array_equal(one.show(now), now.rgb8), "and what there was is there at once when it is turned on again"


def test_the_stylizers_thread_stands_behind_that_of_whoever_shows(frame, styling):
    behind = []

    class Nice(Negative):
        def style(self, frame):
            behind.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().style(frame)

    one = styling(Nice())
    one.show(frame())
    until(lambda: behind)
    assert behind[0] == min(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + module.NICE, 19)


def test_closing_leaves_no_thread(frame, styling):
    before = set(threading.enumerate())
    one = styling(Negative(0.01))
    one.show(frame())
    [its] = set(threading.enumerate()) - before
    one.close()
    until(lambda: not its.is_alive())


def test_whoever_leaves_a_slow_style_keeps_nobody_waiting(frame, styling):
    held = Held()
    one = styling(held)
    one.show(frame())
    assert held.begun.wait(5)
    began = time.monotonic()
    one.close()
    assert time.monotonic() - began < 0.1
    held.go_on.set()


def test_a_style_that_is_told_to_end_is_no_fault_and_the_next_one_begins(frame):
    class Endless:
        """Works until it is told to end."""

        def __init__(self):
            self.begun, self.ended = threading.Event(), threading.Event()

        def style(self, frame):
            self.begun.set()
            assert self.ended.wait(10)
            raise Interrupted

    endless, told = Endless(), []
    styling = Styling(endless)
    styling.failed = told.append
    try:
        now = frame()
        styling.show(now)
        assert endless.begun.wait(5)
        styling.use(Negative())
        endless.ended.set()
        deadline = time.monotonic() + 5
        while not np.array_equal(styling.show(now), 255 - now.rgb8) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert np.array_equal(styling.show(now), 255 - now.rgb8)
        assert not told and (styling.figures[0].failed, styling.figures[0].skipped) == (0, 1)
    finally:
        styling.close()
