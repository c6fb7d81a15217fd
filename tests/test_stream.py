"""The laws of moving pictures, with a clock that only moves when told to."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splatview.frame import Interrupted
from splatview.stream.pacing import LOST_IN_ROW, PATIENCE, SETTLE, SETTLE_HELD, Pacer
from splatview.stream.pipeline import GIVEN_WAY, Pipeline
from splatview.stream.resolution import (
    DRAFTS,
    FIRST_MS,
    LEAST,
    NEXT_MS,
    SHARES,
    Worth,
    draft,
    next_link_scale,
    next_quality,
    next_scale,
    rest_share,
)
from splatview.stream.stats import Stats

REST = SETTLE[1] + 0.01


@dataclass
class Client:
    """One client of a pipeline whose drawing takes `cost` seconds of the fake clock at full size."""

    clock: list
    pipeline: Pipeline
    cost: float = 0.02
    budget_ms: float = 33.0
    answers: bool = True
    drawn: list = field(default_factory=list)
    sent: list = field(default_factory=list)
    interrupt_at: float = 1e9
    cost_of: Callable = lambda turn: turn.scale**2

    def __post_init__(self):
        self.pacer = Pacer(self.budget_ms)
        self.channel = self.pipeline.open(self.draw, lambda picture, number: self.sent.append((self.clock[0], number, picture)), self.pacer)

    def draw_field(self):
        """From now on its pictures cost what they say."""
        self.cost_of = lambda turn: turn.effort**2

    def draw(self, turn, interrupt):
        self.clock[0] += self.cost * self.cost_of(turn)
        if interrupt.is_set:
            raise Interrupted
        self.drawn.append(turn)
        return turn

    def answer(self):
        self.channel.acknowledge(self.sent[-1][1])


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def pipeline(clock):
    return Pipeline(lambda: clock[0])


def settle(pipeline):
    while pipeline.step():
        pass


def test_a_lone_request_is_drawn_at_once_and_again_at_full_size_when_it_rests(clock, pipeline):
    client = Client(clock, pipeline)
    client.channel.ask("a")
    settle(pipeline)
    assert [(turn.request, turn.still) for turn in client.drawn] == [("a", False)]
    client.answer()
    clock[0] += SETTLE[0] / 2
    settle(pipeline)
    assert len(client.drawn) == 1
    clock[0] += REST
    settle(pipeline)
    assert [(turn.still, turn.scale) for turn in client.drawn[1:]] == [(True, 1.0)]


def test_a_slow_picture_comes_in_half_the_size_first(clock, pipeline):
    client = Client(clock, pipeline, cost=3.0)
    for request in "ab":
        client.channel.ask(request)
        for _ in range(4):
            settle(pipeline)
            client.answer()
            clock[0] += REST
    assert [(turn.request, turn.scale) for turn in client.drawn if turn.still] == [("a", 1.0), ("b", 0.5), ("b", 1.0)]
    assert client.drawn[0].scale == 0.5 and pipeline.due() is None


def test_a_fixed_cost_is_no_reason_for_a_smaller_picture():
    pacer = Pacer()
    for step in range(20):
        pacer.ask(step, 0.1 * step)
        turn = pacer.turn(0.1 * step)
        pacer.drawn(turn, 300 + 50 * turn.scale**2)
        pacer.acknowledged(pacer.sending(turn, 0.1 * step), 0.1 * step + 0.01)
    assert turn.scale < 0.6 and pacer.turn(10.0).scale == 1


def test_what_was_drawn_at_rest_is_never_drawn_again(clock, pipeline):
    client = Client(clock, pipeline)
    for _ in range(3):
        client.channel.ask("a")
        clock[0] += REST
        settle(pipeline)
        client.answer()
    assert len(client.drawn) == 1 and pipeline.due() is None


def test_the_newest_request_wins_and_the_others_are_counted(clock, pipeline):
    client = Client(clock, pipeline)
    for request in "abcdef":
        client.channel.ask(request)
    settle(pipeline)
    assert [turn.request for turn in client.drawn] == ["f"]
    assert client.pacer.dropped == 5


def test_one_picture_is_under_way_until_it_is_acknowledged(clock, pipeline):
    client = Client(clock, pipeline)
    for request in range(20):
        client.channel.ask(request)
        clock[0] += 0.01
        settle(pipeline)
    assert len(client.sent) == 1
    client.answer()
    settle(pipeline)
    assert len(client.sent) == 2 and client.sent[-1][2].request == 19


def test_a_picture_is_drawn_ahead_so_that_it_leaves_with_the_acknowledgement(clock, pipeline):
    client = Client(clock, pipeline, cost=0.02)
    for request in range(8):  # an acknowledgement takes 50 ms
        client.channel.ask(request)
        settle(pipeline)
        clock[0] += 0.05
        client.answer()
    sent_before, now = len(client.sent), clock[0]
    client.channel.ask("a")
    settle(pipeline)
    client.channel.ask("b")
    clock[0] += 0.049
    settle(pipeline)  # drawn while "a" is under way
    assert client.drawn[-1].request == "b" and len(client.sent) == sent_before + 1
    client.answer()
    assert client.sent[-1][2].request == "b" and clock[0] - now < 0.1


def test_a_lost_acknowledgement_stops_nothing_for_ever(clock, pipeline):
    client = Client(clock, pipeline)
    client.channel.ask("a")
    settle(pipeline)
    clock[0] += PATIENCE + 0.01
    client.channel.ask("b")
    settle(pipeline)
    assert client.sent[-1][2].request == "b" and client.pacer.stats.lost == 1


def test_a_sleeping_page_is_left_alone_until_it_is_heard_of(clock, pipeline):
    client = Client(clock, pipeline)
    for request in range(10):
        client.channel.ask(request)
        settle(pipeline)
        clock[0] += PATIENCE + 0.01
    assert len(client.sent) == LOST_IN_ROW and pipeline.due() is None
    client.channel.awake()
    settle(pipeline)
    assert client.sent[-1][2].request == 9


def test_an_answer_to_a_picture_given_up_does_not_count_for_the_next(clock, pipeline):
    client = Client(clock, pipeline)
    client.channel.ask("a")
    settle(pipeline)
    late = client.sent[-1][1]
    clock[0] += PATIENCE + 0.01
    client.channel.ask("b")
    settle(pipeline)
    client.channel.acknowledge(late)
    assert not client.pacer.may_send(clock[0])


def test_a_new_request_interrupts_a_picture_at_rest_and_nothing_else(clock, pipeline):
    client = Client(clock, pipeline)
    draw = client.channel.draw

    def draw_while_the_camera_moves(turn, interrupt):
        client.channel.ask("moved")
        assert interrupt.is_set == turn.still
        return draw(turn, interrupt)

    client.channel.draw = draw_while_the_camera_moves
    client.channel.ask("moving")
    pipeline.step()
    assert [turn.request for turn in client.drawn] == ["moving"]
    client.answer()
    clock[0] += REST
    client.channel.draw = draw
    settle(pipeline)
    client.answer()
    client.channel.ask("resting")
    clock[0] += REST
    client.channel.draw = draw_while_the_camera_moves
    pipeline.step()
    assert client.drawn[-1].request == "moved" and client.drawn[-1].still  # "resting" was given up
    client.channel.draw = draw
    clock[0] += REST
    settle(pipeline)
    assert client.drawn[-1].request == "moved"


def test_a_slow_picture_at_rest_makes_way_for_others_but_not_for_ever(clock, pipeline):
    slow, mover = Client(clock, pipeline), Client(clock, pipeline)
    tries = []

    def draw_for_long(turn, interrupt):
        if not turn.still:
            return turn
        tries.append(clock[0])
        for moves in range(10):  # the other's camera moves every 100 ms
            clock[0] += 0.1
            if mover.sent:
                mover.answer()
            mover.channel.ask((len(tries), moves))
            if interrupt.is_set:
                raise Interrupted
        return slow.drawn.append(turn) or turn

    slow.channel.draw = draw_for_long
    slow.channel.ask("a")
    for _ in range(30):
        clock[0] += 0.05
        settle(pipeline)
        for client in (slow, mover):
            if client.sent:
                client.answer()
    assert len(tries) == 1 + GIVEN_WAY and [turn.still for turn in slow.drawn] == [True]
    assert len(mover.drawn) >= 1 + GIVEN_WAY


def test_clients_take_turns(clock, pipeline):
    order = []
    clients = [Client(clock, pipeline) for _ in range(3)]
    for name, client in zip("abc", clients, strict=True):
        client.channel.draw = lambda turn, interrupt, name=name: order.append(name)
    for step in range(5):
        for client in clients:
            client.channel.ask(step)
        for _ in clients:
            pipeline.step()
            clock[0] += 0.01
    for at in range(0, 15, 3):
        assert sorted(order[at : at + 3]) == ["a", "b", "c"]


def test_a_closed_client_leaves_nothing_behind(clock, pipeline):
    gone, stays = Client(clock, pipeline), Client(clock, pipeline)
    gone.channel.ask("a")
    gone.channel.close()
    stays.channel.ask("b")
    settle(pipeline)
    assert not gone.drawn and stays.drawn and len(pipeline) == 1


def test_a_client_that_closes_while_its_picture_is_drawn_is_sent_nothing(clock, pipeline):
    client = Client(clock, pipeline)
    draw = client.channel.draw
    client.channel.draw = lambda turn, interrupt: (client.channel.close(), draw(turn, type(interrupt)()))[1]
    client.channel.ask("a")
    settle(pipeline)
    assert client.drawn and not client.sent and client.channel.ready is None


def test_a_picture_that_cannot_be_drawn_is_said_once_and_the_others_go_on(clock, pipeline, caplog):
    bad, good = Client(clock, pipeline), Client(clock, pipeline)
    bad.channel.draw = lambda turn, interrupt: 1 / 0
    bad.channel.ask("a")
    good.channel.ask("b")
    with caplog.at_level(logging.ERROR):
        settle(pipeline)
    assert good.sent and not bad.sent and len(caplog.records) == 1


def test_a_held_camera_rests_later(clock, pipeline):
    client = Client(clock, pipeline)
    client.channel.hold(True)
    client.channel.ask("a")
    settle(pipeline)
    client.answer()
    clock[0] += REST
    settle(pipeline)
    assert len(client.drawn) == 1
    clock[0] += SETTLE_HELD
    settle(pipeline)
    assert client.drawn[-1].still


def test_moving_pictures_come_to_fit_the_budget(clock, pipeline):
    client = Client(clock, pipeline, cost=0.1, budget_ms=20)
    for request in range(60):
        client.channel.ask(request)
        began = clock[0]
        pipeline.step()
        cost = clock[0] - began
        clock[0] += 0.001
        client.answer()
    assert 0.012 < cost <= 0.02


def test_a_thread_draws_what_is_asked_and_runs_tasks_and_ends():
    pipeline = Pipeline()
    arrived = threading.Event()
    pacer = Pacer()
    channel = pipeline.open(
        lambda turn, interrupt: turn, lambda picture, number: arrived.set() if picture.still else channel.acknowledge(number), pacer
    )
    pipeline.start()
    channel.ask("a")
    assert arrived.wait(5)
    assert pipeline.call(threading.current_thread).result(5).name == "splatview-render"
    with pytest.raises(ZeroDivisionError):
        pipeline.call(lambda: 1 / 0).result(5)
    pipeline.close()
    assert pipeline.call(lambda: 1).cancelled()


def test_nobody_waits_for_tasks_that_a_closed_pipeline_will_not_do():
    pipeline, begun, over = Pipeline(), threading.Event(), threading.Event()
    pipeline.start()
    first = pipeline.call(lambda: (begun.set(), over.wait(10)))
    waiting = pipeline.call(lambda: 1)
    assert begun.wait(5)
    pipeline.close()
    with pytest.raises(CancelledError):
        waiting.result(1)
    over.set()
    assert first.result(5) == (None, True)
    assert not any(thread.name == "splatview-render" for thread in threading.enumerate())


def test_what_waits_for_its_turn_is_cancelled_at_the_end(pipeline):
    """Whoever waits for it would wait for ever."""
    waiting = pipeline.call(lambda: 1)
    pipeline.close()
    assert waiting.cancelled() and not pipeline.step()


sizes = st.floats(LEAST, 1)
times = st.floats(0.1, 1000)


@given(sizes, times, st.floats(5, 200))
def test_a_scale_stays_within_bounds_and_answers_in_the_right_direction(scale, frame_ms, budget_ms):
    after = next_scale(scale, frame_ms, budget_ms)
    assert LEAST <= after <= 1
    if frame_ms > budget_ms:
        assert after <= scale
    elif after < scale:
        assert scale - after < 1 / 32  # rounded to a step


@pytest.mark.parametrize("fixed_ms", [0, 10, 25, 60])
@pytest.mark.parametrize("noise_ms", [0, 3])
def test_pictures_are_not_spoilt_for_a_cost_that_their_size_does_not_change(fixed_ms, noise_ms):
    rng = np.random.default_rng(0)
    scale, worth, seen = 0.5, Worth(), []
    worth.observe(1.0, fixed_ms + 14)  # at rest
    for _ in range(200):
        frame_ms = fixed_ms + 14 * scale**2 + noise_ms * rng.uniform()
        worth.observe(scale, frame_ms)
        scale = next_scale(scale, frame_ms, 33, worth.least(33))
        seen.append(scale)
    late = seen[100:]
    assert min(late) > 0.4 and max(late) - min(late) <= (0.2 if noise_ms else 0)
    assert fixed_ms + 14 * max(late) ** 2 <= 33 or 14 * max(late) ** 2 <= 0.2 * 33


@given(st.floats(1, 300), st.floats(5, 100))
def test_the_scale_settles_without_swinging(cost_ms, budget_ms):
    scale, seen = 0.5, []
    for _ in range(100):
        scale = next_scale(scale, cost_ms * scale**2, budget_ms)
        seen.append(scale)
    assert len(set(seen[50:])) == 1
    assert cost_ms * scale**2 <= budget_ms or scale == LEAST


LOWEST = DRAFTS[0][0]


@given(st.floats(0.01, 1), st.floats(0.01, 1))
def test_fields_get_smaller_then_coarser_and_then_smaller_still(one, other):
    (scale, detail), (larger, finer) = draft(min(one, other)), draft(max(one, other))
    assert 1 / 8 <= scale <= larger <= 1 and 1 / 4 <= detail <= finer <= 1
    assert draft(max(one, LEAST)) == (max(one, LEAST), 1)
    assert detail == 1 or scale <= LEAST, "first the size"
    assert scale >= LEAST or detail <= 1 / 2, "then the detail"
    assert draft(0.0) == draft(LOWEST) == (1 / 8, 1 / 4)


def field_ms(turn, full_ms):
    """What a field takes, as measured: half the detail is not twice as fast."""
    return full_ms * turn.scale**2 * turn.detail**0.65


def fly(pacer, costs, clock=0.0, fixed_ms=2.0, fields=True):
    """The turns and milliseconds of a camera that never rests, through views of these full costs; each is acknowledged at once."""
    seen = []
    for step, full_ms in enumerate(costs):
        pacer.ask((clock, step), clock)
        turn = pacer.turn(clock)
        pacer.fields_ms = field_ms(turn, full_ms) if fields else 0.0
        took = fixed_ms + field_ms(turn, full_ms)
        clock += took / 1e3
        pacer.drawn(turn, took)
        pacer.acknowledged(pacer.sending(turn, clock), clock + 0.001)
        clock += 0.001
        seen.append((turn, took))
    return seen


@pytest.mark.parametrize("full_ms", [20, 100, 400, 800, 1500, 2600, 4000])
def test_fields_come_to_fit_the_budget_and_do_not_swing(full_ms):
    pacer = Pacer(33.0)
    pacer.fields = True
    late = fly(pacer, [full_ms] * 60)[15:]
    assert all(took <= 33 for _, took in late)
    assert len({(turn.scale, turn.detail) for turn, _ in late}) == 1
    turn, took = late[-1]
    assert took > 0.6 * 33 or turn.scale == 1, "no smaller than needed"
    assert (turn.detail < 1) == (full_ms * LEAST**2 > 28)


def test_what_is_too_slow_in_any_way_is_drawn_at_the_least():
    pacer = Pacer(33.0)
    pacer.fields = True
    turn, _ = fly(pacer, [30_000] * 10)[-1]
    assert (turn.scale, turn.detail) == (1 / 8, 1 / 4) and turn.smallest


def test_fields_recover_as_soon_as_they_can():
    pacer = Pacer(33.0)
    pacer.fields = True
    seen = fly(pacer, [100] * 20 + [3000] * 10 + [100] * 20)
    assert seen[19][0].scale == seen[-1][0].scale > 0.4
    assert [took <= 33 for _, took in seen[20:30]] == [False] + [True] * 9, "one picture is late"
    back = [took for _, took in seen[30:]]
    assert max(back) <= 33 and seen[30 + 15][0].scale >= 0.9 * seen[19][0].scale and seen[34][0].detail == 1


def test_a_camera_that_flies_into_a_field_has_no_picture_that_is_very_late():
    pacer = Pacer(33.0)
    pacer.fields = True
    seen = fly(pacer, [*np.geomspace(50, 4000, 40), *np.geomspace(4000, 50, 40)])
    assert max(took for _, took in seen) < 1.3 * 33 and np.mean([took > 33 for _, took in seen]) < 0.25


@pytest.mark.parametrize("fixed_ms", [20, 60])
def test_a_cheap_field_beside_many_splats_is_not_spoilt(fixed_ms):
    pacer = Pacer(33.0)
    pacer.fields = True
    turn, _ = fly(pacer, [20] * 100, fixed_ms=fixed_ms)[-1]
    assert turn.detail == 1 and turn.scale >= LEAST


def test_noise_makes_fields_neither_coarse_nor_late():
    rng, pacer = np.random.default_rng(0), Pacer(33.0)
    pacer.fields = True
    late = fly(pacer, 2000 * rng.uniform(0.9, 1.1, 200))[20:]
    assert np.mean([took > 33 for _, took in late]) < 0.1 and np.mean([took for _, took in late]) > 20


@given(st.lists(st.floats(1, 5000), max_size=60))
def test_splats_alone_are_never_drafts(costs):
    pacer = Pacer(33.0)
    for turn, _ in fly(pacer, costs, fields=False):
        assert turn.scale >= LEAST and turn.detail == turn.share == 1
    pacer.fields = True
    fly(pacer, costs, 1000.0)
    pacer.fields = False
    for turn, _ in fly(pacer, costs, 2000.0, fields=False):
        assert turn.scale >= LEAST and turn.detail == turn.share == 1


def test_a_field_that_appears_is_not_drawn_as_large_as_splats_were():
    pacer = Pacer(33.0)
    assert fly(pacer, [5] * 40, fields=False)[-1][0].scale == 1
    pacer.fields = True
    assert fly(pacer, [3000], 100.0)[0][0].scale <= LEAST


@given(st.floats(0, 60_000))
def test_a_view_at_rest_is_refined_in_steps_that_are_worth_waiting_for(full_ms):
    shown, steps = 0.0, []
    while shown < 1:
        share = rest_share(full_ms, shown)
        assert share > shown and share in SHARES
        steps.append((share - shown) * full_ms)
        shown = share
    if full_ms <= 64 * FIRST_MS:
        assert steps[0] <= FIRST_MS
    if full_ms <= 4 * NEXT_MS:
        assert all(one <= NEXT_MS for one in steps[1:])
    if full_ms <= FIRST_MS:
        assert len(steps) == 1


def test_a_field_at_rest_comes_in_more_and_more_pixels_at_full_size(clock, pipeline):
    client = Client(clock, pipeline, cost=2.6)
    client.channel.expect_fields(True)
    client.draw_field()
    client.channel.ask("a")
    for _ in range(8):
        settle(pipeline)
        client.answer()
        clock[0] += REST
    still = [turn for turn in client.drawn if turn.still]
    assert [turn.share for turn in still] == [1 / 16, 1 / 4, 1 / 2, 3 / 4, 1]
    assert all(turn.scale == turn.detail == 1 for turn in still) and [turn.whole for turn in still] == [False] * 4 + [True]
    assert sum(turn.effort**2 for turn in still) == pytest.approx(1), "nothing twice"
    assert pipeline.due() is None


def test_a_camera_that_moves_interrupts_refinement_which_then_begins_anew(clock, pipeline):
    client = Client(clock, pipeline, cost=2.6)
    client.channel.expect_fields(True)
    client.draw_field()
    draw = client.channel.draw
    client.channel.ask("a")
    settle(pipeline)
    client.answer()
    client.answer()
    assert [turn.share for turn in client.drawn if turn.still] == [1 / 16]

    def draw_while_the_camera_moves(turn, interrupt):
        client.channel.ask("b")
        return draw(turn, interrupt)

    client.channel.draw = draw_while_the_camera_moves
    pipeline.step()  # the second of "a" is given up
    client.channel.draw = draw
    pipeline.step()
    client.answer()
    clock[0] += REST
    pipeline.step()
    assert [(turn.request, turn.share) for turn in client.drawn if turn.still][:2] == [("a", 1 / 16), ("b", 1 / 16)]


@given(st.sampled_from([0.5, 0.5 * 2**0.5, 1.0]), times)
def test_a_slow_link_halves_at_most(scale, ack_ms):
    after = next_link_scale(scale, ack_ms, 75)
    assert 0.5 <= after <= 1
    assert (after <= scale) if ack_ms > 75 else (after >= scale)


@given(st.floats(40, 95), times, st.integers(40, 95))
def test_quality_stays_between_forty_and_the_best(quality, ack_ms, best):
    assert 40 <= next_quality(quality, ack_ms, best) <= best


def test_statistics_count_the_last_two_seconds():
    stats = Stats()
    for step in range(100):
        stats.picture(step / 20)
    shown = stats.snapshot(99 / 20, dropped=3)
    assert shown.fps == pytest.approx(20) and shown.sent == 100 and shown.dropped == 3
    assert stats.snapshot(60, dropped=3).fps == 0
