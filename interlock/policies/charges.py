"""What a call is charged: each of its attempts, also those that nobody told of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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


def with_untold(told: Sequence[Attempt], number: int, granted: int) -> list[Attempt]:
    """The attempts that were made before the one of that number: those that were told of, and as unknown ones the
    numbers that nobody told of. None is let out once the grant is used up: there are no more than it had left."""
    numbers = {attempt.number for attempt in told}
    untold = [each for each in range(1, number) if each not in numbers][: max(0, granted - may_be_billed(told))]
    return [*told, *(Attempt(number=each, fate="unknown", error="never reported") for each in untold)]


def unreported(told: Sequence[Attempt], granted: int, most: int) -> int:
    """How many attempts there may have been besides those that were told of, and at most ``most``, when the last of
    those ``granted`` is over. After an operator's ``activity reset`` the server counts from 1 again: what was told of
    before says nothing of how many there were since. None is let out once the grant is used up."""
    since = 0
    for index, (before, attempt) in enumerate(pairwise(told), start=1):
        if attempt.number <= before.number:
            since = index
    return max(0, min(most, granted - len(told[since:]), granted - may_be_billed(told)))
