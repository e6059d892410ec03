"""One breaker of one dependency, for the whole fleet. Pure: (settings, breaker, what happened, now) -> breaker.

Laws, whoever reports what, late, twice or never:

1. At most one probe lives at a time. Its holder loses it at ``until``: a dead holder delays, it never blocks.
2. Nothing leaves ``open`` but by a granted probe, and no probe is granted before ``retry_at``.
3. Every change of state and every grant begins a generation. An outcome of a call that was admitted in another one
   changes nothing; one that names none is taken for the present one's.
4. Only a failure opens. ``failure_threshold`` of them in a row always do, if the window holds one of those before.
5. The time until the next try grows with each failed one, from ``recovery_seconds`` to ``recovery_max``, which it
   never exceeds. A try that cannot tell, or whose holder died, makes it neither longer nor shorter.
6. How often ``settle`` is called decides nothing: ``report`` forgets first what is too old.

What is no row of ``TRANSITIONS`` leaves the state as it is: in ``open`` every outcome, in ``half_open`` all but the
probe's own. ``window`` and ``failures`` belong to ``closed``, ``successes`` and ``probe`` to ``half_open``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from interlock.contracts import Breaker, BreakerSettings, BreakerView, Circuit, Outcomes, Probe, ProbeReply, Tally

Event: TypeAlias = Literal["tripped", "granted", "failed", "recovered"]
Admission: TypeAlias = Literal["call", "probe"] | datetime

TRANSITIONS: Final[Mapping[tuple[Circuit, Event], Circuit]] = {
    ("closed", "tripped"): "open",  # failures in a row, or their rate over the window
    ("open", "granted"): "half_open",  # retry_at has passed and somebody asks to try
    ("half_open", "granted"): "half_open",  # the last try is over without a verdict, or its holder is lost
    ("half_open", "failed"): "open",  # the probe failed: for longer
    ("half_open", "recovered"): "closed",  # successes_to_close probes succeeded, with no failure between
}
"""What happens in which state, and the state that follows. Each row begins a generation."""

NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""A recovery time that the calendar cannot hold ends here: nobody's settings may raise inside a workflow."""


def report(settings: BreakerSettings, breaker: Breaker, outcomes: Outcomes, now: datetime) -> Breaker:
    """The breaker after a batch of outcomes; the same object if they say nothing about it."""
    if outcomes.generation not in (None, breaker.generation):
        return breaker
    match breaker.state:
        case "closed":
            return _count(settings, breaker, outcomes, now)
        case "open":
            return breaker
        case "half_open":
            # Without a probe the report is one that was told twice: a try counts once.
            return _judge(settings, breaker, outcomes, now) if outcomes.probe and breaker.probe else breaker


def acquire(
    settings: BreakerSettings, breaker: Breaker, worker: str, until: datetime, now: datetime
) -> tuple[Breaker, ProbeReply]:
    """Asks to be the one call that tries. Not granted: come back at ``retry_at``; without one the breaker is closed.

    While a probe lives, the others come back one recovery after it began, the pace at which it is tried anyway;
    if it takes longer still, when its lease ends."""
    match admits(view(breaker), now):
        case "probe":
            retry_at = min(until, _later(now, _recovery(settings, breaker.recovery)))
            breaker = _move(breaker, "granted", probe=Probe(worker=worker, until=until), retry_at=retry_at)
            return breaker, ProbeReply(granted=True, generation=breaker.generation)
        case "call":
            return breaker, ProbeReply(granted=False, generation=breaker.generation)
        case retry_at:
            return breaker, ProbeReply(granted=False, retry_at=retry_at, generation=breaker.generation)


def admits(view: BreakerView, now: datetime) -> Admission:
    """What a worker that sees ``view`` may do: call, ask for the probe, or come back at the time that is returned,
    which is later than ``now``."""
    if view.state == "closed":
        return "call"
    if view.state == "half_open" and (view.probe is None or view.probe.until <= now):
        return "probe"
    if view.retry_at is not None and now < view.retry_at:
        return view.retry_at
    return view.probe.until if view.probe else "probe"


def view(breaker: Breaker) -> BreakerView:
    """What workers are told of it. Watched: their successes count, because there are failures to set them against."""
    failing = breaker.failures > 0 or any(tally.failures for tally in breaker.window)
    return BreakerView(
        state=breaker.state,
        generation=breaker.generation,
        watched=breaker.state == "closed" and failing,
        retry_at=breaker.retry_at,
        probe=breaker.probe,
        error=breaker.error,
        opened=breaker.opened,
        opened_at=breaker.opened_at,
    )


