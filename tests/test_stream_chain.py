"""Chains: a feed with its stages, by a clock of our own, and with threads."""

from __future__ import annotations

import time

import pytest

from splatview.stream.chain import Chain, Feed, Totals
from splatview.stream.stages import Counts, Stage


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def test_a_feed_waits_until_a_value_is_due_and_hands_on_late_ones_at_once():
    clock, given = Clock(), []
    clock.now = 100.0
    took = iter([0.0, 0.0, 0.35, 0.0, 0.0])

    def decoded():
        for number in range(5):
            clock.now += next(took)
            yield number

    feed = Feed(
        "read", decoded(), lambda value: given.append((value, round(clock.now, 3))), due=lambda v: v / 10, clock=clock, wait=clock.wait
    )
    while feed.step():
        pass
    assert given == [(0, 100.0), (1, 100.1), (2, 100.45), (3, 100.45), (4, 100.45)], "as soon as the clock allows, and no rush after it"
    assert feed.ended and feed.captured == 5 and feed.pace.p95_ms == pytest.approx(350 * 0.8), "waiting for the clock is not counted"


def test_a_live_chain_drops_what_is_too_slow_and_accounts_for_every_value():
    """A feed of 30 a second, a style that takes 100 ms, a screen that takes 10: by one clock, one thing after another."""
    clock, shown = Clock(), []

    def style(value):
        clock.now += 0.1
        if value % 20 == 9:
            raise ValueError("a bad picture")
        return None if value % 12 == 0 and value else value

    def instead(value, error):
        return -value if error else None

    def show(value):
        clock.now += 0.01
        shown.append(value)
        return value

    screen = Stage("show", show, lambda value: None, clock=clock)
    main = Stage("style", style, screen.put, instead=instead, clock=clock)
    told = []
    main.failed = told.append
    feed = Feed("read", range(90), main.put, due=lambda value: value / 30, clock=clock, wait=clock.wait)
    chain = Chain(feed, (main, screen), main)
    pending = True
    while pending or not chain.done:
        due = True
        while pending and due:  # what has come by now
            pending = feed.step()
            due = clock.now >= (feed.captured - 1) / 30 + 1 / 30
        main.step()
        screen.step()
    totals = chain.totals
    counts = main.counts
    assert totals.captured == 90 == counts.processed + counts.skipped + counts.failed + counts.dropped
    assert totals.dropped > 40 and totals.processed > 15 and totals.failed == len(told)
    assert totals.shown == len(shown) == totals.processed + totals.failed, (
        "what failed goes on as it was, what is skipped shows nothing new"
    )
    assert shown == sorted(shown, key=abs) and sum(value < 0 for value in shown) == totals.failed
    paces = chain.paces
    assert list(paces) == ["read", "style", "show"]
    assert paces["style"].p50_ms == pytest.approx(100) and paces["show"].p95_ms == pytest.approx(10)


def test_no_value_of_a_file_is_lost_in_a_chain_of_threads():
    done = []
    last = Stage("write", lambda value: done.append(value) or value, lambda value: None, every=True)
    main = Stage("style", lambda value: time.sleep(0.0005) or -value if value % 3 else None, last.put, every=True, instead=lambda v, e: -v)
    chain = Chain(Feed("read", range(1, 100), main.put), (main, last), main)
    chain.start()
    while not chain.done:
        time.sleep(0.001)
    chain.close()
    assert done == [-value for value in range(1, 100)]
    assert chain.totals == Totals(captured=99, processed=66, shown=99, dropped=0, skipped=33, failed=0)


def test_a_feed_that_breaks_says_so_and_ends():
    def broken():
        yield 1
        raise ValueError("the camera is gone")

    told, given = [], []
    feed = Feed("camera", broken(), given.append)
    feed.failed = told.append
    assert feed.step() and not feed.step()
    assert given == [1] and feed.ended and str(told[0]) == "the camera is gone"


def test_a_stage_whose_hand_fails_counts_it_once_and_goes_on():
    told = []

    def give(value):
        if value == 2:
            raise OSError("no space")

    stage = Stage("write", lambda value: value, give)
    stage.failed = told.append
    for value in (1, 2, 3):
        stage.put(value)
        stage.step()
    assert stage.counts == Counts(3, 2, 0, 1, 0) and stage.done and len(told) == 1


def test_a_chain_in_the_middle_of_something_closes_at_once():
    def slow(value):
        time.sleep(5)

    def endless():
        while True:
            yield 1

    main = Stage("style", slow, lambda value: None, every=True)
    chain = Chain(Feed("read", endless(), main.put), (main,), main)
    chain.start()
    time.sleep(0.05)
    before = time.monotonic()
    chain.close()
    assert time.monotonic() - before < 2 and not chain.done
