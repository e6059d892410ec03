"""What a run may still spend: its limits, what is kept of them, and its time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from interlock.contracts import Bounds, Limits, Price
from interlock.policies import budget, limit, money
from interlock.policies.budget import Kept, Room
from interlock.policies.limit import Spent

PRICE = Price(input="1", output="10")


def usd(value: str) -> Decimal:
    return Decimal(value)


def limits(**fields: Any) -> Limits:
    return Limits.model_validate(fields)


# -- limits -------------------------------------------------------------------------------------------------

AGENT = limits(usd="0.50", tokens=1000, steps=5, tool_calls=10, seconds=60)


@pytest.mark.parametrize(
    ("task", "result"),
    [
        (None, AGENT),
        (limits(), AGENT),
        (limits(usd="0.10"), AGENT.model_copy(update={"usd": usd("0.10")})),
        (limits(usd="0.50", tokens=1000), AGENT),  # as tight is tight enough
        (limits(step_seconds=3), AGENT.model_copy(update={"step_seconds": 3.0})),  # where the agent has none
        (limits(usd="0", tool_calls=0), AGENT.model_copy(update={"usd": usd("0"), "tool_calls": 0})),
    ],
)
def test_a_task_may_tighten(task: Limits | None, result: Limits) -> None:
    assert limit.tighten(AGENT, task) == result


@pytest.mark.parametrize(
    ("field", "value"), [("usd", "0.51"), ("tokens", 1001), ("steps", 6), ("tool_calls", 11), ("seconds", 60.5)]
)
def test_a_task_may_not_loosen(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^limits\.{field}: {value} is more than the agent's "):
        limit.tighten(AGENT, limits(**{field: value}))


def test_each_field_that_is_looser_is_named() -> None:
    with pytest.raises(ValueError, match=r"limits\.usd: 2 .*; limits\.steps: 9 .*\. A task may only tighten"):
        limit.tighten(AGENT, limits(usd="2", steps=9, tokens=1))


def test_a_limit_can_be_raised() -> None:
    raised = limit.extend(AGENT, limits(usd="1.00", steps=6))
    assert raised == AGENT.model_copy(update={"usd": usd("1.00"), "steps": 6})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (limits(), "limits: name at least one limit to raise"),
        (limits(usd="0.50"), r"limits\.usd: 0\.50 does not raise 0\.50"),
        (limits(usd="0.40", steps=4), r"limits\.usd: 0\.40 does not raise 0\.50; limits\.steps: 4 does not raise 5"),
        (limits(step_seconds=9), r"limits\.step_seconds: there is no such limit to raise"),
    ],
)
def test_only_raised(asked: Limits, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        limit.extend(AGENT, asked)


def test_what_is_left_is_never_below_zero() -> None:
    spent = Spent(usd=usd("0.60"), tokens=400, seconds=61.0, steps=5, tool_calls=3)
    left = limit.left(AGENT.model_copy(update={"steps": None}), spent)
    assert left == {"usd": 0, "tokens": 600, "seconds": 0.0, "steps": None, "tool_calls": 7}


@pytest.mark.parametrize(
    ("own", "spent", "kept", "rooms"),
    [
        (limits(), Spent(), Kept(), []),
        (limits(usd="0.5"), Spent(usd=usd("0.2")), Kept(), [Room("the budget of $0.50", usd=usd("0.3"))]),
        (limits(tokens=100), Spent(tokens=30), Kept(), [Room("the budget of 100 tokens", tokens=70, limit="tokens")]),
        # what is kept is not there to be used, and never more than a fifth is kept
        (limits(usd="0.5"), Spent(), Kept(usd=usd("0.05")), [Room("the budget of $0.50", usd=usd("0.45"))]),
        (limits(usd="0.5"), Spent(), Kept(usd=usd("9")), [Room("the budget of $0.50", usd=usd("0.4"))]),
        (limits(tokens=100), Spent(), Kept(tokens=9999), [Room("the budget of 100 tokens", tokens=80, limit="tokens")]),
        (limits(usd="0"), Spent(), Kept(usd=usd("9")), [Room("the budget of $0.00", usd=usd("0"))]),
    ],
)
def test_rooms(own: Limits, spent: Spent, kept: Kept, rooms: list[Room]) -> None:
    assert budget.rooms(own, spent, kept) == rooms


def test_what_is_kept() -> None:
    kept = budget.keep(Bounds(final_output=100), PRICE, 1000, 500)
    assert kept == Kept(usd=usd("0.0025"), tokens=1600)
    assert budget.kept_of_account(kept, usd("10")) == usd("0.0025")
    assert budget.kept_of_account(kept, usd("0.01")) == usd("0.0005")  # a twentieth: there are other runs


# -- time and steps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "begun", "held_back"),
    [
        (limits(), True, 0.0),
        (limits(seconds=100), False, 0.0),
        (limits(seconds=100), True, 20.0),
        (limits(seconds=100, step_seconds=7), True, 7.0),
    ],
)
def test_seconds_held_back(own: Limits, begun: bool, held_back: float) -> None:
    assert limit.seconds_held_back(own, begun=begun) == held_back
    expected = None if own.seconds is None else 90 - held_back
    assert limit.seconds_left(own, Spent(seconds=10), held_back) == expected
    assert limit.seconds_left(limits(seconds=5), Spent(seconds=10)) == 0


@pytest.mark.parametrize(
    ("own", "left", "call", "seconds"),
    [
        (limits(), None, None, 60),
        (limits(), None, 5, 5),
        (limits(step_seconds=30), 40, 50, 30),
        (limits(step_seconds=30), 20, None, 20),
    ],
)
def test_seconds_of_one_attempt(own: Limits, left: float | None, call: float | None, seconds: float) -> None:
    assert limit.call_seconds(own, left, call) == seconds


@pytest.mark.parametrize(
    ("own", "spent", "reason"),
    [
        (limits(), Spent(seconds=1e9, steps=99), None),
        (limits(seconds=100), Spent(seconds=79.8, steps=1), None),
        (limits(seconds=100), Spent(seconds=80, steps=1), "the time budget of 100 s is spent"),
        (limits(seconds=100), Spent(seconds=80, steps=0), None),  # nothing is kept for an answer from nothing
        (limits(steps=3), Spent(steps=2), None),
        (limits(steps=3), Spent(steps=3), "the limit of 3 steps is reached"),
    ],
)
def test_why_no_further_turn_may_begin(own: Limits, spent: Spent, reason: str | None) -> None:
    assert limit.spent_up(Bounds(), own, spent) == reason


# -- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "$0.00"),
        ("5", "$5.00"),
        ("0.5", "$0.50"),
        ("0.123400", "$0.1234"),
        ("1E+3", "$1000.00"),
        ("1E-7", "$0.0000001"),
    ],
)
def test_dollars(value: str, text: str) -> None:
    assert money.dollars(usd(value)) == text


def test_spent_of() -> None:
    assert money.spent_of(usd("0.01441"), None) == "$0.0144"
    assert money.spent_of(usd("0.0144"), usd("0.5")) == "$0.0144 of $0.50"
