"""A lease of an account's money: how much of what is wanted is granted, and who waits for whom."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from interlock.contracts import AccountLimit, HeldLease, LeaseReply, LeaseRequest, LedgerState
from interlock.policies.ledger import ZERO, held, holding, lease_name, remaining, roll
from interlock.policies.windows import window_end


def lease(state: LedgerState, request: LeaseRequest, now: datetime) -> tuple[LedgerState, LeaseReply]:
    """Grant what is wanted, or as much as there is if that is of use, or nothing.

    A request that says what is ``enough`` can wait, and is treated so that as many runs as possible are finished
    rather than begun. No more than a quarter of what remains is granted beyond that: a few generous leases would
    keep everybody else waiting. A run that has not begun leaves as much to each that has. One that has to wait
    gives back what it holds unspent: two that wait for each other's money would wait for ever."""
    state = roll(_declared(state, request), now)
    name = lease_name(request.run, request.execution)
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
            state = holding(state, name, lease)
        return state, _reply(state, lease, ZERO, now, busy=True)
    if granted < least or granted == 0:
        after = _gone_on(state if may_come_back else state.model_copy(update={"refused": True}), name, lease, request)
        return after, _reply(state, lease, ZERO, now, busy=may_come_back)
    keys = {**lease.keys, **({request.key: granted} if request.key else {})}
    lease = lease.model_copy(update={"usd": lease.usd + granted, "keys": keys})
    state = _gone_on(holding(state, name, lease), name, lease, request)
    return state, _reply(state, lease, granted, now)


def _late(lease: HeldLease, request: LeaseRequest) -> bool:
    """Whether a request's run has gone on from that one or a later one, with what it held then."""
    return request.number is not None and request.number <= lease.answered


def _gone_on(state: LedgerState, name: str, lease: HeldLease, request: LeaseRequest) -> LedgerState:
    """The state in which a run has its answer, for good or ill, and counts on what it holds."""
    if name not in state.leases or request.number is None:
        return state
    return holding(state, name, lease.model_copy(update={"answered": max(lease.answered, request.number)}))


def refusal(state: LedgerState, request: LeaseRequest) -> str | None:
    """Why a request is not even judged, in words; ``None``: it is."""
    if state.limit is None and request.limit_usd is None:
        return f"it has no limit; set one: interlock budget set {state.account} --usd 5.00 --window day"
    if lease_name(request.run, request.execution) in state.closed:
        return f"run {request.run} has ended, and its lease is closed; interlock fork goes on from there in another run"
    return None


def _begun_beside(state: LedgerState, name: str) -> int:
    """How many other runs have had money and are not done."""
    return sum(lease.usd > 0 for key, lease in state.leases.items() if key != name)


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
    own = lease_name(request.run, request.execution)
    others = sum(
        (max(ZERO, lease.usd - lease.spent_usd) for name, lease in state.leases.items() if name != own),
        ZERO,
    )
    # Not from `remaining`, which is never below zero: under a limit that was lowered, less comes back than is held.
    then = state.limit.usd - state.spent_usd - held(state) + others
    return others > 0 and then >= max(usd, Decimal("0.000001"))


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
