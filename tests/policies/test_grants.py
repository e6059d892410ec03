"""What a call is granted, and what each fate of its attempts is charged."""

from __future__ import annotations

from decimal import Decimal

import pytest

from interlock.contracts import Attempt, Bounds, Grant, LongContext, Price, Usage
from interlock.policies import budget, charges
from interlock.policies.budget import Refusal, Room

PRICE = Price(input="1", output="10")
FREE = Price(input="0", output="0")
LONG = LongContext(above=1000, input="2", output="20")
TIERED = PRICE.model_copy(update={"long_context": (LONG,)})


def usd(value: str) -> Decimal:
    return Decimal(value)


BOUNDS = Bounds(message_margin=10, request_margin=100, tools_margin=1000)


@pytest.mark.parametrize(
    ("conversation", "delta", "messages", "known", "tools", "bound"),
    [
        (500, 40, 2, None, False, 500 + 40 + 100 + 20),
        (500, 40, 2, None, True, 500 + 40 + 100 + 20 + 1000),
        (500, 40, 2, 200, False, 200 + 40 + 100 + 20),
        (500, 40, 2, 200, True, 200 + 40 + 100 + 20),  # the known reply's input had the tools in it
        (500, 40, 2, 9999, False, 500 + 40 + 100 + 20),  # a reply's hidden reasoning is not sent again
        (500, 0, 0, 500, False, 600),
    ],
)
def test_the_bound_of_the_input(
    *, conversation: int, delta: int, messages: int, known: int | None, tools: bool, bound: int
) -> None:
    assert budget.input_bound(BOUNDS, conversation, delta, messages, known, tools=tools) == bound


def granted(
    *rooms: Room, price: Price = PRICE, sent: int = 1000, output: int = 1000, attempts: int = 4, least: int = 64
) -> Grant | Refusal:
    return budget.grant(price, sent, rooms, wanted_output=output, wanted_attempts=attempts, least_output=least)


def test_where_nothing_is_limited_all_is_granted() -> None:
    assert granted() == Grant(max_tokens=1000, attempts=4, input_tokens=1000, usd=usd("0.011"))


@pytest.mark.parametrize(
    ("rooms", "attempts", "output"),
    [
        # attempts are given up before output is
        ([Room("b", usd=usd("0.044"))], 4, 1000),
        ([Room("b", usd=usd("0.0439"))], 3, 1000),
        ([Room("b", usd=usd("0.011"))], 1, 1000),
        ([Room("b", usd=usd("0.010999"))], 1, 999),
        ([Room("b", usd=usd("0.00164"))], 1, 64),  # the least output
        ([Room("b", tokens=8000)], 4, 1000),
        ([Room("b", tokens=7999)], 3, 1000),
        ([Room("b", tokens=1999)], 1, 999),
        ([Room("b", tokens=1064)], 1, 64),
        # the tightest room rules, in whichever order
        ([Room("b", usd=usd("0.023")), Room("t", tokens=1500)], 1, 500),
        ([Room("t", tokens=1500), Room("b", usd=usd("0.023"))], 1, 500),
        ([Room("t", tokens=1500), Room("b", usd=usd("0.005"))], 1, 400),
        # more than 28 digits of attempts
        ([Room("b", usd=usd("1e40"))], 4, 1000),
    ],
)
def test_the_largest_grant_that_fits(rooms: list[Room], attempts: int, output: int) -> None:
    grant = granted(*rooms)
    assert isinstance(grant, Grant)
    assert (grant.attempts, grant.max_tokens) == (attempts, output)
    assert grant.usd == (1000 + 10 * output) / Decimal(1_000_000)


@pytest.mark.parametrize(
    ("rooms", "name"),
    [
        ([Room("the budget of $0.50", usd=usd("0.001639"))], "the budget of $0.50"),
        ([Room("the budget of $0.50", usd=usd("0"))], "the budget of $0.50"),
        ([Room("the budget of $0.50", usd=usd("-1"))], "the budget of $0.50"),
        ([Room("the budget of 9 tokens", tokens=1063)], "the budget of 9 tokens"),
        ([Room("the budget of 9 tokens", tokens=-5)], "the budget of 9 tokens"),
        ([Room("a", usd=usd("1")), Room("account user:ada", usd=usd("0.001"))], "account user:ada"),
    ],
)
def test_a_refusal_names_the_limit_in_words(rooms: list[Room], name: str) -> None:
    assert granted(*rooms) == Refusal(name, f"{name} is spent")


