"""A shared account: the laws of ``interlock.policies.ledger``, each at its head. Law 4 is in ``test_windows``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from interlock.contracts import (
    AccountLimit,
    HeldLease,
    LeaseReply,
    LeaseRequest,
    LedgerState,
    Observation,
    Settlement,
    Window,
)
from interlock.policies import leasing, ledger, spending

NOW = datetime(2027, 5, 17, 12, 30, tzinfo=UTC)
ZERO = Decimal(0)
EMPTY = LedgerState(account="fleet")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def limit(usd: str, window: Window = "day") -> AccountLimit:
    return AccountLimit(usd=Decimal(usd), window=window)


def limited(usd: str = "1", window: Window = "day", **fields: Any) -> LedgerState:
    state = ledger.set_limit(EMPTY, AccountLimit(usd=Decimal(usd), window=window), NOW)
    return state.model_copy(update=fields)


def leased(
    state: LedgerState, run: str, usd: str, *, now: datetime = NOW, **fields: Any
) -> tuple[LedgerState, LeaseReply]:
    return leasing.lease(state, LeaseRequest.model_validate({"run": run, "usd": usd, **fields}), now)


def settled(
    state: LedgerState, run: str, usd: str, *, now: datetime = NOW, closed: bool = True, **fields: Any
) -> LedgerState:
    told = Settlement.model_validate({"run": run, "spent_usd": usd, "closed": closed, **fields})
    return ledger.settle(state, told, now)[0]


def money(state: LedgerState) -> tuple[str, str]:
    """Spent and held, as text."""
    return f"{state.spent_usd:f}", f"{ledger.held(state):f}"


# -- law 1: spent and held within the limit ---------------------------------------------------------------


def test_what_is_leased_counts_as_spent() -> None:
    state, first = leased(limited(), "a", "0.6")
    state, second = leased(state, "b", "0.6")
    state, third = leased(state, "c", "0.1")
    assert [reply.granted_usd for reply in (first, second, third)] == [Decimal("0.6"), Decimal("0.4"), ZERO]
    assert (third.busy, third.remaining_usd) == (True, ZERO)
    assert money(state) == ("0", "1.0")


def test_an_account_without_a_limit_lends_nothing() -> None:
    state, reply = leased(EMPTY, "a", "1")
    assert (reply.granted_usd, reply.busy, reply.window_ends) == (ZERO, False, None)
    assert state.leases == {}


LENT = {"b": HeldLease(run="b", usd=Decimal("0.5"), spent_usd=Decimal("0.1"), since=NOW)}  # 0.4 may come back


@pytest.mark.parametrize(
    ("spent", "usd", "enough", "at_least", "granted", "busy"),
    [
        # of an account of 1.00 of which another run holds 0.50
        ("0", "0.3", "0", "0", "0.3", False),
        ("0", "0.9", "0", "0", "0.5", False),  # as much as there is
        ("0", "0.9", "0", "0.6", "0", True),  # of no use, but the other may bring back what is missing
        ("0", "0.9", "0", "0.91", "0", False),  # even then of no use
        ("0.3", "0.3", "0", "0.3", "0", True),
        ("0.5", "0.3", "0", "0.5", "0", False),
        ("0.5", "0.3", "0", "0.3", "0", True),
        # who says what is enough gets no more than that, or a quarter of what remains
        ("0", "0.4", "0.05", "0", "0.1125", False),  # of what is not left to the one that has begun
        ("0", "0.1", "0.05", "0", "0.1", False),
        ("0", "0.4", "0.2", "0", "0.2", False),
        ("0", "0.1", "0.4", "0", "0.1", False),  # more is not asked for
        # and waits where the rest of it may come back
        ("0.2", "0.6", "0.5", "0.1", "0", True),
        ("0.2", "0.6", "0.8", "0.1", "0", True),  # what is asked for is 0.6
        ("0.3", "0.8", "0.8", "0.1", "0", True),  # what there is goes to the one that has begun
        ("0.3", "0.8", "0.8", "0.3", "0", True),
        ("0.5", "0.8", "0.8", "0.5", "0", False),
    ],
)
def test_what_is_granted(*, spent: str, usd: str, enough: str, at_least: str, granted: str, busy: bool) -> None:
    state = limited(spent_usd=Decimal(spent), leases=LENT)
    after, reply = leased(state, "a", usd, enough=enough, at_least=at_least)
    assert (reply.granted_usd, reply.busy) == (Decimal(granted), busy)
    assert ("a" in after.leases) == bool(reply.granted_usd)


def test_a_run_that_waits_gives_back_what_it_holds_and_then_needs_it_all() -> None:
    state, _ = leased(limited(), "a", "0.6")
    state, _ = leased(state, "b", "0.4")
    ask: dict[str, Any] = {"usd": "0.5", "enough": "0.5", "at_least": "0.3", "spent_usd": "0.1", "key": "a2"}
    after, reply = leased(settled(state, "b", "0.1", closed=False), "a", **ask)
    assert (reply.granted_usd, reply.busy, reply.held_usd) == (ZERO, False, Decimal("0.6"))  # it holds 0.5 unspent
    after, reply = leased(state, "a", **{**ask, "usd": "0.8", "enough": "0.8", "at_least": "0.8"})
    assert (reply.granted_usd, reply.busy, reply.held_usd) == (ZERO, True, Decimal("0.1"))
    assert money(after) == ("0", "0.5")
    done = settled(after, "b", "0.1")
    last, reply = leased(done, "a", **{**ask, "usd": "0.8", "enough": "0.8", "at_least": "0.8"})
    assert (reply.granted_usd, reply.held_usd) == (Decimal("0.8"), Decimal("0.9"))
    assert leased(last, "a", **ask)[1].granted_usd == Decimal("0.8")  # the same request, asked again
    assert money(last) == ("0.1", "0.9")


def test_runs_are_finished_rather_than_begun() -> None:
    state, _ = leased(limited(), "begun", "0.3")
    newcomer: dict[str, Any] = {"usd": "0.5", "enough": "0.4", "at_least": "0.1"}
    assert leased(state, "new", **newcomer)[1].busy is True  # 0.7 is left; 0.4 of it is kept for the other
    assert leased(state, "begun", **newcomer, spent_usd="0.3")[1].granted_usd == Decimal("0.4")
    assert leased(settled(state, "begun", "0.3"), "new", **newcomer)[1].granted_usd == Decimal("0.4")


def test_ones_own_lease_brings_nothing_back() -> None:
    state, _ = leased(limited(), "a", "0.9")
    assert leased(state, "a", "0.5", at_least="0.5")[1].busy is False
    assert leased(state, "b", "0.5", at_least="0.5")[1].busy is True


def test_a_lower_limit_takes_nothing_back_and_waits_for_nobody_in_vain() -> None:
    state, _ = leased(limited("1"), "a", "0.5")
    state = ledger.set_limit(state.model_copy(update={"spent_usd": Decimal("0.4")}), limit("0.2"), NOW)
    assert money(state) == ("0.4", "0.5")
    assert ledger.remaining(state) == 0
    # All that is held may come back, and still more is spent than there is.
    assert leased(state, "b", "0.1", at_least="0.05")[1].busy is False
    state = ledger.set_limit(state, limit("2"), NOW)
    assert leased(state, "b", "0.1")[1].granted_usd == Decimal("0.1")


# -- law 2: who releases a lease --------------------------------------------------------------------------


def test_only_the_last_settlement_releases_a_lease() -> None:
    state, _ = leased(limited(), "a", "0.5")
    state = settled(state, "a", "0.2", closed=False, unsettled_usd="0.1")
    assert money(state) == ("0", "0.5")
    state = settled(state, "a", "0.3", unsettled_usd="0.1")
    assert money(state) == ("0.3", "0")
    assert state.unsettled_usd == Decimal("0.1")


def test_a_run_that_is_gone_is_charged_its_lease_in_full() -> None:
    state, _ = leased(limited(), "a", "0.5")
    state = settled(state, "a", "0.2", closed=False, unsettled_usd="0.05")
    state = ledger.charge_gone(state, ["a", "nobody"])
    assert money(state) == ("0.5", "0")
    assert state.unsettled_usd == Decimal("0.35")  # what it never reported, and what it was unsure of
    assert settled(state, "a", "0.2") == state  # what it tells now is old news


def test_who_is_asked_about() -> None:
    state, _ = leased(limited(), "a", "0.1")
    state, _ = leased(state, "b", "0.1", now=NOW + timedelta(seconds=20))
    assert ledger.stale(state, NOW + timedelta(seconds=29)) == []
    assert ledger.stale(state, NOW + timedelta(seconds=30)) == ["a"]
    assert ledger.stale(state, NOW + timedelta(seconds=50)) == ["a", "b"]


def test_an_id_that_is_used_again_is_another_run() -> None:
    state, _ = leased(limited(), "a", "0.3", execution="x1")
    state, _ = leased(state, "a", "0.3", execution="x2")
    assert set(state.leases) == {"a/x1", "a/x2"}
    state = settled(state, "a", "0.1", execution="x1")
    assert money(state) == ("0.1", "0.3")
    assert settled(state, "a", "0.1", execution="x1") == state
    assert money(ledger.charge_gone(state, ["a/x2"])) == ("0.4", "0")


# -- law 3: once --------------------------------------------------------------------------------------------


def test_a_request_asked_twice_is_granted_once() -> None:
    state, first = leased(limited(), "a", "0.5", key="k1")
    again, same = leased(state, "a", "0.5", key="k1")
    assert (again, same.granted_usd) == (state, first.granted_usd)
    more, _ = leased(state, "a", "0.2", key="k2")
    assert more.leases["a"].usd == Decimal("0.7")
    assert leased(more, "a", "0.5", key="k1")[0] == more
    assert leased(more, "a", "0.1")[0].leases["a"].usd == Decimal("0.8")  # without a key, each is another


def test_a_request_that_was_refused_may_be_asked_again() -> None:
    full, _ = leased(limited(), "b", "1")
    state, refused = leased(full, "a", "0.5", key="k1")
    assert (state, refused.granted_usd) == (full, ZERO)
    state = settled(state, "b", "0")
    assert leased(state, "a", "0.5", key="k1")[1].granted_usd == Decimal("0.5")


def test_a_request_that_its_run_has_gone_on_from_takes_nothing_back() -> None:
    state, _ = leased(limited(), "a", "0.05", key="k1", number=1)
    state, _ = leased(state, "b", "0.6")
    dear: dict[str, Any] = {"usd": "0.8", "enough": "0.8", "at_least": "0.8", "spent_usd": "0.05"}
    state, reply = leased(state, "a", **dear, key="k2", number=2)
    assert reply.busy is True  # and then nobody waits for it any more
    cheaper: dict[str, Any] = {"usd": "0.3", "enough": "0.3", "at_least": "0.1", "spent_usd": "0.05"}
    state, reply = leased(state, "a", **cheaper, key="k3", number=3)
    assert reply.granted_usd == Decimal("0.3")
    after, reply = leased(state, "a", **dear, key="k2", number=2)
    assert (after, reply.held_usd) == (state, Decimal("0.35"))
    # Also one that was refused, where its run went on with what it had.
    state, reply = leased(state, "a", "9", enough="9", at_least="9", spent_usd="0.05", key="k4", number=4)
    assert (reply.granted_usd, reply.busy) == (ZERO, False)
    poorer = ledger.set_limit(state, limit("9.3"), NOW)  # now it could come back
    after, reply = leased(poorer, "a", "9", enough="9", at_least="9", spent_usd="0.05", key="k4", number=4)
    assert (after, reply.held_usd) == (poorer, Decimal("0.35"))


@pytest.mark.parametrize("how", ["settled", "gone"])
def test_a_request_of_a_run_that_has_ended_is_late(how: str) -> None:
    state, _ = leased(limited(), "a", "0.3", execution="x1")
    state = settled(state, "a", "0.2", execution="x1") if how == "settled" else ledger.charge_gone(state, ["a/x1"])
    again = LeaseRequest(run="a", execution="x1", usd=Decimal("0.1"), limit_usd=Decimal(1), window="day")
    assert "run a has ended" in (leasing.refusal(state, again) or "")
    after, reply = leasing.lease(state, again, NOW)
    assert (after, reply.granted_usd) == (state, ZERO)
    assert leased(state, "a", "0.1", execution="x2")[1].granted_usd == Decimal("0.1")  # the id used again
    others = [f"x{number}" for number in range(10, 600)]
    for other in others:
        state = settled(leased(state, "a", "0.1", execution=other)[0], "a", "0", execution=other)
    assert len(state.closed) == state.settings.kept_closed == 500  # it is carried for ever


def test_a_settlement_told_twice_or_out_of_order_counts_once() -> None:
    state, _ = leased(limited(), "a", "0.5")
    state = settled(state, "a", "0.3", closed=False)
    state = settled(state, "a", "0.1", closed=False)  # an earlier one that comes late
    assert state.leases["a"].spent_usd == Decimal("0.3")
    state = settled(state, "a", "0.1")
    assert money(state) == ("0.3", "0")
    assert settled(state, "a", "0.1") == settled(state, "a", "0.4", closed=False) == state


# -- law 5: the truth outranks the plan ---------------------------------------------------------------------


def test_more_than_a_lease_spent_is_more_than_a_lease_charged() -> None:
    state, _ = leased(limited(), "a", "0.5")
    state = settled(state, "a", "0.8", closed=False)
    assert money(state) == ("0", "0.8")
    assert money(ledger.charge_gone(state, ["a"])) == ("0.8", "0")
    assert money(settled(state, "a", "1.2")) == ("1.2", "0")
    assert ledger.remaining(settled(state, "a", "1.2")) == 0


# -- limits, and what is seen -------------------------------------------------------------------------------


def test_an_operator_outranks_what_agents_declare() -> None:
    declared: dict[str, Any] = {"limit_usd": "5", "window": "month"}
    state, reply = leased(EMPTY, "a", "4", **declared)
    assert (reply.granted_usd, state.limit, state.limit_by) == (Decimal(4), limit("5", "month"), "agent")
    state, _ = leased(state, "b", "1", limit_usd="6", window="month")  # another release of the agent
    assert state.limit == limit("6", "month")
    state = ledger.set_limit(state, limit("4.5"), NOW)
    state, reply = leased(state, "c", "1", **declared)
    assert (reply.granted_usd, state.limit, state.limit_by) == (ZERO, limit("4.5"), "operator")


def test_status() -> None:
    state, _ = leased(limited(), "a", "0.5")
    state = settled(state, "a", "0.1", closed=False)
    for usd in ("0.1", "0.3", "0.2"):
        state = ledger.observe(state, Observation(run="r", usd=Decimal(usd), outcome="completed"))
    seen = ledger.status(state, NOW)
    assert (seen.limit_usd, seen.leased_usd, seen.remaining_usd) == (Decimal(1), Decimal("0.5"), Decimal("0.5"))
    assert (seen.leases, seen.runs, seen.median_usd) == (1, 3, Decimal("0.2"))
    assert seen.window_ends == at("2027-05-18")
    unlimited = ledger.status(EMPTY, NOW)
    assert (unlimited.limit_usd, unlimited.remaining_usd, unlimited.window_ends) == (None, None, None)


def test_the_costs_of_recent_runs_are_kept() -> None:
    state = EMPTY
    for number in range(250):
        state = ledger.observe(state, Observation(run="r", usd=Decimal(number), outcome="completed"))
    assert (len(state.costs), state.costs[0], state.runs) == (200, Decimal(50), 250)


# -- what people are told -----------------------------------------------------------------------------------


def told(state: LedgerState) -> tuple[LedgerState, list[str]]:
    after, shares = spending.news(state)
    return after, [f"{share:f}" for share in shares]


def test_each_share_is_told_once_in_a_window_and_money_that_is_only_held_is_not_spent() -> None:
    state, _ = leased(limited(), "a", "0.95")
    assert told(state) == (state, [])
    state = settled(state, "a", "0.8", closed=False)
    state, said = told(state)
    assert said == ["0.8"]
    state = settled(state, "a", "0.95")
    assert told(state) == (state, [])
    tomorrow = ledger.roll(state, NOW + timedelta(days=1))
    assert told(tomorrow) == (tomorrow, [])
    state, _ = leased(tomorrow, "b", "1", now=NOW + timedelta(days=1))
    assert told(settled(state, "b", "1", now=NOW + timedelta(days=1)))[1] == ["0.8", "1"]


def test_an_account_that_refuses_for_good_is_all_spent_and_one_that_is_busy_is_not() -> None:
    state, _ = leased(limited(), "a", "0.7")
    state = settled(state, "a", "0.7")
    state, _ = leased(state, "b", "0.2")
    state, busy = leased(state, "c", "0.3", at_least="0.2")
    assert (busy.busy, told(state)[1]) == (True, [])
    state, refused = leased(state, "d", "0.5", at_least="0.5")
    assert (refused.busy, told(state)[1]) == (False, ["1"])
    state, _ = told(state)
    raised = ledger.set_limit(state, limit("2"), NOW)
    assert told(raised) == (raised, [])
    assert told(ledger.set_limit(told(raised)[0], limit("0.7"), NOW))[1] == ["0.8", "1"]


def test_an_account_of_nothing_is_somebody_s_wish_and_no_news() -> None:
    state, _ = leased(limited("0"), "a", "1")
    assert told(state) == (state, [])
    assert told(EMPTY) == (EMPTY, [])
