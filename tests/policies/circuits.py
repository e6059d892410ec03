"""Breakers in each of their states, and what moves them: for the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.contracts import Breaker, BreakerSettings, Outcomes
from interlock.policies.breaker import acquire, report

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
