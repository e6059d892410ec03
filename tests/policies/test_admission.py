"""What one worker lets out before the fleet agrees, and settings that a later release has written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import BreakerSettings, BreakerView, Configure, FleetState, Probe, parse
from interlock.fleet import FleetView
from interlock.policies.admission import Go, Out, Refuse, Verdict, Wait, came_back, judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = BreakerSettings(failure_threshold=3, recovery_seconds=30)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def out(*calls: float, failures: int = 0, failed: float | None = None, proven: bool = False) -> Out:
    """Calls that went so many seconds ago."""
    failed_at = None if failed is None else ago(failed)
    went = {number: ago(seconds) for number, seconds in enumerate(calls)}
    return Out(calls=went, failures=failures, failed_at=failed_at, proven=proven)


@pytest.mark.parametrize(
    ("seen", "slow", "verdict"),
    [
        (out(), 1, Go()),
        (out(0.5, 0.5), 1, Go()),
        (out(0.5, 0.5, 0.5), 1, Wait(ago(-0.5))),  # as many as would open the breaker
        (out(1.5, 0.5, 0.5, 0.5), 1, Go()),  # slow, not down
        (out(1.5, 0.5, 0.5, 0.5), 10, Wait(ago(-8.5))),  # where a call may take longer, nobody knows yet
        (out(0.5, 0.5, failures=1), 1, Wait(ago(-0.5))),
        (out(0.5, 0.5, 0.5, proven=True), 1, Go()),
        (out(0.5, 0.5, 0.5, proven=True, failures=1), 1, Wait(ago(-0.5))),
        (out(failures=3, failed=1.5), 1, Refuse(ago(-30))),
        (out(failures=3, failed=2.5), 1, Go()),  # the fleet did not open the breaker: one goes
        (out(0.5, failures=3, failed=2.5), 1, Wait(ago(-0.5))),  # and then another
        (out(failures=3, failed=2.5), 10, Refuse(ago(-30))),
    ],
)
def test_how_many_go_out_before_one_has_come_back(seen: Out, slow: float, verdict: Verdict) -> None:
    settings = BreakerSettings(failure_threshold=3, recovery_seconds=30, slow_seconds=slow)
    assert judge(settings, BreakerView(), seen, NOW) == verdict


def test_settings_of_a_later_release_are_read_and_not_asked_for() -> None:
    """A worker that fell over them would lose the switch, and the kills with it when it continues as new."""
    later = {"failure_threshold": 3, "of_a_later_release": 1}
    seen = FleetView.of({"settings": {"defaults": later, "settings": {"model": later}}})
    assert (seen.defaults.failure_threshold, seen.settings_of("model").failure_threshold) == (3, 3)
    state = parse(FleetState, {"defaults": later, "settings": {"model": later}})
    assert (state.defaults, state.settings["model"]) == (seen.defaults, seen.settings["model"])
    with pytest.raises(ValueError, match="of_a_later_release"):
        parse(Configure, {"settings": later})


def test_an_open_breaker_is_the_fleets_business() -> None:
    later = NOW + timedelta(seconds=7)
    assert judge(SETTINGS, BreakerView(state="open", retry_at=later), Out(proven=True), NOW) == Refuse(later)
    assert judge(SETTINGS, BreakerView(state="open", retry_at=NOW), Out(proven=True), NOW) == Go(probe=True)


def test_whoever_waits_for_a_probe_does_not_sleep_through_its_answer() -> None:
    lease = Probe(worker="w", until=NOW + timedelta(seconds=600))
    view = BreakerView(state="half_open", probe=lease, retry_at=NOW + timedelta(seconds=600))
    assert judge(SETTINGS, view, Out(), NOW) == Refuse(NOW + timedelta(seconds=30))


def test_what_came_back_counts_once_and_only_in_its_generation() -> None:
    state = out(0.5, 0.5)
    came_back(state, 0, failed=True, now=NOW)
    came_back(state, 0, failed=True, now=NOW)
    assert (state.failures, state.failed_at, list(state.calls)) == (1, NOW, [1])
    came_back(state, 1, failed=None, now=NOW)
    assert (state.failures, state.proven, state.calls) == (1, False, {})
    state = out(0.5, failures=2)
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
        while isinstance(judge(settings, BreakerView(), state, NOW), Go):
            state.calls[sent] = NOW
            sent += 1
        if not state.calls:
            break
        came_back(state, min(state.calls), failed=True if next(answered, "fail") == "fail" else None, now=NOW)
    unknown = answers[:burst].count("none")
    assert sent <= threshold + unknown
