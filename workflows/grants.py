"""What a model call may use: from the run's own limits, and from the shared accounts it leases from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TimedOut

from interlock import options, ports
from interlock.contracts import (
    Account,
    Grant,
    LeaseCall,
    LeaseReply,
    LeaseRequest,
    Price,
    Purpose,
    SettleCall,
    Settlement,
)
from interlock.policies import budget, limit, money
from interlock.policies.budget import Kept, Refusal, Room
from interlock.policies.prices import most
from interlock.policies.windows import IN_WORDS
from interlock.telemetry import names
from workflows import seen
from workflows.run_state import Run


@dataclass(frozen=True)
class Ask:
    """A call that wants a grant."""

    purpose: Purpose
    price: Price
    input_tokens: int
    output: int
    kept: Kept


async def grant(run: Run, model: str, purpose: Purpose, *, tools: bool) -> Grant | Refusal:
    """The largest grant for a call of ``model``, with money leased for it where the run has shared accounts."""
    ask = _ask(run, model, purpose, tools=tools)
    own = _granted(run, ask, budget.rooms(run.limits, run.committed, ask.kept))
    if isinstance(own, Refusal) and run.messages == 0:
        # Nothing is known yet that a final answer could be made from: nothing is kept for one.
        ask = replace(ask, kept=budget.NOTHING)
        own = _granted(run, ask, budget.rooms(run.limits, run.committed, ask.kept))
    if isinstance(own, Refusal) or not run.leases:
        return own
    rooms = budget.rooms(run.limits, run.committed, ask.kept)
    for number in range(len(run.leases)):
        room = await _lease(run, number, ask, own)
        if isinstance(room, Refusal):
            return room
        rooms.append(room)
    return _granted(run, ask, rooms)


def to_give(run: Run) -> list[Room]:
    """What may be given to a run that this one starts: all that remains, but for a final answer. Of shared accounts
    that run leases for itself."""
    kept = _ask(run, _cheapest(run), "step", tools=True).kept
    return budget.rooms(run.limits, run.committed, kept)


def _ask(run: Run, model: str, purpose: Purpose, *, tools: bool) -> Ask:
    spec, known = run.spec, None
    if run.last_model == model and run.last_tokens and purpose != "classify":
        known = run.last_tokens
    delta_bytes = sum(budget.sent_bytes(spec.bounds, message) for message in run.delta)
    delta_bytes += spec.bounds.classify_bytes if purpose == "classify" else 0
    input_tokens = budget.input_bound(
        spec.bounds, run.bytes, delta_bytes, len(run.delta), known, tools=tools, open_windows=len(run.open_windows)
    )
    output = spec.bounds.classify_output if purpose == "classify" else spec.max_output_tokens
    kept = budget.NOTHING
    if purpose != "final" and "final_answer" in spec.ladder:
        kept = budget.keep(spec.bounds, spec.prices[_cheapest(run)], input_tokens, output)
    return Ask(purpose, spec.prices[model], input_tokens, output, kept)


def _cheapest(run: Run) -> str:
    """The model a final answer would be asked of where money is short."""
    return cheapest_first(run, run.spec.models.all())[0]


def cheapest_first(run: Run, models: Iterable[str]) -> list[str]:
    return sorted(models, key=lambda model: most(run.spec.prices[model], 1000, 1000))


def _granted(run: Run, ask: Ask, rooms: list[Room]) -> Grant | Refusal:
    return budget.grant(
        ask.price,
        ask.input_tokens,
        rooms,
        wanted_output=ask.output,
        wanted_attempts=run.spec.retry.attempts,
        least_output=run.spec.bounds.least_output,
    )


async def _lease(run: Run, number: int, ask: Ask, own: Grant) -> Room | Refusal:
    """What the call may use of a shared account, leased where the run does not hold it yet; or why it may not."""
    leased = run.leases[number]
    account = leased.account
    kept = budget.kept_of_account(ask.kept, account.usd)
    have, bounds = leased.usd - run.own.usd, run.spec.bounds
    needed = most(ask.price, ask.input_tokens, min(bounds.least_output, own.max_tokens)) + kept
    enough = most(ask.price, ask.input_tokens, min(bounds.good_output, own.max_tokens)) + kept
    final = ask.purpose == "final"  # it takes what there is, and waits for nobody
    if have < (needed if final else enough):
        wanted = max(own.usd + kept, enough, _tranche(run, account))
        request = LeaseRequest(
            run=workflow.info().workflow_id,
            execution=workflow.info().first_execution_run_id,
            usd=wanted,
            enough=Decimal(0) if final else enough,
            at_least=needed,
            spent_usd=run.own.usd,
            key=run.key(f"lease-{leased.requests}", account.name),
            number=leased.requests + 1,
            limit_usd=account.usd,
            window=account.window,
        )
        run.leases[number] = leased = leased.model_copy(update={"requests": leased.requests + 1})
        reply = await _request(run, account, request)
        # Without an answer nobody knows whether what the run held was given back: it counts on nothing.
        held = reply.held_usd if isinstance(reply, LeaseReply) else run.own.usd
        run.leases[number] = leased = leased.model_copy(update={"usd": held})
        have = leased.usd - run.own.usd
        if have < needed:
            until = reply.window_ends if isinstance(reply, LeaseReply) else workflow.now() + options.LEASE_AGAIN
            return Refusal(account.name, _refused(account, reply), "account", until)
    return Room(f"account {account.name}", usd=have - kept, limit="account")


def _tranche(run: Run, account: Account) -> Decimal:
    """What a run takes at a time, so that it need not ask for each call: never more than it may spend itself."""
    tranche: Decimal = account.usd / 20
    return tranche if run.limits.usd is None else min(tranche, max(Decimal(0), run.limits.usd - run.usage.usd))


async def _request(run: Run, account: Account, request: LeaseRequest) -> LeaseReply | str:
    """The account's answer; or why there is none, in words."""
    call = LeaseCall(account=account.name, request=request, limit_usd=account.usd, window=account.window)
    left = limit.seconds_left(run.limits, run.spent, limit.seconds_held_back(run.limits, begun=run.messages > 0))
    run.go_on()
    try:
        return await workflow.execute_activity_method(
            ports.Ledgers.lease, call, **options.lease(run.task, account.name, left=left)
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        seen.warn(names.LEASE_FAILED, account=account.name, error=str(error.cause))
        return _unanswered(account, error)


def _unanswered(account: Account, error: ActivityError) -> str:
    last = error.cause.cause if isinstance(error.cause, TimedOut) else error.cause
    match last:
        case ApplicationError(type="BudgetExceeded", message=message):
            return message  # the ledger's own words, which name the account
        case ApplicationError(type="AccountBusy"):
            return f"account {account.name}: its money is held by other runs"
        case _:
            return f"account {account.name}: its ledger did not answer"


def _refused(account: Account, reply: LeaseReply | str) -> str:
    if isinstance(reply, str):
        return reply
    # An operator's limit outranks the one the agent declares.
    in_force = account.usd if reply.limit_usd is None else reply.limit_usd
    window = IN_WORDS[reply.window or account.window]
    said = f"account {account.name}: its {money.dollars(in_force)} for {window} is spent"
    return said if reply.window_ends is None else f"{said}; the window ends {reply.window_ends:%Y-%m-%d %H:%M} UTC"


async def settle(run: Run) -> None:
    """Tell each shared account what the run has spent; it will spend no more. What cannot be told is charged in
    full, when the ledger finds the run gone."""
    for leased in run.leases:
        if leased.requests == 0:
            continue
        settlement = Settlement(
            run=workflow.info().workflow_id,
            execution=workflow.info().first_execution_run_id,
            spent_usd=run.own.usd,
            unsettled_usd=run.own.usd_unsettled,
            closed=True,
        )
        try:
            await workflow.execute_activity_method(
                ports.Ledgers.settle,
                SettleCall(account=leased.account.name, settlement=settlement),
                **options.settle(run.task, leased.account.name),
            )
        except ActivityError as error:
            seen.warn(names.SETTLE_FAILED, account=leased.account.name, error=str(error.cause))
