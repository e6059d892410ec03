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
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median

from interlock.contracts import (
    AccountLimit,
    HeldLease,
    LeaseReply,
    LeaseRequest,
    LedgerState,
    LedgerStatus,
    Observation,
    Settlement,
    SettleReply,
    Window,
)

ZERO = Decimal(0)


def window_start(window: Window, now: datetime) -> datetime | None:
    """When the window that ``now`` is in began, UTC; ``None``: it never does."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match window:
        case "day":
            return day
        case "month":
            return day.replace(day=1)
        case "total":
            return None


def window_end(window: Window, now: datetime) -> datetime | None:
    start = window_start(window, now)
    match window:
        case "day":
            return start and start + timedelta(days=1)
        case "month":
            return start and (start + timedelta(days=32)).replace(day=1)
        case "total":
            return None


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


def lease(state: LedgerState, request: LeaseRequest, now: datetime) -> tuple[LedgerState, LeaseReply]:
    """Grant what is wanted, or as much as there is if that is of use, or nothing.

    A request that says what is ``enough`` can wait, and is treated so that as many runs as possible are finished
    rather than begun. No more than a quarter of what remains is granted beyond that: a few generous leases would
    keep everybody else waiting. A run that has not begun leaves as much to each that has. One that has to wait
    gives back what it holds unspent: two that wait for each other's money would wait for ever."""
    state = roll(_declared(state, request), now)
    name = _name(request.run, request.execution)
    lease = state.leases.get(name) or HeldLease(run=request.run, execution=request.execution, usd=ZERO, since=now)
    if request.key and request.key in lease.keys:
        return state, _reply(state, lease, lease.keys[request.key], now)
    if name in state.closed or _late(lease, request):
        return state, _reply(state, lease, ZERO, now)
    lease = lease.model_copy(update={"spent_usd": max(lease.spent_usd, request.spent_usd or ZERO)})
    unspent = ZERO if request.spent_usd is None else max(ZERO, lease.usd - lease.spent_usd)
    wanted, enough, least = (max(ZERO, usd - unspent) for usd in (request.usd, request.enough, request.at_least))
    if wanted == 0:
        return _gone_on(state, name, lease, request), _reply(state, lease, ZERO, now)  # it holds what it asks for
    left = remaining(state)
    kept = enough * _begun_beside(state, name) if request.enough and not lease.usd else ZERO
    available = max(ZERO, left - kept)
    granted = min(wanted, max(enough, available / 4) if request.enough else wanted, available)
    short = granted < max(min(enough, wanted), least) or granted == 0
    may_come_back = _may_come_back(state, request, least)
    if request.enough and short and ((kept > 0 and left >= least) or may_come_back):
        if unspent > 0:
            lease = lease.model_copy(update={"usd": lease.spent_usd})
            state = _with(state, name, lease)
        return state, _reply(state, lease, ZERO, now, busy=True)
    if granted < least or granted == 0:
        after = _gone_on(state if may_come_back else state.model_copy(update={"refused": True}), name, lease, request)
        return after, _reply(state, lease, ZERO, now, busy=may_come_back)
    keys = {**lease.keys, **({request.key: granted} if request.key else {})}
    lease = lease.model_copy(update={"usd": lease.usd + granted, "keys": keys})
    state = _gone_on(_with(state, name, lease), name, lease, request)
    return state, _reply(state, lease, granted, now)


def _late(lease: HeldLease, request: LeaseRequest) -> bool:
    """Whether a request's run has gone on from that one or a later one, with what it held then."""
    return request.number is not None and request.number <= lease.answered


def _gone_on(state: LedgerState, name: str, lease: HeldLease, request: LeaseRequest) -> LedgerState:
    """The state in which a run has its answer, for good or ill, and counts on what it holds."""
    if name not in state.leases or request.number is None:
        return state
    return _with(state, name, lease.model_copy(update={"answered": max(lease.answered, request.number)}))


def refusal(state: LedgerState, request: LeaseRequest) -> str | None:
    """Why a request is not even judged, in words; ``None``: it is."""
    if state.limit is None and request.limit_usd is None:
        return f"it has no limit; set one: interlock budget set {state.account} --usd 5.00 --window day"
    if _name(request.run, request.execution) in state.closed:
        return f"run {request.run} has ended, and its lease is closed; interlock fork goes on from there in another run"
    return None


def _begun_beside(state: LedgerState, name: str) -> int:
    """How many other runs have had money and are not done."""
    return sum(lease.usd > 0 for key, lease in state.leases.items() if key != name)