def settle(settings: BreakerSettings, breaker: Breaker, now: datetime) -> Breaker:
    """Forgets what is older than the window; the same object if that is nothing. Failures in a row of which the
    window holds none any more are forgotten too, or a fleet would watch for ever over a call that failed once."""
    if breaker.state != "closed":
        return breaker
    window = tuple(tally for tally in breaker.window if _age(tally, now) < settings.window_seconds)
    failures = breaker.failures if any(tally.failures for tally in window) else 0
    if len(window) == len(breaker.window) and failures == breaker.failures:
        return breaker
    return breaker.model_copy(update={"window": window, "failures": failures})


def _count(settings: BreakerSettings, breaker: Breaker, outcomes: Outcomes, now: datetime) -> Breaker:
    """A batch that a closed breaker is told.

    Its order is not known, so only what every order has in common counts as "in a row". ``s`` successes part the
    failures into ``s + 1`` rows: the longest has at least an equal share of them, rounded up, and the last one, which
    the next batch may continue, has perhaps none. So nine failures and a success do open a breaker of five, five and
    five do not; an outage opens it, because batches without a success add up."""
    breaker = settle(settings, breaker, now)
    if not outcomes.failures and not outcomes.successes:
        return breaker
    in_a_row = -(-(breaker.failures + outcomes.failures) // (outcomes.successes + 1))
    window = _tallied(settings, breaker.window, outcomes, now)
    if outcomes.failures and (in_a_row >= settings.failure_threshold or _rate_reached(settings, window)):
        return _open(settings, breaker, "tripped", outcomes.error, now)
    failures = 0 if outcomes.successes else in_a_row
    error = (outcomes.error if outcomes.failures else None) or breaker.error
    return breaker.model_copy(update={"failures": failures, "window": window, "error": error})


def _judge(settings: BreakerSettings, breaker: Breaker, outcomes: Outcomes, now: datetime) -> Breaker:
    """What the probe came to. It is one call: whatever number is reported counts as one success."""
    if outcomes.failures:
        return _open(settings, breaker, "failed", outcomes.error, now)
    successes = breaker.successes + min(outcomes.successes, 1)
    if outcomes.successes and successes >= settings.successes_to_close:
        return _move(breaker, "recovered", successes=0, recovery=0.0, opened_at=None, retry_at=None, probe=None)
    return breaker.model_copy(update={"successes": successes, "retry_at": now, "probe": None})


def _open(settings: BreakerSettings, breaker: Breaker, event: Event, error: str | None, now: datetime) -> Breaker:
    recovery = _recovery(settings, breaker.recovery * settings.recovery_factor)
    return _move(
        breaker,
        event,
        failures=0,
        successes=0,
        window=(),
        recovery=recovery,
        opened_at=now,
        retry_at=_later(now, recovery),
        probe=None,
        error=error or breaker.error,
        opened=breaker.opened + 1,
    )


def _move(breaker: Breaker, event: Event, **changes: object) -> Breaker:
    """A row of the table."""
    state = TRANSITIONS[breaker.state, event]
    return breaker.model_copy(update={"state": state, "generation": breaker.generation + 1, **changes})


def _recovery(settings: BreakerSettings, seconds: float) -> float:
    """``seconds`` within today's settings, which may have changed since. The maximum outranks the minimum."""
    return min(max(seconds, settings.recovery_seconds), settings.recovery_max)


def _tallied(
    settings: BreakerSettings, window: tuple[Tally, ...], outcomes: Outcomes, now: datetime
) -> tuple[Tally, ...]:
    """The window with a batch added to its last slice, or to a new one. A slice is forgotten as a whole, by its
    beginning: its last outcomes up to one slice too early."""
    if not window or _age(window[-1], now) >= settings.window_seconds / settings.window_slices:
        window = (*window, Tally(since=now))
    *older, last = window
    failures, successes = last.failures + outcomes.failures, last.successes + outcomes.successes
    return (*older, Tally(since=last.since, failures=failures, successes=successes))


def _rate_reached(settings: BreakerSettings, window: tuple[Tally, ...]) -> bool:
    failures = sum(tally.failures for tally in window)
    calls = failures + sum(tally.successes for tally in window)
    return calls >= settings.least_calls and failures / calls >= settings.failure_rate


def _age(tally: Tally, now: datetime) -> float:
    return (now - tally.since).total_seconds()


def _later(now: datetime, seconds: float) -> datetime:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return NEVER
