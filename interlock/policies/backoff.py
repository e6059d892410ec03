"""How long to wait before the next attempt.

* The wait grows exponentially and is jittered: many runs that failed together do not return together.
* What the provider asked for (Retry-After) is a lower bound: coming back earlier only fails again.
* A provider that asks for more than a quarter of an hour is not waited for: it is down, and others are not.
* A wait that ends after the time that is left is not begun: the run does something else with that time.
"""

from __future__ import annotations

from interlock.contracts import Retry

LONGEST = 900.0
"""Seconds of Retry-After beyond which nobody waits."""


def backoff(retry: Retry, attempt: int, draw: float) -> float:
    """Seconds to wait after attempt ``attempt`` (from 1). ``draw``: a number in [0, 1), chance's part."""
    try:
        ceiling = min(retry.maximum, retry.initial * retry.factor ** (attempt - 1))
    except OverflowError:
        ceiling = retry.maximum
    return ceiling * (1 - retry.jitter + retry.jitter * draw)


def next_wait(
    retry: Retry, attempt: int, draw: float, *, asked: float | None = None, left: float | None = None
) -> float | None:
    """Seconds until the next attempt, or ``None``: do not wait.

    asked  Retry-After in seconds; negative or zero means at once
    left   seconds of the run's time budget; ``None``: unlimited
    """
    wait = backoff(retry, attempt, draw)
    if asked is not None:
        if asked > LONGEST:
            return None
        wait = max(wait, asked)
    if left is not None and wait >= left:
        return None
    return wait
