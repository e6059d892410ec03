"""A run that is being killed: how its calls tell, and how the fleet is told of it."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from interlock.contracts import KillOrder, Note
from workflows.run_state import Run


def stopped(run: Run, error: ActivityError) -> bool:
    """Whether a call ended because the run is cancelled or killed; a kill that its gate knew of becomes the run's."""
    match error.cause:
        case ApplicationError(type="RunKilled", message=message, details=details):
            told = next((each for each in details if isinstance(each, dict) and "by" in each), {})
            reason, by = str(told.get("reason", message))[:2000], str(told.get("by", "unknown"))[:200]
            # The kill of a single run covers the calls that it had asked for by then, and not those beside this one.
            run.killed = run.killed or Note(reason=reason, by=by, fleet_knows=told.get("scope") != "run")
            return True
        case ApplicationError(type="CallStopped"):
            return True
        case _:
            return is_cancelled_exception(error)


async def tell_fleet(run: Run) -> None:
    """Tell the fleet's switch of a kill, so that the worker that holds a call drops it at once: a cancellation may
    have to wait for the call's next heartbeat. And so that people hear of a kill by Interlock itself."""
    note = run.killed
    if note is None or note.fleet_knows or not run.resolved or not run.spec.fleet:
        return
    if not run.calls_in_flight and note.by != "interlock":
        return
    order = KillOrder(scope="run", subject=workflow.info().workflow_id, reason=note.reason, by=note.by, run_knows=True)
    try:
        await workflow.get_external_workflow_handle(run.spec.fleet).signal("kill", order)
    except ApplicationError as error:
        workflow.logger.warning("the fleet was not told of the kill: %s", error)
