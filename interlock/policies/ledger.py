"""One shared account: leases, settlements, windows. Pure: (state, request, now) -> (state, answer).

Laws, for every account at every moment, whatever crashes:

1. ``spent + held <= limit`` after every grant: money that is leased counts as spent until it is settled, so
   concurrent runs cannot race each other.
2. A lease is released only by its run's own last settlement, or by the discovery that the run is gone; a run
   that is gone without a word is charged its lease in full.
3. A request asked twice is granted once; a settlement told twice counts once. A request that arrives after its run
   has gone on, or ended, changes nothing: what it would take back is being spent.
4. A window that begins anew forgets what is settled, never what is held: it may be spent in the new one.
5. More than a lease spent is more than a lease charged: the truth outranks the plan.

Beside it: ``leasing`` (what is granted), ``windows``, ``spending`` (what people are told of).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from interlock.contracts import AccountLimit, HeldLease, LedgerState, LedgerStatus, Observation, Settlement, SettleReply
from interlock.policies.spending import reached
from interlock.policies.windows import window_end, window_start

ZERO = Decimal(0)


def roll(state: LedgerState, now: datetime) -> LedgerState:
    """The state in the window that ``now`` is in."""
    if state.limit is None:
        return state
    start = window_start(state.limit.window, now)
    if start is None or (state.window_start is not None and start <= state.window_start):
        return state
    if state.window_start is None:
        return state.model_copy(update={"window_start": start})
    fresh: dict[str, object] = {"spent_usd": ZERO, "unsettled_usd": ZERO, "told_at": (), "refused": False}
    return state.model_copy(update={"window_start": start, **fresh})


def held(state: LedgerState) -> Decimal:
    """Money that counts as spent until it is settled. A run that reports more than it leased holds what it reports."""
    return sum((max(lease.usd, lease.spent_usd) for lease in state.leases.values()), ZERO)


def remaining(state: LedgerState) -> Decimal:
    """What can still be leased."""
    return ZERO if state.limit is None else max(ZERO, state.limit.usd - state.spent_usd - held(state))


def holding(state: LedgerState, name: str, lease: HeldLease) -> LedgerState:
    return state.model_copy(update={"leases": {**state.leases, name: lease}})


def settle(state: LedgerState, settlement: Settlement, now: datetime) -> tuple[LedgerState, SettleReply]:
    """Take a run's report. One from a run that holds no lease is old news: it was charged already."""
    state = roll(state, now)
    name = lease_name(settlement.run, settlement.execution)
    lease = state.leases.get(name)
    if lease is not None:
        spent = max(lease.spent_usd, settlement.spent_usd)
        unsettled = max(lease.unsettled_usd, settlement.unsettled_usd)
        if settlement.closed:
            state = _close(state, name, spent, unsettled)
        else:
            reported = lease.model_copy(update={"spent_usd": spent, "unsettled_usd": unsettled})
            state = holding(state, name, reported)
    return state, SettleReply(spent_usd=state.spent_usd, remaining_usd=remaining(state))


def charge_gone(state: LedgerState, names: Iterable[str]) -> LedgerState:
    """Charge the leases of runs that ended without settling: in full."""
    for name in names:
        lease = state.leases.get(name)
        if lease is not None:
            charged = max(lease.usd, lease.spent_usd)
            state = _close(state, name, charged, lease.unsettled_usd + max(ZERO, charged - lease.spent_usd))
    return state


def _close(state: LedgerState, name: str, spent: Decimal, unsettled: Decimal) -> LedgerState:
    # Executions alone: an id without one may well stand for the next run.
    ended = (name,) if state.leases[name].execution else ()
    return state.model_copy(
        update={
            "leases": {key: lease for key, lease in state.leases.items() if key != name},
            "spent_usd": state.spent_usd + spent,
            "unsettled_usd": state.unsettled_usd + unsettled,
            "closed": (*state.closed, *ended)[-state.settings.kept_closed :],
        }
    )


def set_limit(state: LedgerState, limit: AccountLimit, now: datetime) -> LedgerState:
    """An operator's limit; it outranks what agents declare. A lower one takes nothing back that is leased."""
    moved = state.limit is not None and state.limit.window != limit.window
    changed: dict[str, object] = {"limit": limit, "limit_by": "operator", "refused": False}
    state = roll(state.model_copy(update={**changed, **({"window_start": None} if moved else {})}), now)
    # Of another limit the same share is other news; what is still reached was told already.
    return state.model_copy(update={"told_at": tuple(share for share in state.told_at if share in reached(state))})


def observe(state: LedgerState, observation: Observation) -> LedgerState:
    """Keep what a run cost, for the statistics of its agent."""
    costs = (*state.costs, observation.usd)[-state.settings.kept_costs :]
    return state.model_copy(update={"costs": costs, "runs": state.runs + 1})


def stale(state: LedgerState, now: datetime) -> list[str]:
    """Leases that are old enough to ask whether their runs are still there."""
    age = timedelta(seconds=state.settings.audit_after)
    return [name for name, lease in state.leases.items() if now - lease.since >= age]


def status(state: LedgerState, now: datetime) -> LedgerStatus:
    state = roll(state, now)
    window = state.limit.window if state.limit else None
    return LedgerStatus(
        account=state.account,
        limit_usd=state.limit.usd if state.limit else None,
        window=window,
        window_ends=window_end(window, now) if window else None,
        spent_usd=state.spent_usd,
        unsettled_usd=state.unsettled_usd,
        leased_usd=held(state),
        remaining_usd=remaining(state) if state.limit else None,
        leases=len(state.leases),
        runs=state.runs,
        median_usd=median(state.costs) if state.costs else None,
        ignored_signals=state.ignored_signals,
    )


def lease_name(run: str, execution: str) -> str:
    """A run's name among the leases. An id may be used again after its run has ended; an execution's never is."""
    return f"{run}/{execution}" if execution else run
