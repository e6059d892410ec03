"""Numbers from outside: what is out of all proportion is refused by name, and what is taken can be reckoned with.

An error in arithmetic is no answer: in a workflow it fails the task again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from interlock import options
from interlock.contracts import (
    LONGEST,
    MOST,
    AccountLimit,
    AgentTask,
    Extension,
    LeaseRequest,
    LedgerState,
    Limits,
    Observation,
    Price,
    Retry,
    Settlement,
    Usage,
    Window,
    parse,
)
from interlock.policies import anomaly, backoff, budget, leasing, ledger, limit, low, spending
from interlock.policies.budget import Room
from interlock.policies.children import carve
from interlock.policies.money import dollars

NOW = datetime(2027, 5, 17, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize("number", ["1e9999999", "1e999999", "1e-9999999", "1e30", "0." + "1" * 600, "NaN", "Infinity"])
@pytest.mark.parametrize(
    ("model", "payload", "field"),
    [
        (AgentTask, {"agent": "a", "input": "x", "limits": {"usd": ...}}, "limits.usd"),
        (Extension, {"limits": {"usd": ...}}, "limits.usd"),
        (LeaseRequest, {"run": "r", "usd": ...}, "usd"),
        (LeaseRequest, {"run": "r", "usd": "1", "limit_usd": ..., "window": "day"}, "limit_usd"),
        (Settlement, {"run": "r", "spent_usd": ...}, "spent_usd"),
        (Observation, {"run": "r", "usd": ..., "outcome": "completed"}, "usd"),
        (AccountLimit, {"usd": ..., "window": "day"}, "usd"),
        (Usage, {"usd": ...}, "usd"),
        (Price, {"input": ..., "output": "1"}, "input"),
    ],
)
def test_money_that_cannot_be_reckoned_with_is_refused(
    model: type[BaseModel], payload: dict[str, Any], field: str, number: str
) -> None:
    def filled(value: Any) -> Any:
        return (
            {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else number if value is ... else value
        )

    with pytest.raises(ValueError, match=rf"^{field}: "):
        parse(model, filled(payload))


@pytest.mark.parametrize(
    ("model", "payload", "field"),
    [
        (Limits, {"tokens": 10**400}, "tokens"),
        (Limits, {"tokens": MOST + 1}, "tokens"),
        (Limits, {"steps": 10**30}, "steps"),
        (Limits, {"tool_calls": 10**30}, "tool_calls"),
        (Limits, {"seconds": 1e14}, "seconds"),
        (Limits, {"step_seconds": 1e300}, "step_seconds"),
        (Retry, {"initial": 1e14}, "initial"),
        (Retry, {"maximum": 1e300}, "maximum"),
        (Retry, {"factor": 1e300}, "factor"),
    ],
)
def test_counts_and_spans_that_cannot_be_reckoned_with_are_refused(
    model: type[BaseModel], payload: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: Input should be less than or equal to"):
        parse(model, payload)


USD = st.sampled_from(["0", "0.000000000000000001", "0.3", "333333.333333333333333333", "999999999999", "1e12"])
COUNT = st.sampled_from([0, 1, 7, 10**9, MOST])
SPAN = st.sampled_from([1e-300, 0.5, float(LONGEST)])


@given(money=st.tuples(USD, USD), counts=st.tuples(COUNT, COUNT), seconds=SPAN, among=st.sampled_from([1, 3, 7, 1000]))
def test_a_run_reckons_with_all_that_is_taken(
    money: tuple[str, str], counts: tuple[int, int], seconds: float, among: int
) -> None:
    (usd, spent), (tokens, used) = money, counts
    limits = parse(
        Limits, {"usd": usd, "tokens": tokens, "seconds": seconds, "step_seconds": seconds, "tool_calls": tokens}
    )
    so_far = limit.Spent(usd=Decimal(spent), tokens=used, seconds=seconds, tool_calls=used)
    assert all(value is None or value >= 0 for value in limit.left(limits, so_far).values())
    low.crossed(limits, limit.Spent(), so_far)
    rooms = budget.rooms(limits, so_far, budget.NOTHING)
    dearest = Price(input="1e6", output="1e6", long_context=())
    for price in (dearest, Price(input="1e-18", output="0")):
        budget.grant(price, 1000, rooms, wanted_output=10**9, wanted_attempts=100, least_output=64)
    dollars(limits.usd or Decimal(0))
    assert NOW + options._span(limit.call_seconds(limits, limit.seconds_left(limits, so_far))) > NOW
    options.retry_policy(Retry(attempts=100, initial=seconds, factor=1000, maximum=LONGEST))
    backoff.backoff(Retry(attempts=100, initial=seconds, factor=1000, maximum=LONGEST), 100, 0.5)
    given = carve(Limits(), rooms or [Room("x", usd=Decimal(usd))], seconds=seconds, tool_calls=tokens, among=among)
    assert isinstance(given, budget.Refusal) or (given.usd or 0) * among <= Decimal(usd)
    used_up = Usage(input_tokens=used * 100, usd=Decimal(spent) * 100)
    assert (used_up + used_up).usd >= used_up.usd


@given(limit=USD, usd=USD, spent=USD, least=USD, window=st.sampled_from(["day", "month", "total"]))
def test_an_account_reckons_with_all_that_is_taken(
    limit: str, usd: str, spent: str, least: str, window: Window
) -> None:
    state = ledger.set_limit(LedgerState(account="fleet"), parse(AccountLimit, {"usd": limit, "window": window}), NOW)
    for run in ("a", "b", "c"):
        asked = {"run": run, "usd": usd, "enough": least, "at_least": least, "spent_usd": spent}
        state, _ = leasing.lease(state, parse(LeaseRequest, asked), NOW)
    far = parse(Settlement, {"run": "a", "spent_usd": "1e24", "closed": True})
    for told in (far, parse(Settlement, {"run": "b", "spent_usd": spent})):
        state, _ = ledger.settle(state, told, NOW + timedelta(days=1))
    for cost in ("1e24", "0.000000000000000001", usd, *["1"] * 10):
        seen = parse(Observation, {"run": "a", "usd": cost, "outcome": "completed"})
        anomaly.cost_outlier(state.settings, state.costs, seen.usd)
        state = ledger.observe(state, seen)
    state, _ = spending.news(state)
    assert ledger.status(state, NOW).account == "fleet"
