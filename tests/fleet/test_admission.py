"""What one worker lets out before the fleet has agreed on anything: the table of ``interlock.policies.admission``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import BreakerSettings, BreakerView, Probe
from interlock.policies.admission import HOLD, SLOW_START, Go, Out, Refuse, Wait, came_back, judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = BreakerSettings(failure_threshold=3, recovery_seconds=30)
CLOSED = BreakerView()
YOUNG, OLD = NOW - SLOW_START / 2, NOW - SLOW_START


def out(*went: datetime, proven: bool = False, failures: int = 0, failed_at: datetime | None = None) -> Out:
    return Out(proven=proven, failures=failures, failed_at=failed_at, calls=dict(enumerate(went)))


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        pytest.param(out(), Go(), id="nothing known, nothing out"),
        pytest.param(out(YOUNG, YOUNG), Go(), id="nothing known, fewer out than the threshold"),
        pytest.param(out(YOUNG, YOUNG, YOUNG), Wait(YOUNG + SLOW_START), id="nothing known, as many out"),
        pytest.param(out(OLD, YOUNG, YOUNG, YOUNG), Go(), id="slow, and not known to be down"),
        pytest.param(out(*[YOUNG] * 50, proven=True), Go(), id="proven: as many as there are"),
        pytest.param(out(YOUNG, proven=True, failures=1), Go(), id="one failure: one less at a time"),
        pytest.param(out(YOUNG, YOUNG, proven=True, failures=1), Wait(YOUNG + SLOW_START), id="one failure, two out"),
        pytest.param(out(OLD, YOUNG, YOUNG, failures=1), Wait(YOUNG + SLOW_START), id="slow, but it has failed"),
        pytest.param(
            out(failures=3, failed_at=NOW), Refuse(NOW + timedelta(seconds=30)), id="the fleet is about to open it"
        ),
        pytest.param(out(failures=3, failed_at=NOW - HOLD), Go(), id="the fleet did not: one at a time"),
        pytest.param(
            out(YOUNG, failures=4, failed_at=NOW - HOLD), Wait(YOUNG + SLOW_START), id="the fleet did not: one is out"
        ),
    ],
)
def test_a_closed_breaker(state: Out, verdict: object) -> None:
    assert judge(SETTINGS, CLOSED, state, NOW) == verdict


def test_an_open_breaker_is_the_fleets_business() -> None:
    later = NOW + timedelta(seconds=7)
    assert judge(SETTINGS, BreakerView(state="open", retry_at=later), out(proven=True), NOW) == Refuse(later)
    assert judge(SETTINGS, BreakerView(state="open", retry_at=NOW), out(proven=True), NOW) == Go(probe=True)


def test_whoever_waits_for_a_probe_does_not_sleep_through_its_answer() -> None:
    lease = Probe(worker="w", until=NOW + timedelta(seconds=600))
    view = BreakerView(state="half_open", probe=lease, retry_at=NOW + timedelta(seconds=600))
    assert judge(SETTINGS, view, out(), NOW) == Refuse(NOW + timedelta(seconds=30))


def test_what_came_back_counts_once_and_only_in_its_generation() -> None:
    state = out(YOUNG, YOUNG)
    came_back(state, 0, failed=True, now=NOW)
    came_back(state, 0, failed=True, now=NOW)
    assert (state.failures, state.failed_at, list(state.calls)) == (1, NOW, [1])
    came_back(state, 1, failed=None, now=NOW)
    assert (state.failures, state.proven, state.calls) == (1, False, {})
    state = out(YOUNG, failures=2)
    came_back(state, 0, failed=False, now=NOW)
    assert (state.failures, state.proven) == (0, True)


@given(
    threshold=st.integers(1, 8),
    answers=st.lists(st.sampled_from(["fail", "none"]), max_size=60),
    burst=st.integers(1, 40),
)
def test_a_dependency_that_only_fails_sees_no_more_requests_than_open_its_breaker(
    threshold: int, answers: list[str], burst: int
) -> None:
    """However many want to go at once, as long as failures come back within a second."""
    settings = BreakerSettings(failure_threshold=threshold)
    state, sent, answered = Out(), 0, iter(answers)
    for _ in range(burst):
        while isinstance(judge(settings, CLOSED, state, NOW), Go):
            state.calls[sent] = NOW
            sent += 1
        if not state.calls:
            break
        came_back(state, min(state.calls), failed=True if next(answered, "fail") == "fail" else None, now=NOW)
    unknown = answers[:burst].count("none")
    assert sent <= threshold + unknown
