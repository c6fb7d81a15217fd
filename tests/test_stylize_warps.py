"""The native kernels that carry pictures from one view to another, against the specification in numpy."""

from __future__ import annotations

import threading

import numpy as np
import numpy_warps
import pytest
from warp_cases import VIEWS, agree, any_history, any_picture

from splatview.frame import Frame
from splatview.native import _warps, warper
from splatview.stylize.accumulate import Accumulation, renewed
from splatview.stylize.carried import Carrier, carried
from splatview.stylize.warp import between

MACHINES = ["avx512", "avx2", "portable"]
RULE = Accumulation()


@pytest.fixture(params=MACHINES)
def machine(request, monkeypatch):
    try:
        _warps.Warper(request.param, 1)
    except ValueError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("SPLATVIEW_SIMD", request.param)
    monkeypatch.setenv("SPLATVIEW_THREADS", "2")
    assert warper().simd == request.param and warper().threads == 2
    return request.param


@pytest.mark.parametrize("view", VIEWS)
def test_an_average_is_that_of_the_specification(machine, view):
    before, now = VIEWS[view]
    history, picture = any_history(before), any_picture(now.rgb8.shape[1::-1])
    ours = renewed(history, now, picture, RULE)
    marks, average, count = numpy_warps.averaged(history, now, picture, RULE)
    assert agree(ours.marks, marks, 0.03) and np.allclose(ours.marks[..., 3], marks[..., 3], rtol=1e-6)
    assert agree(ours.picture, average, 0.03) and agree(ours.count, count, 0.02)
    assert np.array_equal(ours.shown(), np.floor(ours.picture + np.float32(0.5)))


def test_of_most_views_much_is_known():
    """Or the specification would say nothing."""
    known = {view: (numpy_warps.averaged(any_history(before), now, any_picture(now.rgb8.shape[1::-1]), RULE)[2] > 1.5).mean()
             for view, (before, now) in VIEWS.items()}  # fmt: skip
    assert min(known[view] for view in ("moved", "turned", "odd", "coarser", "video")) > 0.3 and 0.1 < known["far"] < 0.7
    assert 0.05 < known["behind"] < 0.5


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_laid_onto_a_frame_is_that_of_the_specification(machine, view):
    of, to = VIEWS[view]
    picture = any_picture(of.rgb8.shape[1::-1])
    found, known, whole = lay(picture, of, to)
    wanted, where = numpy_warps.laid(picture, of, to)
    assert agree(found, wanted, 0.6) and agree(known, where, 0) and whole == known.all()


def lay(picture, of, to):
    near = numpy_warps.nearness(of).astype(np.float32)
    depth, alpha = to.images.get("depth"), to.images.get("alpha")
    matrix, size = between(to.camera, of.camera), (to.camera.width, to.camera.height)
    return warper().lay(matrix, depth, alpha, picture, near, numpy_warps.TOLERANCE, *size)


@pytest.mark.parametrize("view", ["moved", "far", "odd", "wide", "behind"])
def test_what_is_filled_in_is_that_of_the_specification(machine, view):
    of, to = VIEWS[view]
    picture = (of.rgb8 * 0.6 + 0.1 * any_picture(of.rgb8.shape[1::-1])).astype(np.uint8)
    found, known, _ = lay(picture, of, to)
    wanted = numpy_warps.filled(found, to.rgb8, known.astype(bool))
    ours = carried(picture, of, to)
    assert np.abs(ours - wanted).max() < 0.51 and np.array_equal(ours[known == 1], found[known == 1])


def test_nothing_depends_on_how_many_threads_there_are(monkeypatch):
    before, now = VIEWS["far"]
    history, picture, given = any_history(before), any_picture((96, 64)), []
    for threads in ("1", "3"):
        monkeypatch.setenv("SPLATVIEW_THREADS", threads)
        after = renewed(history, now, picture, RULE)
        given.append((after.marks, after.average, after.shown(), Carrier(picture, before).onto(now)))
    assert all(np.array_equal(one, two) for one, two in zip(*given, strict=True))


