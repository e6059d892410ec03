"""When an account begins anew, and what it forgets then: law 4 of ``interlock.policies.ledger``."""

from __future__ import annotations

from datetime import timedelta, timezone
from decimal import Decimal

import pytest

from interlock.contracts import Window
from interlock.policies import ledger, windows
from tests.policies.test_ledger import NOW, at, leased, limit, limited, money, settled


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        ("day", "2027-05-17T12:30", "2027-05-17", "2027-05-18"),
        ("day", "2027-05-17T00:00", "2027-05-17", "2027-05-18"),
        ("day", "2027-12-31T23:59:59.999999", "2027-12-31", "2028-01-01"),
        ("day", "2028-02-28T05:00", "2028-02-28", "2028-02-29"),
        ("day", "2028-02-29T05:00", "2028-02-29", "2028-03-01"),
        ("month", "2027-05-17T12:30", "2027-05-01", "2027-06-01"),
        ("month", "2027-12-31T23:59", "2027-12-01", "2028-01-01"),
        ("month", "2028-01-31T23:59", "2028-01-01", "2028-02-01"),
        ("month", "2028-02-29T12:00", "2028-02-01", "2028-03-01"),
        ("month", "2027-02-28T12:00", "2027-02-01", "2027-03-01"),
        ("total", "2027-05-17T12:30", None, None),
    ],
)
def test_windows(window: Window, now: str, start: str | None, end: str | None) -> None:
    assert windows.window_start(window, at(now)) == (at(start) if start else None)
    assert windows.window_end(window, at(now)) == (at(end) if end else None)
    elsewhere = at(now).astimezone(timezone(timedelta(hours=-11)))
    assert windows.window_start(window, elsewhere) == (at(start) if start else None)


def test_a_new_window_forgets_what_is_settled_and_never_what_is_held() -> None:
    state, _ = leased(limited(), "a", "0.5")
    state, _ = leased(state, "b", "0.3")
    state = settled(state, "b", "0.2", unsettled_usd="0.1")
    tomorrow = NOW + timedelta(days=1)
    rolled = ledger.roll(state, tomorrow)
    assert money(rolled) == ("0", "0.5")
    assert rolled.unsettled_usd == 0
    assert money(settled(state, "a", "0.4", now=tomorrow)) == ("0.4", "0")  # counts where it is told
    assert leased(state, "c", "1", now=tomorrow)[1].granted_usd == Decimal("0.5")


def test_a_clock_that_goes_back_begins_no_window() -> None:
    state = limited(spent_usd=Decimal("0.5"))
    assert ledger.roll(state, NOW - timedelta(days=1)) == state
    assert ledger.roll(state, NOW) == state


@pytest.mark.parametrize("before", ["day", "month", "total"])
@pytest.mark.parametrize("after", ["day", "month", "total"])
def test_another_window_forgets_nothing(before: Window, after: Window) -> None:
    state = limited("1", before, spent_usd=Decimal("0.5"))
    moved = ledger.set_limit(state, limit("2", after), NOW)
    assert moved.spent_usd == Decimal("0.5")
    assert ledger.status(moved, NOW).window_ends == windows.window_end(after, NOW)
    later = ledger.roll(moved, NOW + timedelta(days=40))
    assert later.spent_usd == (Decimal("0.5") if after == "total" else 0)
