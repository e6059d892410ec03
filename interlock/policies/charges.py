"""What a call is charged: each of its attempts, also those that nobody told of."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.contracts import Attempt, Grant, Price, Usage
from interlock.policies.prices import cost


def charge(price: Price, grant: Grant, attempts: Sequence[Attempt], *, unreported: int = 0) -> Usage:
    """What a call is charged. ``unreported``: attempts that may have been made and that nobody told of."""
    billed = [attempt for attempt in attempts if attempt.fate == "billed"]
    unknown = sum(attempt.fate == "unknown" for attempt in attempts) + unreported
    unsettled = grant.usd * unknown
    return Usage(
        calls=1,
        attempts=len(attempts) + unreported,
        input_tokens=sum(attempt.input_tokens for attempt in billed) + unknown * grant.input_tokens,
        output_tokens=sum(attempt.output_tokens for attempt in billed) + unknown * grant.max_tokens,
        cached_tokens=sum(attempt.cached_tokens for attempt in billed),
        usd=sum((cost(price, attempt) for attempt in billed), unsettled),
        usd_unsettled=unsettled,
    )


def joined(found: Sequence[Attempt], earlier: Sequence[Attempt]) -> list[Attempt]:
    """The attempts of an answer that was found in the journal, and those that began after it was given: they may
    have been billed as well."""
    return [*found, *earlier[len(found) :]]


def may_be_billed(attempts: Sequence[Attempt]) -> int:
    """How many of a call's attempts have used up its grant. A refused one has not."""
    return sum(attempt.fate != "unbilled" for attempt in attempts)
