"""What one worker lets out before the fleet agrees, and settings that a later release has written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from interlock.contracts import BreakerSettings, BreakerView, Configure, FleetState, parse
from interlock.fleet import FleetView
from interlock.policies.admission import Go, Out, Refuse, Verdict, Wait, judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)


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