def test_memory_that_is_given_is_written_and_that_of_before_is_not():
    before, now = VIEWS["moved"]
    history, picture = any_history(before), any_picture((96, 64))
    kept, spare = [history.marks.copy(), history.average.copy()], any_history(now, 5)
    fresh, reused = renewed(history, now, picture, RULE), renewed(history, now, picture, RULE, spare)
    assert reused.average is spare.average and np.array_equal(fresh.average, reused.average) and np.array_equal(fresh.marks, reused.marks)
    assert np.array_equal(kept[0], history.marks) and np.array_equal(kept[1], history.average)
    other = renewed(history, VIEWS["odd"][1], any_picture((41, 57)), RULE, spare)
    assert other.average.shape == (57, 41, 4)


@pytest.mark.parametrize("depth", [np.nan, np.inf, -np.inf, 1e-45, 1e-38, 3e38, 0.0, -1.0])
def test_no_depth_makes_a_picture_that_is_none(machine, depth):
    before, now = VIEWS["moved"]
    holes = np.random.default_rng(2).uniform(size=now.depth.shape) < 0.3
    broken = Frame(now.camera, {**now.images, "depth": np.where(holes, np.float32(depth), now.depth)})
    history, picture = any_history(before), any_picture((96, 64))
    after = renewed(renewed(history, broken, picture, RULE), now, picture, RULE)
    assert np.isfinite(after.average).all() and np.isfinite(after.marks[..., :3]).all() and after.count.min() >= 1
    assert np.abs(renewed(history, broken, picture, RULE).picture - renewed(history, now, picture, RULE).picture)[~holes].max() == 0
    assert np.isfinite(carried(picture, broken, now)).all() and carried(picture, now, broken).shape == picture.shape


def test_each_thread_has_kernels_of_its_own(monkeypatch):
    monkeypatch.setenv("SPLATVIEW_THREADS", "2")
    before, now = VIEWS["far"]
    history, picture, got = any_history(before), any_picture((96, 64)), []

    def work():
        got.append((warper(), [renewed(history, now, picture, RULE).average for _ in range(20)]))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each, _ in got} | {id(warper())}) == 4 and warper() is warper()
    wanted = renewed(history, now, picture, RULE).average
    assert len(got) == 3 and all(np.array_equal(average, wanted) for _, averages in got for average in averages)


def test_native_arguments_are_checked():
    native, bytes_, floats = _warps.Warper("", 1), np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5, 4), np.float32)
    flat, matrix = np.ones((4, 5), np.float32), np.eye(3, 4)

    def average(depth=flat, rendered=bytes_, finer=(None, None), marks=floats, after=floats, change=20.0):
        return native.average(matrix, depth, None, rendered, bytes_, *finer, marks, floats, 0.05, change, 10.0, 1.0, after, floats)

    assert average().shape == (4, 5, 3)
    with pytest.raises(ValueError, match="one size"):
        average(depth=np.ones((5, 4), np.float32))
    with pytest.raises(ValueError, match="one size"):
        average(rendered=np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="one size"):
        average(marks=np.zeros((4, 6, 4), np.float32))
    with pytest.raises(ValueError, match="of both or of neither"):
        average(finer=(np.zeros((4, 5, 3), np.float32), None))
    with pytest.raises(ValueError, match="Accumulation"):
        average(change=0.0)
    for wrong in (np.zeros((4, 5, 4)), np.zeros((4, 5, 8), np.float32)[..., ::2]):
        with pytest.raises(TypeError):
            average(after=wrong)
    with pytest.raises(ValueError, match="1 to 32768"):
        native.lay(matrix, None, None, bytes_, flat, 0.05, 0, 5)
    with pytest.raises(ValueError, match="1 to 32768"):
        native.lay(matrix, None, None, np.zeros((0, 5, 3), np.uint8), np.zeros((0, 5), np.float32), 0.05, 3, 5)
    with pytest.raises(ValueError, match="1 block"):
        native.sums(bytes_, bytes_.copy(), np.ones((4, 5), np.uint8), 4, 0, 1)
    with pytest.raises(ValueError, match="SPLATVIEW_SIMD"):
        _warps.Warper("mmx", 1)