def _with(state: LedgerState, name: str, lease: HeldLease) -> LedgerState:
    return state.model_copy(update={"leases": {**state.leases, name: lease}})


def _declared(state: LedgerState, request: LeaseRequest) -> LedgerState:
    """The limit that governs a request: an operator's, else the one that the run's agent declares."""
    if state.limit_by == "operator" or request.limit_usd is None or request.window is None:
        return state
    declared = AccountLimit(usd=request.limit_usd, window=request.window)
    if declared == state.limit:
        return state
    moved = state.limit is not None and declared.window != state.limit.window
    return state.model_copy(update={"limit": declared, **({"window_start": None} if moved else {})})


def _may_come_back(state: LedgerState, request: LeaseRequest, usd: Decimal) -> bool:
    """Whether ``usd`` could be granted if the others gave back what they have not reported spent."""
    if state.limit is None:
        return False
    own = _name(request.run, request.execution)
    others = sum(
        (max(ZERO, lease.usd - lease.spent_usd) for name, lease in state.leases.items() if name != own),
        ZERO,
    )
    # Not from `remaining`, which is never below zero: under a limit that was lowered, less comes back than is held.
    then = state.limit.usd - state.spent_usd - held(state) + others
    return others > 0 and then >= max(usd, Decimal("0.000001"))


def settle(state: LedgerState, settlement: Settlement, now: datetime) -> tuple[LedgerState, SettleReply]:
    """Take a run's report. One from a run that holds no lease is old news: it was charged already."""
    state = roll(state, now)
    name = _name(settlement.run, settlement.execution)
    lease = state.leases.get(name)
    if lease is not None:
        spent = max(lease.spent_usd, settlement.spent_usd)
        unsettled = max(lease.unsettled_usd, settlement.unsettled_usd)
        if settlement.closed:
            state = _close(state, name, spent, unsettled)
        else:
            reported = lease.model_copy(update={"spent_usd": spent, "unsettled_usd": unsettled})
            state = _with(state, name, reported)
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
    return state.model_copy(update={"told_at": tuple(share for share in state.told_at if share in _reached(state))})


def observe(state: LedgerState, observation: Observation) -> LedgerState:
    """Keep what a run cost, for the statistics of its agent."""
    costs = (*state.costs, observation.usd)[-state.settings.kept_costs :]
    return state.model_copy(update={"costs": costs, "runs": state.runs + 1})


def stale(state: LedgerState, now: datetime) -> list[str]:
    """Leases that are old enough to ask whether their runs are still there."""
    age = timedelta(seconds=state.settings.audit_after)
    return [name for name, lease in state.leases.items() if now - lease.since >= age]


def used(state: LedgerState) -> Decimal:
    """What runs have spent: settled, or reported by those that are under way. Not what they hold beyond that: a
    lease is taken ahead of need and most of it comes back, so an alert on it would come too early, and often."""
    return state.spent_usd + sum((lease.spent_usd for lease in state.leases.values()), ZERO)


def _reached(state: LedgerState) -> tuple[Decimal, ...]:
    """The shares of the limit to tell people of that are spent. All of it counts as spent once a run is refused for
    good: a call that does not fit into the rest is not made, so the last cents never are."""
    if state.limit is None or state.limit.usd == 0:  # nothing to spend: somebody wanted it so
        return ()
    share = used(state) / state.limit.usd
    return tuple(at for at in sorted(state.settings.alert_at) if share >= at or (at == 1 and state.refused))


def news(state: LedgerState) -> tuple[LedgerState, tuple[Decimal, ...]]:
    """The shares of the limit that people have to be told of now; each once in a window."""
    fresh = tuple(at for at in _reached(state) if at not in state.told_at)
    return (state.model_copy(update={"told_at": (*state.told_at, *fresh)}) if fresh else state), fresh


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
    )


def _reply(state: LedgerState, lease: HeldLease, granted: Decimal, now: datetime, *, busy: bool = False) -> LeaseReply:
    return LeaseReply(
        granted_usd=granted,
        remaining_usd=remaining(state),
        held_usd=lease.usd,
        busy=busy,
        limit_usd=state.limit.usd if state.limit else None,
        window=state.limit.window if state.limit else None,
        window_ends=window_end(state.limit.window, now) if state.limit else None,
    )


def _name(run: str, execution: str) -> str:
    """A run's name among the leases. An id may be used again after its run has ended; an execution's never is."""
    return f"{run}/{execution}" if execution else run
