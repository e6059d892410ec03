"""A limit is called low once: when less than a fifth of it is left."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import LimitName, Limits
from interlock.policies.limit import Spent
from interlock.policies.low import crossed

D = Decimal


@pytest.mark.parametrize(
    ("limits", "before", "after", "low"),
    [
        (Limits(usd="1.00", steps=10), Spent(), Spent(usd=D("0.79"), steps=7), []),
        (Limits(usd="1.00", steps=10), Spent(), Spent(usd=D("0.81"), steps=7), ["usd"]),
        (Limits(usd="1.00"), Spent(), Spent(usd=D("0.80")), []),  # a fifth is not less than a fifth
        (Limits(usd="1.00"), Spent(usd=D("0.81")), Spent(usd=D("0.90")), []),  # told already
        (Limits(usd="1.00"), Spent(usd=D("0.10")), Spent(usd=D("5.00")), ["usd"]),
        (Limits(usd="2.00"), Spent(usd=D("0.90")), Spent(usd=D("1.70")), ["usd"]),  # raised since, and low again
        (Limits(), Spent(), Spent(usd=D(99), tokens=9, seconds=9, steps=9, tool_calls=9), []),
        (Limits(usd="0"), Spent(), Spent(), []),  # there never was any
        (
            Limits(tokens=10, seconds=10, step_seconds=1, tool_calls=10, steps=None),
            Spent(),
            Spent(tokens=9, seconds=9.0, tool_calls=9),
            ["tokens", "seconds", "tool_calls"],
        ),
    ],
)
def test_a_limit_is_low(limits: Limits, before: Spent, after: Spent, low: list[LimitName]) -> None:
    assert crossed(limits, before, after) == low


@given(st.integers(1, 1000), st.lists(st.integers(0, 300), max_size=20))
def test_from_moment_to_moment_it_is_told_at_most_once(limit: int, steps: list[int]) -> None:
    told, before = 0, Spent()
    for tokens in steps:
        after = Spent(tokens=before.tokens + tokens)
        told += len(crossed(Limits(tokens=limit, steps=None), before, after))
        before = after
    assert told == (limit - before.tokens < limit * 0.2)
