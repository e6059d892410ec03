"""The windows of an account's limit: a day or a month, in UTC, or all time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from interlock.contracts import Window


def window_start(window: Window, now: datetime) -> datetime | None:
    """When the window that ``now`` is in began, UTC; ``None``: it never does."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match window:
        case "day":
            return day
        case "month":
            return day.replace(day=1)
        case "total":
            return None


def window_end(window: Window, now: datetime) -> datetime | None:
    start = window_start(window, now)
    match window:
        case "day":
            return start and start + timedelta(days=1)
        case "month":
            return start and (start + timedelta(days=32)).replace(day=1)
        case "total":
            return None
