"""When a limit is nearly used up: worth a line, once."""

from __future__ import annotations

from interlock.contracts import LimitName, Limits
from interlock.policies.limit import Spent, left

SHARE = 0.2
"""Of a limit; with less than it left, the limit is low."""


def crossed(limits: Limits, before: Spent, after: Spent) -> list[LimitName]:
    """The limits that have become low between two moments. Asked from moment to moment, it names each once."""
    return [name for name in left(limits, after) if _low(limits, after, name) and not _low(limits, before, name)]


def _low(limits: Limits, spent: Spent, name: LimitName) -> bool:
    limit, remaining = getattr(limits, name), left(limits, spent)[name]
    return remaining is not None and float(remaining) < float(limit) * SHARE
