"""One breaker, by tables: each row of its transitions, what may not move it, and what it answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any, get_args

import pytest

from interlock.contracts import Breaker, BreakerSettings, BreakerView, Circuit, Outcomes, Probe, Tally
from interlock.policies import breaker as policy
from interlock.policies.breaker import acquire, admits, report, settle, view

NOW = datetime(2027, 5, 17, 12, 30, tzinfo=UTC)
SETTINGS = BreakerSettings()  # 5 in a row, or half of at least 20 in 60 s; 30 s, twice that, at most 600


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def set_to(**fields: Any) -> BreakerSettings:
    return BreakerSettings.model_validate(fields)


def told(
    breaker: Breaker, failures: int = 0, successes: int = 0, *, at: float = 0, settings: BreakerSettings = SETTINGS,
    **fields: Any,
) -> Breaker:  # fmt: skip
    outcomes = Outcomes(dependency="m", failures=failures, successes=successes, **fields)
    return report(settings, breaker, outcomes, after(at))


def granted(breaker: Breaker, *, at: float, lease: float = 65, settings: BreakerSettings = SETTINGS) -> Breaker:
    breaker, reply = acquire(settings, breaker, "w", after(at + lease), after(at))
    assert (reply.granted, reply.retry_at, reply.generation) == (True, None, breaker.generation)
    return breaker


def judged(breaker: Breaker, failures: int = 0, successes: int = 0, **fields: Any) -> Breaker:
    return told(breaker, failures, successes, probe=True, generation=breaker.generation, **fields)


CLOSED = Breaker()
OPEN = told(CLOSED, 5, error="503")
HALF_OPEN = granted(OPEN, at=30)


# -- closed -> open -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batches", "state", "failures"),
    [
        ([(4, 0)], "closed", 4),
        ([(5, 0)], "open", 0),
        ([(1, 0)] * 4, "closed", 4),
        ([(1, 0)] * 5, "open", 0),
        ([(4, 0), (0, 1), (4, 0)], "closed", 4),  # a success between
        ([(4, 0), (1, 1)], "closed", 0),  # s f is no row of five, and f s is: not certain
        ([(4, 0), (4, 1)], "closed", 0),  # 4+0, 1, 4 at best
        ([(4, 0), (5, 1)], "open", 0),  # nine in two rows: five in one of them, in any order
        ([(8, 1)], "closed", 0),
        ([(9, 1)], "open", 0),
        ([(5, 5)], "closed", 0),
        ([(4, 4)] * 2, "closed", 0),
        ([(4, 0), (0, 0)], "closed", 4),  # it says nothing
        ([(3, 1), (4, 0)], "closed", 4),  # the three may have come before the success
        ([(3, 1), (5, 0)], "open", 0),
    ],
)
def test_failures_in_a_row(batches: list[tuple[int, int]], state: Circuit, failures: int) -> None:
    settings, breaker = set_to(least_calls=1000), CLOSED
    for failed, succeeded in batches:
        breaker = told(breaker, failed, succeeded, settings=settings)
    assert (breaker.state, breaker.failures) == (state, failures)


@pytest.mark.parametrize(
    ("batches", "state"),
    [
        ([(0, 0, 10), (0, 9, 0)], "closed"),  # 9 of 19: too few calls
        ([(0, 0, 10), (0, 9, 1)], "closed"),  # 9 of 20
        ([(0, 0, 10), (0, 10, 0)], "open"),  # 10 of 20
        ([(0, 10, 9), (0, 0, 1)], "closed"),  # 10 of 20, but it was a success that made it so
        ([(0, 10, 9), (0, 0, 1), (0, 1, 0)], "open"),
        ([(0, 10, 9), (59, 1, 0)], "open"),
        ([(0, 10, 9), (60, 1, 0)], "closed"),  # the window has passed over the first
        ([(0, 0, 10), (4, 5, 0), (59, 5, 0)], "open"),
        ([(0, 0, 10), (4, 5, 0), (60, 5, 0)], "closed"),  # the slice goes as a whole, by its beginning
        ([(0, 0, 10), (5, 5, 0), (60, 5, 10)], "open"),  # in a slice of its own it stays
    ],
)
def test_rate_over_the_window(batches: list[tuple[float, int, int]], state: Circuit) -> None:
    settings = set_to(failure_threshold=1000, failure_rate=0.5)
    breaker = CLOSED
    for at, failures, successes in batches:
        breaker = told(breaker, failures, successes, at=at, settings=settings)
    assert breaker.state == state


@pytest.mark.parametrize(
    ("failures", "calls", "rate"), [(1, 10, 0.1), (3, 30, 0.1), (7, 70, 0.1), (29, 100, 0.29), (57, 100, 0.57)]
)
def test_a_rate_that_is_reached_exactly_opens(failures: int, calls: int, rate: float) -> None:
    settings = set_to(failure_threshold=1000, failure_rate=rate, least_calls=calls)
    assert told(CLOSED, failures, calls - failures, settings=settings).state == "open"
    assert told(CLOSED, failures - 1, calls - failures + 1, settings=settings).state == "closed"


def test_opening() -> None:
    assert (
        Breaker(state="open", generation=1, recovery=30, opened_at=NOW, retry_at=after(30), error="503", opened=1)
        == OPEN
    )


def test_a_success_opens_nothing_whatever_is_configured() -> None:
    breaker = told(CLOSED, 50, settings=set_to(failure_threshold=100, least_calls=1000))
    strict = set_to(failure_threshold=1, failure_rate=0.01, least_calls=1)
    assert told(breaker, 0, 1, settings=strict).state == "closed"
    assert told(breaker, 0, 0, settings=strict) is breaker
    assert told(breaker, 1, 0, settings=strict).state == "open"


def test_the_last_error_is_kept() -> None:
    breaker = told(CLOSED, 1, error="time-out")
    assert told(breaker, 1).error == told(breaker, 0, 1, error="none").error == "time-out"
    assert told(breaker, 1, error="503").error == "503"
    assert told(breaker, 5).error == "time-out"
    assert judged(HALF_OPEN, 1).error == judged(HALF_OPEN, 0, 1, error="none").error == "503"
    assert judged(HALF_OPEN, 1, error="529").error == "529"


# -- the window ---------------------------------------------------------------------------------------------


def test_slices() -> None:
    settings, breaker = set_to(failure_threshold=1000, least_calls=1000), CLOSED
    for second in range(200):
        breaker = told(breaker, 1, 2, at=second, settings=settings)
        assert len(breaker.window) <= 12
    assert breaker.window[0] == Tally(since=after(140), failures=5, successes=10)
    assert breaker.window[-1] == Tally(since=after(195), failures=5, successes=10)
    assert len(told(CLOSED, 1, settings=set_to(window_slices=1)).window) == 1


@pytest.mark.parametrize(
    ("at", "failures", "slices", "watched"),
    [(0, 3, 2, True), (59, 3, 2, True), (60, 3, 1, True), (99.9, 3, 1, True), (100, 0, 0, False), (9e6, 0, 0, False)],
)
def test_settle_forgets(at: float, failures: int, slices: int, watched: bool) -> None:
    breaker = told(told(CLOSED, 1), 2, at=40)
    settled = settle(SETTINGS, breaker, after(at))
    assert (settled.failures, len(settled.window), view(settled).watched) == (failures, slices, watched)
    assert (settled is breaker) == (slices == 2)
    assert settle(SETTINGS, settled, after(at)) is settled


def test_successes_in_the_window_do_not_keep_failures() -> None:
    breaker = told(told(told(CLOSED, 1), 0, 1, at=30), 2, at=31)
    assert breaker.failures == 2
    late = settle(SETTINGS, told(told(CLOSED, 2), 0, 0, at=59), after(60))
    assert (late.failures, late.window) == (0, ())
    successes = Breaker(failures=2, window=(Tally(since=NOW, successes=3),))
    assert settle(SETTINGS, successes, after(1)) == Breaker(window=successes.window)


def test_failures_further_apart_than_the_window_never_add_up() -> None:
    breaker = CLOSED
    for n in range(20):
        breaker = told(breaker, 1, at=n * 60)
        assert (breaker.state, breaker.failures) == ("closed", 1)


@pytest.mark.parametrize("breaker", [OPEN, HALF_OPEN, Breaker(), Breaker(error="503", opened=3, generation=7)])
def test_nothing_to_forget(breaker: Breaker) -> None:
    assert settle(SETTINGS, breaker, after(1e6)) is breaker


# -- open -> half_open --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaker", "at", "retry_at"),
    [
        (CLOSED, 0, None),
        (OPEN, 0, 30),
        (OPEN, 29.9, 30),
        (HALF_OPEN, 30, 60),  # one recovery after the probe began
        (HALF_OPEN, 59.9, 60),
        (HALF_OPEN, 60, 95),  # it takes long: when its lease ends
        (HALF_OPEN, 94.9, 95),
    ],
)
def test_not_granted(breaker: Breaker, at: float, retry_at: float | None) -> None:
    same, reply = acquire(SETTINGS, breaker, "other", after(at + 65), after(at))
    assert same is breaker
    assert (reply.granted, reply.generation) == (False, breaker.generation)
    assert reply.retry_at == (None if retry_at is None else after(retry_at))


def test_the_lease_of_a_short_call_is_when_to_come_back() -> None:
    breaker = granted(OPEN, at=30, lease=10)
    assert acquire(SETTINGS, breaker, "other", after(100), after(31))[1].retry_at == after(40)


def test_granted() -> None:
    assert Breaker(
        state="half_open", generation=2, recovery=30, opened_at=NOW, retry_at=after(60),
        probe=Probe(worker="w", until=after(95)), error="503", opened=1,
    ) == HALF_OPEN  # fmt: skip


def test_a_probe_whose_holder_died_is_granted_again_and_its_outcome_ignored() -> None:
    breaker = granted(HALF_OPEN, at=95)
    assert (breaker.state, breaker.generation, breaker.opened) == ("half_open", 3, 1)
    for failures, successes in [(1, 0), (0, 1), (0, 0)]:
        assert told(breaker, failures, successes, probe=True, generation=2) is breaker
    assert judged(breaker, 0, 1).state == "closed"


def test_a_late_outcome_counts_while_nobody_else_tries() -> None:
    assert judged(HALF_OPEN, 0, 1, at=500).state == "closed"


# -- half_open -> closed, open, half_open -------------------------------------------------------------------


def test_a_probe_that_succeeds_closes_and_forgets() -> None:
    again = granted(judged(HALF_OPEN, 1, at=40), at=100)
    assert judged(again, 0, 1, at=101) == Breaker(generation=5, error="503", opened=2)


def test_a_probe_that_fails_opens_for_longer() -> None:
    breaker, waits = OPEN, []
    now = 30.0
    for _ in range(7):
        breaker = judged(granted(breaker, at=now), 1, at=now + 2)
        assert breaker.opened_at == after(now + 2)
        assert breaker.retry_at is not None
        waits.append((breaker.retry_at - after(now + 2)).total_seconds())
        now += 2 + waits[-1]
    assert waits == [60, 120, 240, 480, 600, 600, 600]
    assert (breaker.opened, breaker.generation, breaker.probe) == (8, 15, None)


def test_one_failure_is_enough() -> None:
    assert judged(HALF_OPEN, 1, 5, at=31).state == "open"


def test_several_tries_one_after_the_other() -> None:
    settings = set_to(successes_to_close=2)
    one = judged(HALF_OPEN, 0, 7, at=31, settings=settings)  # one call, whatever it says
    assert (one.state, one.successes, one.probe, one.retry_at) == ("half_open", 1, None, after(31))
    assert judged(one, 0, 1, at=31, settings=settings) is one, "told twice"
    failed = judged(granted(one, at=31), 1, at=32, settings=settings)
    assert (failed.state, failed.successes, failed.recovery) == ("open", 0, 60)
    two = judged(granted(one, at=31), 0, 1, at=32, settings=settings)
    assert (two.state, two.successes) == ("closed", 0)


def test_a_probe_that_cannot_tell_is_free_at_once() -> None:
    settings = set_to(successes_to_close=2)
    one = granted(judged(HALF_OPEN, 0, 1, at=31, settings=settings), at=32)
    breaker = judged(one, at=33, settings=settings)
    assert (breaker.state, breaker.successes, breaker.probe, breaker.recovery) == ("half_open", 1, None, 30)
    assert breaker.retry_at == after(33)
    assert judged(one, at=33, settings=SETTINGS).state == "half_open", "nothing succeeded: nothing closes"
    assert granted(breaker, at=33).generation == one.generation + 1


def test_half_open_hears_its_probe_only() -> None:
    assert told(HALF_OPEN, 9, generation=2) is told(HALF_OPEN, 0, 9) is HALF_OPEN
    assert told(HALF_OPEN, 0, 1, probe=True).state == "closed"  # no generation: the present one's


@pytest.mark.parametrize(("failures", "successes", "probe"), [*product([0, 9], [0, 9], [False, True])])
def test_open_hears_nothing(failures: int, successes: int, probe: bool) -> None:
    for generation in (None, 0, 1, 2):
        assert told(OPEN, failures, successes, probe=probe, generation=generation, at=100) is OPEN


@pytest.mark.parametrize("breaker", [CLOSED.model_copy(update={"generation": 2}), OPEN, HALF_OPEN])
def test_another_generation_is_not_heard(breaker: Breaker) -> None:
    for generation, probe in product((0, breaker.generation - 1, breaker.generation + 1), (False, True)):
        assert told(breaker, 9, 0, generation=generation, probe=probe) is breaker
        assert told(breaker, 0, 9, generation=generation, probe=probe) is breaker


def test_this_generation_is_heard() -> None:
    breaker = CLOSED.model_copy(update={"generation": 2})
    assert told(breaker, 5, generation=2).state == "open"


def test_each_state_has_its_rows() -> None:
    assert {state for state, _ in policy.TRANSITIONS} == set(get_args(Circuit))
    assert {event for _, event in policy.TRANSITIONS} == set(get_args(policy.Event))
    assert [now for (was, _), now in policy.TRANSITIONS.items() if was == "open"] == ["half_open"]


# -- what workers may do ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "at", "may"),
    [
        (BreakerView(), 0, "call"),
        (BreakerView(watched=True, error="503"), 0, "call"),
        (view(OPEN), 0, after(30)),
        (view(OPEN), 29.9, after(30)),
        (view(OPEN), 30, "probe"),
        (BreakerView(state="open"), 0, "probe"),
        (view(HALF_OPEN), 31, after(60)),
        (view(HALF_OPEN), 60, after(95)),
        (view(HALF_OPEN), 95, "probe"),
        (view(judged(HALF_OPEN, at=31)), 31, "probe"),
        (BreakerView(state="half_open", probe=Probe(worker="w", until=after(9))), 0, after(9)),
    ],
)
def test_admits(seen: BreakerView, at: float, may: object) -> None:
    assert admits(seen, after(at)) == may


def test_views() -> None:
    assert view(CLOSED) == BreakerView()
    assert view(told(CLOSED, 0, 9)) == BreakerView()
    assert view(told(CLOSED, 1, error="503")) == BreakerView(watched=True, error="503")
    assert view(told(told(CLOSED, 1), 0, 1)).watched, "in the window still"
    assert view(Breaker(failures=1)).watched
    assert view(OPEN) == BreakerView(
        state="open", generation=1, retry_at=after(30), error="503", opened=1, opened_at=after(0)
    )
    assert view(HALF_OPEN) == BreakerView(
        state="half_open",
        generation=2,
        retry_at=after(60),
        probe=HALF_OPEN.probe,
        error="503",
        opened=1,
        opened_at=after(0),
    )


# -- settings -----------------------------------------------------------------------------------------------


def test_settings_that_changed_hold_from_the_next_decision() -> None:
    grown = judged(HALF_OPEN, 1, at=31)  # 60
    longer, shorter = set_to(recovery_seconds=200), set_to(recovery_seconds=1, recovery_max=10)
    assert judged(granted(grown, at=91), 1, at=92, settings=longer).recovery == 200
    assert judged(granted(grown, at=91), 1, at=92, settings=shorter).recovery == 10
    assert granted(grown, at=91, settings=shorter).retry_at == after(101)


def test_the_maximum_outranks_the_minimum() -> None:
    assert told(CLOSED, 5, settings=set_to(recovery_seconds=30, recovery_max=10)).recovery == 10


@pytest.mark.parametrize("seconds", [1e12, 1e15, 1e308])
def test_no_settings_can_raise(seconds: float) -> None:
    settings = set_to(recovery_seconds=seconds, recovery_max=seconds, window_seconds=seconds, recovery_factor=1e308)
    breaker = told(told(CLOSED, 4, settings=settings), 1, at=1e8, settings=settings)
    assert (breaker.state, breaker.retry_at) == ("open", policy.NEVER)
    assert Breaker.model_validate_json(breaker.model_dump_json()) == breaker
    half_open = granted(Breaker(state="open", recovery=seconds), at=0, settings=settings)
    failed = judged(half_open, 1, settings=settings)
    assert (failed.recovery, failed.retry_at) == (seconds, policy.NEVER)


def test_the_smallest_settings() -> None:
    settings = set_to(
        failure_threshold=1, failure_rate=1e-9, least_calls=1, window_seconds=1e-9, recovery_seconds=1e-9,
        recovery_factor=1, recovery_max=1e-9,
    )  # fmt: skip
    breaker = told(CLOSED, 1, settings=settings)
    assert (breaker.state, admits(view(breaker), NOW)) == ("open", "probe")


def test_time_that_stands_still_or_comes_from_another_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    breaker = report(SETTINGS, told(CLOSED, 4), Outcomes(dependency="m", failures=1), elsewhere)
    assert (breaker.state, breaker.retry_at) == ("open", after(30))
    early = told(told(CLOSED, 1, at=10), 1, at=0)  # a report that is dated before the last one
    assert [tally.failures for tally in early.window] == [2]