def test_who_wants_less_than_the_least_output_gets_it() -> None:
    grant = granted(Room("b", tokens=1010), output=10)
    assert isinstance(grant, Grant)
    assert (grant.max_tokens, grant.attempts) == (10, 1)


@pytest.mark.parametrize("money", ["0", "0.000001", "1e40"])
def test_a_free_model_needs_no_money(money: str) -> None:
    grant = granted(Room("b", usd=usd(money)), price=FREE)
    assert grant == Grant(max_tokens=1000, attempts=4, input_tokens=1000, usd=usd("0"))


def test_a_free_model_is_refused_where_more_is_spent_than_there_was() -> None:
    assert isinstance(granted(Room("b", usd=usd("-0.01")), price=FREE), Refusal)
    assert isinstance(granted(Room("t", tokens=10), price=FREE), Refusal)


@pytest.mark.parametrize(("sent", "bound"), [(1000, "0.011"), (1001, "0.022002")])
def test_the_price_jumps_with_the_bound_of_the_input(sent: int, bound: str) -> None:
    grant = granted(price=TIERED, sent=sent)
    assert isinstance(grant, Grant)
    assert grant.usd == usd(bound)
    fits = granted(Room("b", usd=usd("0.0220")), price=TIERED, sent=sent)
    assert isinstance(fits, Grant)
    assert (fits.attempts, fits.max_tokens) == ((2, 1000) if sent == 1000 else (1, 999))


# -- charges ------------------------------------------------------------------------------------------------

GRANT = Grant(max_tokens=1000, attempts=4, input_tokens=1000, usd=usd("0.011"))
BILLED = Attempt(number=1, fate="billed", input_tokens=300, output_tokens=20, cached_tokens=100)
UNKNOWN = Attempt(number=2, fate="unknown")
UNBILLED = Attempt(number=3, fate="unbilled", error="ModelRateLimited")


@pytest.mark.parametrize(
    ("attempts", "unreported", "sent", "output", "money", "unsettled"),
    [
        ([], 0, 0, 0, "0", "0"),
        ([UNBILLED, UNBILLED], 0, 0, 0, "0", "0"),
        ([BILLED], 0, 300, 20, "0.0005", "0"),
        ([BILLED, BILLED], 0, 600, 40, "0.001", "0"),
        ([UNKNOWN], 0, 1000, 1000, "0.011", "0.011"),
        ([], 1, 1000, 1000, "0.011", "0.011"),
        ([], 4, 4000, 4000, "0.044", "0.044"),
        ([UNKNOWN, UNBILLED, BILLED], 1, 2300, 2020, "0.0225", "0.022"),
    ],
)
def test_what_each_fate_is_charged(
    *, attempts: list[Attempt], unreported: int, sent: int, output: int, money: str, unsettled: str
) -> None:
    usage = charges.charge(PRICE, GRANT, attempts, unreported=unreported)
    assert usage == Usage(
        calls=1,
        attempts=len(attempts) + unreported,
        input_tokens=sent,
        output_tokens=output,
        cached_tokens=100 * attempts.count(BILLED),
        usd=usd(money),
        usd_unsettled=usd(unsettled),
    )


@pytest.mark.parametrize(
    ("attempts", "used"), [([], 0), ([UNBILLED], 0), ([UNKNOWN, UNBILLED], 1), ([UNKNOWN, BILLED], 2)]
)
def test_what_has_used_up_a_grant(attempts: list[Attempt], used: int) -> None:
    assert charges.may_be_billed(attempts) == used


@pytest.mark.parametrize(
    ("found", "earlier", "joined"),
    [
        ([BILLED], [UNKNOWN], [BILLED]),
        ([BILLED], [UNKNOWN, UNKNOWN], [BILLED, UNKNOWN]),  # the second asked too, before the answer was journaled
        ([UNKNOWN, BILLED], [UNKNOWN, UNKNOWN, UNBILLED], [UNKNOWN, BILLED, UNBILLED]),
        ([UNKNOWN, BILLED], [UNKNOWN], [UNKNOWN, BILLED]),
    ],
)
def test_an_answer_found_again_does_not_hide_what_came_after_it(
    found: list[Attempt], earlier: list[Attempt], joined: list[Attempt]
) -> None:
    assert charges.joined(found, earlier) == joined
