"""From a ``Failure`` to the error that Temporal retries, or does not: the one place that makes it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from interlock.contracts import Retry
from interlock.errors import Failure, action_for
from interlock.policies.backoff import next_wait


def time_left() -> float | None:
    """Seconds until Temporal gives up on this activity with all its attempts; ``None``: it never does."""
    info = activity.info()
    if info.schedule_to_close_timeout is None:
        return None
    return (info.scheduled_time + info.schedule_to_close_timeout - datetime.now(UTC)).total_seconds()


def application_error(failure: Failure, retry: Retry, *details: Any) -> ApplicationError:
    """``failure`` for Temporal. A wait longer than the time that is left is not begun: the error is then final,
    so that the run can do something else with that time."""
    wait: float | None = None
    if action_for(failure.kind) == "retry":
        wait = next_wait(retry, activity.info().attempt, random.random(), asked=failure.retry_after, left=time_left())
    return ApplicationError(
        str(failure),
        *details,
        type=failure.kind,
        non_retryable=wait is None,
        next_retry_delay=None if wait is None else timedelta(seconds=max(wait, 0.001)),
        category=ApplicationErrorCategory.BENIGN,  # expected: logged as an event of ours, not as a traceback
    )
