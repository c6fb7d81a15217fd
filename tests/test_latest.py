"""The one-slot mailbox: newest wins, and drops are counted."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from splatview.latest import Latest


def test_the_newest_wins_and_drops_are_counted():
    box = Latest()
    for value in range(5):
        box.put(value)
    assert box.waiting and box.dropped == 4
    assert box.take() == 4
    assert not box.waiting and box.dropped == 4


def test_none_is_a_value():
    box = Latest()
    box.put(None)
    assert box.waiting and box.take(timeout=0) is None and not box.waiting


def test_an_empty_box_is_waited_for_no_longer_than_asked():
    started = time.perf_counter()
    assert Latest().take(timeout=0.05) is None
    assert 0.04 < time.perf_counter() - started < 5


def test_a_taker_wakes_for_a_value():
    box = Latest()
    with ThreadPoolExecutor() as pool:
        taken = pool.submit(box.take, 30)
        box.put("value")
        assert taken.result(30) == "value"
    assert box.dropped == 0


def test_close_wakes_every_taker_and_stays_closed():
    box = Latest()
    with ThreadPoolExecutor() as pool:
        takers = [pool.submit(box.take) for _ in range(3)]
        box.close()
        assert [taker.result(30) for taker in takers] == [None] * 3
    box.put(1)
    assert box.take() is None and not box.waiting and box.dropped == 0


def test_close_drops_what_lay_there():
    box = Latest()
    box.put(1)
    box.close()
    assert box.take() is None


@pytest.mark.parametrize("takers", [1, 3])
def test_every_value_is_taken_once_or_dropped(takers):
    box, count, seen = Latest(), 5000, []

    def take():
        while (value := box.take()) is not None:
            seen.append(value)

    threads = [threading.Thread(target=take) for _ in range(takers)]
    for thread in threads:
        thread.start()
    for value in range(1, count + 1):
        box.put(value)
    while box.waiting:
        time.sleep(0.001)
    box.close()
    for thread in threads:
        thread.join()
    assert len(seen) + box.dropped == count and len(set(seen)) == len(seen)
    assert count in seen and (takers > 1 or seen == sorted(seen))
