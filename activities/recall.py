"""``recall``: the last good answer to the same input, read from the history of the run that gave it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowExecution

from interlock import ports
from interlock.contracts import AgentResult, RecallCall, Recalled
from interlock.tombstones import UnreadablePayload

LOOKED_AT = 20


class RecallActivity(ports.Recall):
    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name="recall")
    async def recall(self, call: RecallCall) -> Recalled:
        since = (call.before - timedelta(seconds=call.max_age)).strftime("%Y-%m-%dT%H:%M:%SZ")
        where = [
            "WorkflowType = 'AgentRun'",
            "ExecutionStatus = 'Completed'",
            "AgentOutcome = 'completed'",
            f"AgentName = {_quoted(call.agent)}",
            f"AgentInputHash = {_quoted(call.input_hash)}",
            f"CloseTime >= '{since}'",
        ]
        if call.user_id is not None:
            where.append(f"AgentUser = {_quoted(call.user_id)}")
        found = [
            each
            async for each in self._client.list_workflows(" AND ".join(where), limit=LOOKED_AT)
            if each.close_time is not None and each.id != call.run
        ]
        for execution in sorted(found, key=lambda each: each.close_time or call.before, reverse=True):
            if (recalled := await self._answer(execution)) is not None:
                return recalled
        return Recalled()

    async def _answer(self, execution: WorkflowExecution) -> Recalled | None:
        handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id, result_type=AgentResult)
        try:
            result = await handle.result()
        except UnreadablePayload:  # written with a key that is gone
            return None
        if result.outcome != "completed":
            return None
        return Recalled(output=result.output, as_of=execution.close_time, run=execution.id)


def _quoted(value: str) -> str:
    """A string in a list filter."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
