"""A run's whole history: the executions that continue-as-new made of it, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode


async def oldest_execution(client: Client, id: str) -> str:
    """The run id of a run's first execution, or of the first that the server still has."""
    oldest = (await client.get_workflow_handle(id).describe()).run_id
    while True:
        first = await _first_event(client, id, oldest)
        before = first.workflow_execution_started_event_attributes.continued_execution_run_id
        if not before or not await _is_kept(client, id, before):
            return oldest
        oldest = before


async def whole_history(client: Client, id: str, first: str | None = None) -> AsyncIterator[HistoryEvent]:
    """The events of every execution of a run so far. Each begins with its own ``WorkflowExecutionStarted``.

    first  the run id of the execution to begin with; without it, the oldest there is"""
    execution = first or await oldest_execution(client, id)
    while execution:
        handle, execution = client.get_workflow_handle(id, run_id=execution), ""
        async for event in handle.fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                execution = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
            yield event


async def _is_kept(client: Client, id: str, run_id: str) -> bool:
    """Whether the server still has an execution: each goes when its retention is over."""
    try:
        await client.get_workflow_handle(id, run_id=run_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def _first_event(client: Client, id: str, run_id: str) -> HistoryEvent:
    handle = client.get_workflow_handle(id, run_id=run_id)
    async for event in handle.fetch_history_events(page_size=1):
        return event
    raise ValueError(f"execution {run_id} has no events")
