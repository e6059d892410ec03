"""``recall``: the last good answer to the same input, read from the history of the run that gave it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowExecution

from interlock import ports
from interlock.contracts import AgentResult, RecallCall, Recalled
from interlock.search_attributes import AGENT_USER, of_user
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
            f"AgentName = '{call.agent}'",  # of letters, digits, _ and -, as its hash is
            f"AgentInputHash = '{call.input_hash}'",
            f"CloseTime >= '{since}'",
            *([] if call.user_id is None else of_user(call.user_id)),
        ]
        found = [
            each
            async for each in self._client.list_workflows(" AND ".join(where), limit=LOOKED_AT)
            if each.close_time is not None and each.id != call.run and _is_of(call.user_id, each)
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
        if result.outcome != "completed" or result.steered:  # then it answers more than the input
            return None
        return Recalled(output=result.output, as_of=execution.close_time, run=execution.id)


def _is_of(user: str | None, execution: WorkflowExecution) -> bool:
    """Whether it is this user's, where it has to be: the server's filter may let others' through."""
    return user is None or execution.typed_search_attributes.get(AGENT_USER) == user
