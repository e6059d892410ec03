"""Shared accounts on the screen: one in detail, many in a list."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock import present
from interlock.cli import screen
from interlock.cli.tables import fitted
from interlock.contracts import LedgerStatus
from interlock.policies.money import dollars

PER = {"day": "a day", "month": "a month", "total": "in all"}


def show(to: Console, said: LedgerStatus) -> None:
    """One account: its limit, and where the money is."""
    bound = f" ({present.dollars(said.unsettled_usd)} of it at its bound)" if said.unsettled_usd else ""
    seen = f"{said.runs:,} seen" if said.runs else ""
    if said.median_usd is not None:
        seen += f", median cost {present.dollars(said.median_usd)}"
    screen.fields(
        to,
        [
            ("account", Text(present.one_line(said.account), "bold")),
            ("limit", _limit(said)),
            ("window ends", f"{said.window_ends:%Y-%m-%d %H:%M} UTC" if said.window_ends else ""),
            ("spent", f"{present.dollars(said.spent_usd)}{bound}"),
            ("leased", f"{present.dollars(said.leased_usd)} by {present.several(said.leases, 'run')}"),
            ("remaining", Text(*_remaining(said))),
            ("runs", seen),
        ],
    )


def table(found: Sequence[LedgerStatus], to: Console) -> Table:
    """A line for each account, cut to the width there is."""
    columns: dict[str, list[Text]] = {
        "ACCOUNT": [Text(present.one_line(each.account), "bold") for each in found],
        "LIMIT": [Text("-" if each.limit_usd is None else _limit(each)) for each in found],
        "SPENT": [Text(present.dollars(each.spent_usd)) for each in found],
        "LEASED": [Text(present.dollars(each.leased_usd)) for each in found],
        "RUNS": [Text(str(each.leases)) for each in found],
        "REMAINING": [Text(*_remaining(each)) for each in found],
        "ENDS": [Text(f"{each.window_ends:%Y-%m-%d}" if each.window_ends else "-") for each in found],
    }
    return fitted(columns, to.width, right=list(columns)[1:-1], dispensable=("ENDS", "RUNS", "LEASED"))


def _limit(said: LedgerStatus) -> str:
    if said.limit_usd is None or said.window is None:
        return "none is set; runs only tell here what they cost"
    return f"{dollars(said.limit_usd)} {PER[said.window]}"


def _remaining(said: LedgerStatus) -> tuple[str, str]:
    """What can still be leased, and its colour."""
    if said.remaining_usd is None:
        return "-", ""
    return present.dollars(said.remaining_usd), "" if said.remaining_usd else "red"
