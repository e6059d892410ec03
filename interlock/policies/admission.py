"""What one worker lets out to a dependency before the fleet has had time to agree on anything.

The fleet's breaker counts what has come back; this counts what has gone out. Without it, two hundred runs that
start while a provider is down send two hundred requests before the first failure is known.

* Until the first call of a generation has succeeded, and after any failure, no more calls are out at a time than
  failures would still be needed to open the breaker.
* A dependency that neither answers nor fails for ``slow_seconds`` is slow, and not known to be down: the others go.
* When as many calls in a row have failed as open the breaker, nothing goes out; the fleet is about to say so. If it
  does not, because elsewhere calls succeed, single calls go out again after twice that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from interlock.contracts import BreakerSettings, BreakerView
from interlock.policies import breaker


@dataclass(frozen=True)
class Go:
    """Call it. ``probe``: as the one call that tries, once the fleet has granted that."""

    probe: bool = False


@dataclass(frozen=True)
class Wait:
    """Ask again when a call has come back, or at ``until``."""

    until: datetime


@dataclass(frozen=True)
class Refuse:
    """The breaker is open; coming back before ``retry_at`` is of no use."""

    retry_at: datetime


Verdict: TypeAlias = Go | Wait | Refuse


@dataclass
class Out:
    """What one worker knows of one dependency in one generation of its breaker. ``calls``: when each that is out
    went."""

    generation: int = 0
    proven: bool = False
    failures: int = 0
    failed_at: datetime | None = None
    calls: dict[int, datetime] = field(default_factory=dict)


def judge(settings: BreakerSettings, view: BreakerView, out: Out, now: datetime) -> Verdict:
    """May one more call go out, now?"""
    match breaker.admits(view, now):
        case "probe":
            return Go(probe=True)
        case datetime() as retry_at:
            return Refuse(soon_enough(settings, view, retry_at, now))
        case _:
            return _carefully(settings, out, now)


def soon_enough(settings: BreakerSettings, view: BreakerView, retry_at: datetime, now: datetime) -> datetime:
    """When to ask again. A probe's lease says when its holder is given up at the latest; mostly it answers long before,
    and whoever slept until then would sleep through it."""
    if view.state != "half_open":
        return retry_at
    return min(retry_at, now + timedelta(seconds=settings.recovery_seconds))


def _carefully(settings: BreakerSettings, out: Out, now: datetime) -> Verdict:
    if out.proven and out.failures == 0:
        return Go()
    slow = timedelta(seconds=settings.slow_seconds)
    young = [went for went in out.calls.values() if now - went < slow]
    grows_old = min(young, default=now) + slow
    if out.failures >= settings.failure_threshold:
        if out.failed_at is not None and now < out.failed_at + 2 * slow:
            return Refuse(now + timedelta(seconds=settings.recovery_seconds))
        return Go() if not young else Wait(grows_old)
    if out.failures == 0 and len(young) < len(out.calls):
        return Go()
    if len(young) < settings.failure_threshold - out.failures:
        return Go()
    return Wait(grows_old)


def came_back(out: Out, call: int, *, failed: bool | None, now: datetime) -> None:
    """A call has come back. ``failed``: ``None`` when it says nothing about the dependency."""
    if out.calls.pop(call, None) is None:
        return  # it went out in an earlier generation
    if failed is None:
        return
    out.proven = out.proven or not failed
    out.failures = out.failures + 1 if failed else 0
    out.failed_at = now if failed else out.failed_at
