"""The end of a run, whatever ends it: what is in flight is stopped, everything is settled, the result says how."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from interlock import options
from interlock.accounts import agent_account, ledger_id
from interlock.contracts import AgentResult, Note, Observation
from interlock.telemetry import names
from workflows import charging, for_parent, grants, seen
from workflows.killed import tell_fleet
from workflows.run_state import Run


async def with_result(run: Run, result: AgentResult) -> AgentResult:
    """An answer that is there is not lost to a cancellation that comes while it is being settled."""
    closing = asyncio.create_task(_close(run, result))
    try:
        return await asyncio.shield(closing)
    except asyncio.CancelledError:
        return await closing


async def cancelled(run: Run, work: asyncio.Task[Any]) -> None:
    """End a run that Temporal has cancelled."""
    await _stop(run, work)
    closed = await _close(run, lambda: run.result("cancelled", "", "notice", "cancelled"))
    await for_parent.tell_parent(run, closed)


async def killed(run: Run, work: asyncio.Task[Any], note: Note) -> ApplicationError:
    """End the run, whatever it waits for; a cancellation that comes as well, up the ladder, changes nothing."""
    why = f"{note.reason or 'killed'} (by {note.by})"

    async def end() -> AgentResult:
        telling = asyncio.create_task(tell_fleet(run))
        await _stop(run, work)
        await telling
        return await _close(run, lambda: run.result("killed", "", "notice", why))

    ending = asyncio.create_task(end())
    while True:
        try:
            result = await asyncio.shield(ending)
        except asyncio.CancelledError:
            if ending.cancelled():
                raise  # this worker gives the run up: another goes on with it
            continue  # also when it has just ended: a cancellation may come in the same moment
        return ApplicationError(f"killed: {result.reason}", result, type="RunKilled", non_retryable=True)


async def _stop(run: Run, work: asyncio.Task[Any]) -> None:
    """Cancel what is in flight and wait a little for it to say how it ended."""
    run.cancelled = run.killed is None
    work.cancel()
    with suppress(TimeoutError):
        await workflow.wait_condition(
            work.done, timeout=options.CANCEL_PATIENCE, timeout_summary="calls in flight say how they ended"
        )


async def _close(run: Run, result: AgentResult | Callable[[], AgentResult]) -> AgentResult:
    """Settle everything, and say how the run ended: after what is still in flight was charged."""
    charging.settle_abandoned(run)
    closed = result() if callable(result) else result
    run.clock.stop()
    run.enter("closed")
    await grants.settle(run)
    await _observe(run, closed)
    return closed


async def _observe(run: Run, result: AgentResult) -> None:
    """Tell the agent's ledger what the run cost. Without it statistics are poorer; nothing else is."""
    if not run.resolved:
        return
    ledger = workflow.get_external_workflow_handle(ledger_id(agent_account(run.spec.name)))
    observed = Observation(run=workflow.info().workflow_id, usd=result.usage.usd, outcome=result.outcome)
    try:
        await ledger.signal("observe", observed)
    except ApplicationError as error:
        seen.tell(names.OBSERVE_FAILED, error=str(error))
