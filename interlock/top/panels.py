"""What is shown beside and above the table, as text."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from interlock import present
from interlock.cli import tables
from interlock.cli.index import Found
from interlock.contracts import BreakerView, FleetStatus, Kill, LedgerStatus, RunStatus

CIRCUITS = {"closed": "green", "half_open": "yellow", "open": "red"}


def drawn(draw: Callable[[Console], None], width: int) -> Text:
    """What a command would write to a terminal of this width."""
    file = io.StringIO()
    draw(Console(file=file, width=width, force_terminal=True, color_system="standard", highlight=False, markup=False))
    return Text.from_ansi(file.getvalue())


def run(found: Found, said: RunStatus | None, note: str, width: int) -> Text:
    """The run under the cursor: what it says of itself, or what the index knows; and what there is to do about it."""
    text = drawn(lambda to: tables.status(to, said or found.status()), width)
    if said is not None and said.pending_approvals:
        text.append("\na approves, r rejects what waits first\n", "yellow")
    if note:
        text.append(f"\n{present.one_line(note)}\n", "dim")
    return text


def breakers(told: FleetStatus | str) -> Text:
    if isinstance(told, str):
        return Text(told, "dim")
    if not told.breakers:
        return Text("none has met a failure", "dim")
    text = Text()
    for name, breaker in sorted(told.breakers.items(), key=_by_trouble):
        text.append(f"{breaker.state.replace('_', ' '):<10}", CIRCUITS[breaker.state]).append(present.one_line(name))
        if breaker.state != "closed" and breaker.retry_at is not None:
            left = (breaker.retry_at - datetime.now(UTC)).total_seconds()
            text.append(f"  tries again in {present.seconds(left)}" if left > 0 else "  tries again now", "dim")
        if breaker.error and breaker.state != "closed":
            text.append(f"\n          {present.one_line(breaker.error)}", "dim")
        text.append("\n")
    return text


def _by_trouble(named: tuple[str, BreakerView]) -> tuple[int, str]:
    return ("open", "half_open", "closed").index(named[1].state), named[0]


def kills(told: FleetStatus | str) -> Text:
    if isinstance(told, str):
        return Text(told, "dim")
    if not told.kills:
        return Text("no kill is in force", "dim")
    text = Text()
    for kill in told.kills:
        text.append(_whom(kill), "red")
        text.append(f"  {present.age(datetime.now(UTC) - kill.at)} ago by {present.one_line(kill.by)}\n")
        if kill.reason:
            text.append(f"  {present.one_line(kill.reason)}\n", "dim")
        swept = f" · {present.several(kill.sweep.ended, 'run')} ended, {kill.sweep.left:,} left" if kill.sweep else ""
        text.append(f"  {present.several(kill.stopped, 'call')} stopped · {kill.refused:,} refused{swept}\n", "dim")
    return text


def _whom(kill: Kill) -> str:
    return "everything" if kill.scope == "all" else f"{kill.scope} {present.one_line(kill.subject)}"


def accounts(told: Sequence[LedgerStatus | str], width: int) -> Text:
    if not told:
        return Text("no account is open", "dim")
    text = Text()
    for account in told:
        if isinstance(account, str):
            text.append(f"{present.one_line(account)}\n", "dim")
            continue
        limit = account.limit_usd
        gone = account.spent_usd + account.leased_usd
        share = float(gone / limit) if limit else 0.0
        style = "red" if share >= 1 else "yellow" if share >= 0.8 else ""
        text.append(f"{present.one_line(account.account)}\n", "bold")
        of = f" of {present.dollars(limit)}" if limit is not None else ", no limit"
        text.append(f"  {present.dollars(account.spent_usd)} spent, {present.dollars(account.leased_usd)} leased{of}")
        text.append(f" a {account.window}\n" if account.window in ("day", "month") else "\n")
        if limit:
            text.append(f"  {_gauge(share, max(8, width - 10))} {share:4.0%}\n", style or "green")
    return text


def _gauge(share: float, width: int) -> str:
    full = min(width, round(share * width))
    return "█" * full + "░" * (width - full)
