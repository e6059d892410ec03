"""A breaker that is closed, by tables: what opens it, and what it remembers."""

from __future__ import annotations

import pytest

from interlock.contracts import Breaker, Circuit, Tally
from interlock.policies.breaker import settle, view
from tests.policies.circuits import CLOSED, HALF_OPEN, NOW, OPEN, SETTINGS, after, judged, set_to, told

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
