"""What a model call may use: from the run's own limits, and from the shared accounts it leases from."""

from __future__ import annotations

from decimal import Decimal

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from interlock import options, ports
from interlock.contracts import (
    Grant,
    LeaseCall,
    Leased,
    LeaseReply,
    LeaseRequest,
    Purpose,
    SettleCall,
    Settlement,
    size,
)
from interlock.policies import budget
from interlock.policies.budget import Refusal, Room
from interlock.policies.prices import most
from workflows.run_state import Run

CLASSIFY_OUTPUT = 64


async def grant(run: Run, model: str, purpose: Purpose, *, tools: bool) -> Grant | Refusal:
    """The largest grant for a call of ``model``, with money leased for it where the run has shared accounts."""
    input_tokens = _input_bound(run, model, purpose, tools=tools)
    own = _granted(run, model, purpose, input_tokens, budget.rooms(run.limits, run.spent))
    if isinstance(own, Refusal) or not run.leases:
        return own
    held_back = _held_back(run, purpose, own)
    shared: list[Room] = []
    for number, leased in enumerate(run.leases):
        if purpose != "final":
            refusal = await _lease(run, number, model, own, held_back)
            if refusal is not None:
                return refusal
        shared.append(Room(f"the lease from {leased.account.name}", usd=run.leases[number].usd - run.usage.usd))
    return _granted(run, model, purpose, input_tokens, [*budget.rooms(run.limits, run.spent), *shared])


def _input_bound(run: Run, model: str, purpose: Purpose, *, tools: bool) -> int:
    known = run.last_tokens if run.last_model == model and run.last_tokens and purpose != "classify" else None
    return budget.input_bound(
        run.spec.bounds,
        run.bytes,
        sum(size(message) for message in run.delta),
        len(run.delta),
        known,
        tools=tools,
    )


def _granted(run: Run, model: str, purpose: Purpose, input_tokens: int, rooms: list[Room]) -> Grant | Refusal:
    spec = run.spec
    wanted = CLASSIFY_OUTPUT if purpose == "classify" else spec.max_output_tokens
    held_back = None
    if purpose != "final" and "final_answer" in spec.ladder:
        held_back = budget.hold_back(spec.bounds, run.limits, spec.prices[_cheapest(run)], input_tokens, wanted)

    def fits(kept: Room | None) -> Grant | Refusal:
        return budget.grant(
            spec.prices[model],
            input_tokens,
            rooms,
            wanted_output=wanted,
            wanted_attempts=spec.retry.attempts,
            least_output=spec.bounds.least_output,
            held_back=kept,
        )

    granted = fits(held_back)
    if isinstance(granted, Refusal) and run.messages == 0:
        return fits(None)  # nothing is known yet that a final answer could be made from
    return granted


def _held_back(run: Run, purpose: Purpose, granted: Grant) -> Decimal:
    if purpose == "final" or "final_answer" not in run.spec.ladder:
        return Decimal(0)
    cheapest = run.spec.prices[_cheapest(run)]
    kept = budget.hold_back(run.spec.bounds, run.limits, cheapest, granted.input_tokens, run.spec.bounds.final_output)
    return kept.usd or Decimal(0)


def _cheapest(run: Run) -> str:
    """The model a final answer would be asked of where money is short."""
    return min(run.spec.models.all(), key=lambda model: most(run.spec.prices[model], 1000, 1000))


async def _lease(run: Run, number: int, model: str, own: Grant, held_back: Decimal) -> Refusal | None:
    """Lease from an account what the call needs and the run does not yet hold; or why it cannot be had."""
    leased = run.leases[number]
    have = leased.usd - run.usage.usd
    price, least = run.spec.prices[model], min(run.spec.bounds.least_output, own.max_tokens)
    needed = most(price, own.input_tokens, least)
    enough = most(price, own.input_tokens, min(own.max_tokens, 4 * run.spec.bounds.final_output // 2)) + held_back
    if have >= enough:
        return None
    request = LeaseRequest(
        run=workflow.info().workflow_id,
        execution=workflow.info().first_execution_run_id,
        usd=own.usd + held_back - have,
        enough=enough - have,
        at_least=max(Decimal(0), needed - have),
        key=run.key(f"lease-{leased.account.name}-{leased.requests}"),
        limit_usd=leased.account.usd,
        window=leased.account.window,
    )
    try:
        reply = await _ask(run, leased, request)
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        if have >= needed:
            return None
        return Refusal(leased.account.name, f"account {leased.account.name}: its money is held by other runs")
    finally:
        run.leases[number] = leased.model_copy(update={"requests": leased.requests + 1})
    run.leases[number] = run.leases[number].model_copy(update={"usd": leased.usd + reply.granted_usd})
    if have + reply.granted_usd >= needed:
        return None
    return Refusal(leased.account.name, _spent(leased, reply))


async def _ask(run: Run, leased: Leased, request: LeaseRequest) -> LeaseReply:
    call = LeaseCall(
        account=leased.account.name, request=request, limit_usd=leased.account.usd, window=leased.account.window
    )
    left = budget.seconds_left(run.limits, run.spent, budget.seconds_held_back(run.limits, begun=run.messages > 0))
    return await workflow.execute_activity_method(
        ports.Ledgers.lease, call, **options.lease(leased.account.name, left=left)
    )


def _spent(leased: Leased, reply: LeaseReply) -> str:
    account = leased.account
    said = f"account {account.name}: its {budget.dollars(account.usd)} for {_WINDOWS[account.window]} is spent"
    return said if reply.window_ends is None else f"{said}; the window ends {reply.window_ends:%Y-%m-%d %H:%M} UTC"


_WINDOWS = {"day": "the day", "month": "the month", "total": "all time"}


async def settle(run: Run) -> None:
    """Tell each shared account what the run has spent; it will spend no more. What cannot be told is charged in
    full, when the ledger finds the run gone."""
    for leased in run.leases:
        if leased.requests == 0:
            continue
        settlement = Settlement(
            run=workflow.info().workflow_id,
            execution=workflow.info().first_execution_run_id,
            spent_usd=run.usage.usd,
            unsettled_usd=run.usage.usd_unsettled,
            closed=True,
        )
        try:
            await workflow.execute_activity_method(
                ports.Ledgers.settle,
                SettleCall(account=leased.account.name, settlement=settlement),
                **options.settle(leased.account.name),
            )
        except ActivityError as error:
            workflow.logger.warning("settlement with %s failed: %s", leased.account.name, error.cause)
