"""Shared accounts: what a ``BudgetLedger`` is asked, what it answers, and the state it carries for ever."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from interlock.contracts.base import Amount, Asked, Count, Money, Outcome, Seconds, Window, Wire

RunName = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
"""As long as the server lets an id be: what is refused here is refused in a workflow, whose task it fails for good."""


class LeaseRequest(Asked):
    """Payload of ``lease``. ``usd`` is what is wanted, ``enough`` what would do well, ``at_least`` what would still
    be of use. A request that says what is enough is told to come again while others hold the money and may bring it
    back. With ``spent_usd``, what its run has spent so far, the amounts are what the run wants to hold beyond that;
    and when it has to wait, it gives back what it holds, so that nobody waits for money while holding some.

    ``key`` names the request for good: asked twice, it is granted once. ``number`` counts a run's requests from 1: one
    that comes after a later one was answered changes nothing, for its run has gone on. ``limit_usd`` and ``window`` are
    what the run's agent declares for the account; what an operator has set takes precedence."""

    run: RunName
    usd: Amount
    enough: Amount = Decimal(0)
    at_least: Amount = Decimal(0)
    spent_usd: Amount | None = None
    key: str = ""
    number: Count | None = None
    execution: str = ""
    limit_usd: Money | None = None
    window: Window | None = None


class LeaseReply(Wire):
    """Answer of ``lease``. ``held_usd``: all that the run was ever granted and did not give back. Nothing granted and
    ``busy``: others hold the money and may bring it back."""

    granted_usd: Decimal
    remaining_usd: Decimal
    held_usd: Decimal = Decimal(0)
    busy: bool = False
    limit_usd: Decimal | None = None
    window: Window | None = None
    window_ends: AwareDatetime | None = None


class Settlement(Asked):
    """Payload of ``settle``: what a run has spent so far, in all. ``closed``: it will spend no more."""

    run: RunName
    spent_usd: Amount
    unsettled_usd: Amount = Decimal(0)
    closed: bool = False
    execution: str = ""


class SettleReply(Wire):
    spent_usd: Decimal
    remaining_usd: Decimal


class Observation(Asked):
    """Payload of ``observe``: what a run cost."""

    run: RunName
    usd: Amount
    outcome: Outcome


class AccountLimit(Asked):
    """Payload of ``set_limit``."""

    usd: Money
    window: Window


class HeldLease(Wire):
    """Money that a run holds, and how much of it is reported spent. ``answered``: the last of its requests that it goes
    on from; what arrives of that one or an earlier one is late."""

    run: str
    execution: str = ""
    usd: Decimal
    spent_usd: Decimal = Decimal(0)
    unsettled_usd: Decimal = Decimal(0)
    since: AwareDatetime
    keys: dict[str, Decimal] = Field(default_factory=dict)
    answered: int = 0


class LedgerSettings(Wire):
    """How a ledger judges. Part of its state, so that another release does not judge its history otherwise.

    audit_after     seconds after which it asks whether a run that holds a lease is still there, and how often
    kept_costs      costs of recent runs that statistics are made from
    least_runs      runs before their costs say anything
    deviations      median absolute deviations, made comparable to standard ones, that make a run an outlier
    floor_usd       and at least so many dollars above the median: runs that all cost the same have no deviation
    alert_at        shares of the limit that people are told of when they are spent, each once in a window
    kept_closed     runs whose leases were closed last, which it remembers: a request of theirs is late
    alerts_at_once  alerts being raised side by side: a webhook that hangs holds each for a while"""

    audit_after: Seconds = 30.0
    kept_costs: int = 200
    least_runs: int = 10
    deviations: int = 6
    floor_usd: Decimal = Decimal("0.01")
    alert_at: tuple[Decimal, ...] = (Decimal("0.8"), Decimal(1))
    kept_closed: int = 500
    alerts_at_once: int = 20


class LedgerState(Wire):
    """A ledger's whole state: what its start, and each continue-as-new, is given. ``told_at``: the shares of the limit
    that people were told of in this window; ``refused``: a run was refused money in it that will not come back;
    ``closed``: the executions whose leases were closed last."""

    account: str
    settings: LedgerSettings = LedgerSettings()
    limit: AccountLimit | None = None
    limit_by: Literal["agent", "operator"] = "agent"
    window_start: AwareDatetime | None = None
    spent_usd: Decimal = Decimal(0)
    unsettled_usd: Decimal = Decimal(0)
    leases: dict[str, HeldLease] = Field(default_factory=dict)
    costs: tuple[Decimal, ...] = ()
    runs: int = 0
    alerted: int = 0  # no longer used; what crosses a wire only grows
    told_at: tuple[Decimal, ...] = ()
    refused: bool = False
    closed: tuple[str, ...] = ()
    ignored_signals: int = 0


class LedgerStatus(Wire):
    """Answer of a ledger's ``status`` query. ``remaining_usd`` is what can still be leased."""

    account: str
    limit_usd: Decimal | None
    window: Window | None
    window_ends: AwareDatetime | None
    spent_usd: Decimal
    unsettled_usd: Decimal
    leased_usd: Decimal
    remaining_usd: Decimal | None
    leases: int
    runs: int
    median_usd: Decimal | None = None
    ignored_signals: int = 0
