"""One call of a model, whatever becomes of its attempts, its workers and the server's count of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st
from temporalio.exceptions import ActivityError

from interlock.contracts import Attempt, Grant, ModelCall, Price
from interlock.policies import charges
from tests.policies.attempts import TRIES, Activity, Try
from tests.sizes import sized
from workflows import failed_calls

PRICE = Price(input="1", output="1")
FULL = Attempt(number=1, fate="billed", input_tokens=10, output_tokens=10)
"""An attempt that is billed all that one may cost."""


def one(end: str, *, host: int = 0, heard: bool = True, reset: bool = False) -> Try:
    """``heard``: it was on record while it ran; when it is over it is, where there is anybody left to say so."""
    return Try(end, host, heard, settled=True, billed=True, time_up=False, reset=reset, input=8, output=8, cached=0)


RESETS = st.tuples(TRIES, st.lists(st.booleans(), min_size=6, max_size=6)).map(
    lambda drawn: [replace(how, reset=reset) for how, reset in zip(*drawn, strict=True)]
)
LAST = [one("answered")] * 3


# An operator's reset lets the server count from 1 again: a number that has been there is missed by nobody.
@example(granted=2, tries=[one("gone", reset=True), one("gone", heard=False), one("rejected"), *LAST])
@example(granted=4, tries=[one("lost", reset=True), one("mute", host=1, heard=False), one("answered"), *LAST])
@example(granted=2, tries=[one("refused", reset=True), one("refused"), one("gone", heard=False), *LAST])
@example(granted=4, tries=[one("lost"), one("unsent", host=1, reset=True), *[one("silent", host=1)] * 2,
                           one("late", heard=False), one("answered", host=1)])  # fmt: skip
@settings(max_examples=sized(50_000, 2_000), derandomize=True)
@given(granted=st.integers(1, 4), tries=TRIES | RESETS)
def test_each_attempt_that_was_billed_is_charged_and_none_is_made_beyond_the_grant(
    granted: int, tries: list[Try]
) -> None:
    billed = 0

    def bill(how: Try) -> Attempt:
        nonlocal billed
        billed += 1
        return FULL

    grant = Grant(input_tokens=10, max_tokens=10, attempts=granted, usd=Decimal("0.00002"))
    call = ModelCall(key="k", step=1, model="p:m", base=0, delta=(), grant=grant, price=PRICE)
    came = Activity(granted, bill).run(tries)
    if isinstance(came, ActivityError):
        attempts, unreported = failed_calls.attempts_made(call, came)
    else:
        attempts, unreported = came, 0
    charged = charges.charge(PRICE, grant, attempts, unreported=unreported).usd / grant.usd
    assert billed <= charged <= granted
