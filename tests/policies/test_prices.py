from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import Attempt, Price
from interlock.policies.prices import cost, most, rates


def price(*tiers: dict[str, Any], **base: Any) -> Price:
    return Price.model_validate({"input": "1", "output": "10", **base, "long_context": tiers})


def billed(sent: int, output: int = 0, cached: int = 0, write: int = 0) -> Attempt:
    return Attempt(
        number=1, fate="billed", input_tokens=sent, output_tokens=output, cached_tokens=cached, cache_write_tokens=write
    )


PLAIN = price()
CACHES = price(cached_input="0.1", cache_write="1.25")
FREE_CACHE = price(cached_input="0")
# Out of order, as a price list may be.
TIERED = price(
    {"above": 2000, "input": "3", "output": "5", "cached_input": "0.5"}, {"above": 1000, "input": "2", "output": "20"}
)


@pytest.mark.parametrize(
    ("listed", "attempt", "millionths"),
    [
        (PLAIN, billed(0), "0"),
        (PLAIN, billed(100, 7), "170"),
        (PLAIN, billed(100, 7, cached=40, write=10), "170"),  # no rate of its own: as any input
        (CACHES, billed(100, 7, cached=40), "134"),  # part of the input, not on top of it
        (CACHES, billed(100, 7, write=40), "180"),
        (CACHES, billed(100, 0, cached=40, write=60), "79"),
        (FREE_CACHE, billed(100, 0, cached=100), "0"),
        (PLAIN, billed(10, 0, cached=40), "40"),  # a provider that counts cached input beside the rest
        # a threshold is crossed above it, and changes the price of every token
        (TIERED, billed(1000, 1), "1010"),
        (TIERED, billed(1001, 1), "2022"),
        (TIERED, billed(2000, 1), "4020"),
        (TIERED, billed(2001, 1), "6008"),
        (TIERED, billed(2001, 1, cached=2001), "1005.5"),
    ],
)
def test_what_an_attempt_costs(listed: Price, attempt: Attempt, millionths: str) -> None:
    assert cost(listed, attempt) == Decimal(millionths) / 1_000_000


def test_the_rates_of_a_request() -> None:
    assert [rates(TIERED, sent).input for sent in (0, 1000, 1001, 2000, 2001)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("listed", "sent", "output", "millionths"),
    [
        (PLAIN, 100, 10, "200"),
        (CACHES, 100, 10, "225"),  # it may all be written to the cache
        (FREE_CACHE, 100, 10, "200"),  # and none of it read from there
        (TIERED, 1000, 10, "1100"),
        (TIERED, 1001, 10, "2202"),
        (TIERED, 2001, 10, "6203"),  # the dearest output is that of a smaller request, which this may turn out to be
    ],
)
def test_the_most_a_request_can_cost(listed: Price, sent: int, output: int, millionths: str) -> None:
    assert most(listed, sent, output) == Decimal(millionths) / 1_000_000


RATE = st.decimals(0, 100, places=3)
RATES = {"input": RATE, "output": RATE, "cached_input": st.none() | RATE, "cache_write": st.none() | RATE}
TIER = st.fixed_dictionaries({**RATES, "above": st.integers(0, 3000)})


@given(st.fixed_dictionaries(RATES), st.lists(TIER, max_size=3), st.data())
def test_no_request_costs_more_than_the_most(
    base: dict[str, Any], tiers: list[dict[str, Any]], data: st.DataObject
) -> None:
    listed = price(*tiers, **base)
    bound, output = data.draw(st.integers(0, 5000)), data.draw(st.integers(0, 5000))
    sent = data.draw(st.integers(0, bound))
    cached = data.draw(st.integers(0, sent))
    attempt = billed(sent, data.draw(st.integers(0, output)), cached, data.draw(st.integers(0, sent - cached)))
    assert 0 <= cost(listed, attempt) <= most(listed, bound, output)
