"""What a breaker answers to workers, and that no settings and no clock can upset it."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from interlock.contracts import Breaker, BreakerView, Outcomes, Probe
from interlock.policies import breaker as policy
from interlock.policies.breaker import admits, report, view
from tests.policies.circuits import CLOSED, HALF_OPEN, NOW, OPEN, SETTINGS, after, granted, judged, set_to, told

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
