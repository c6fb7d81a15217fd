"""Stages: the newest goes on, what was lost is counted, and one that fails is in nobody's way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from splatview.latest import Latest
from splatview.stream.pacing import Pacer
from splatview.stream.stages import Counts, Stage


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_newest_goes_on_and_all_are_accounted_for():
    given, clock = [], Clock()
    stage = Stage("double", lambda value: None if value % 5 == 0 else 2 * value, given.append, clock=clock)
    for value in range(1, 31):
        stage.put(value)
        if value % 3 == 0:
            assert stage.step()
    assert not stage.step()
    assert given == [2 * value for value in range(3, 31, 3) if value % 5]
    counts = stage.counts
    assert counts == Counts(captured=30, processed=8, skipped=2, failed=0, dropped=20)


def test_percentiles_and_rate_are_those_of_the_clock():
    clock = Clock()
    took = iter([0.010] * 90 + [0.100] * 10)

    def work(value):
        clock.now += next(took)
        return value

    stage = Stage("slow", work, lambda value: None, clock=clock)
    for value in range(100):
        stage.put(value)
        stage.step()
    assert stage.pace.p50_ms == pytest.approx(10) and stage.pace.p95_ms == pytest.approx(100)
    assert clock.now < 2, "all of it was lately"
    assert stage.pace.fps == pytest.approx(99 / (clock.now - 0.010))
    clock.now += 10
    assert stage.pace.fps == 0 and stage.pace.p50_ms == pytest.approx(10)
    stage.forget_times()
    assert stage.pace.fps == stage.pace.p50_ms == 0


def test_a_failure_is_told_and_the_next_value_is_worked_on():
    told, given = [], []
    stage = Stage("one over", lambda value: 1 / value, given.append)
    stage.failed = told.append
    for value in (2, 0, 4):
        stage.put(value)
        stage.step()
    assert given == [0.5, 0.25] and [type(error) for error in told] == [ZeroDivisionError]
    assert stage.counts == Counts(3, 2, 0, 1, 0)


def test_every_frame_of_a_file_goes_through_all_stages_in_order():
    done = []
    last = Stage("write", lambda value: (time.sleep(0.002), done.append(value)), lambda value: None, every=True)
    first = Stage("style", lambda value: -value, last.put, every=True)
    for stage in (first, last):
        stage.start()
    for value in range(1, 40):
        first.put(value)
    for stage in (first, last):
        stage.finish()
        stage.close()
    assert done == [-value for value in range(1, 40)] and first.counts.dropped == last.counts.dropped == 0


def test_closing_wakes_whoever_waits_for_room():
    stuck = threading.Event()
    stage = Stage("stuck", lambda value: stuck.wait(5), lambda value: None, every=True)
    stage.start()
    stage.put(1)
    putting = threading.Thread(target=lambda: [stage.put(value) for value in range(3)], daemon=True)
    putting.start()
    time.sleep(0.02)
    before = time.monotonic()
    stage.close()
    putting.join(2)
    assert not putting.is_alive() and time.monotonic() - before < 2
    stuck.set()


def test_stopping_waits_for_nothing_that_is_under_way():
    begun, go_on = threading.Event(), threading.Event()
    stage = Stage("slow", lambda value: (begun.set(), go_on.wait(5))[1], lambda value: None)
    stage.start()
    stage.put(1)
    assert begun.wait(5)
    began = time.monotonic()
    stage.stop()
    assert time.monotonic() - began < 0.1, "whoever is waited for, the page of somebody who leaves keeps all others waiting"
    go_on.set()
    stage.close()
    assert not stage._thread.is_alive()


def test_a_slot_for_each_value_is_refused_once_it_is_closed():
    box = Latest()
    assert box.put_each(1)
    box.close()
    assert not box.put_each(2) and box.dropped == 0


def test_a_picture_at_rest_is_drawn_again_when_something_was_added_to_it():
    """At full size, without a small one before it, and without a word about the pace."""
    pacer = Pacer()
    pacer.ask("view", 0.0)
    pacer.drawn(pacer.turn(1.0), 10.0)
    number = pacer.sending(pacer._shown, 1.0)
    pacer.acknowledged(number, 1.01)
    pace = pacer.scale
    assert pacer.turn(2.0) is None and pacer.due() is None
    for _ in range(2):
        pacer.renew()
        assert pacer.due() is not None
        turn = pacer.turn(2.0)
        assert turn is not None and turn.whole and turn.again and turn.request == "view"
        pacer.drawn(turn, 500.0)
        assert pacer.turn(2.1) is None and pacer.scale == pace
    pacer.renew()
    pacer.ask("another", 3.0)
    moving = pacer.turn(3.0)
    assert moving is not None and not moving.still and not moving.again


ENDING = """
import time, torch
from splatview.stream.stages import Stage
layer, images = torch.nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 200, 200)

def work(value):
    end = time.monotonic() + 1
    while time.monotonic() < end:
        layer(images)
    print("done", flush=True)

stage = Stage("style", work, lambda made: None)
stage.start()
stage.put(1)
time.sleep(0.3)
"""


def test_a_process_that_ends_while_native_code_is_at_work_is_not_aborted():
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
