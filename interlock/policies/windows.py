"""The windows of an account's limit: a day or a month, in UTC, or all time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from interlock.contracts import Window

IN_WORDS: Final[Mapping[Window, str]] = {"day": "the day", "month": "the month", "total": "all time"}
"""As in: its $5.00 for the day is spent."""


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
