"""Reading a run's event history from Temporal: decoded activity calls and results, for ``interlock.transcript``.

Payloads go through the client's data converter, so encrypted and externally stored ones are read as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import ActivitySerializationContext, DataConverter, WorkflowSerializationContext

from interlock.contracts import AgentSpec, AgentTask, Carried, ModelCall, ModelReply, Transcript
from interlock.transcript import Continued, Event, Replied, Resolved, fold

T = TypeVar("T")


@dataclass
class ActivityEvent:
    """An activity of a run, as far as its history tells. ``result`` is decoded when it is asked for."""

    id: str
    name: str
    summary: str
    scheduled: datetime
    input: Payloads
    attempt: int = 0
    closed: datetime | None = None
    result: Payloads | None = None
    failure: Failure | None = None
    cancelled: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    run: WorkflowSerializationContext | None = None

    async def call(self, converter: DataConverter, kind: type[T]) -> T:
        return await decode(self._bound(converter), self.input, kind)

    async def outcome(self, converter: DataConverter, kind: type[T]) -> T:
        if self.result is None:
            raise ValueError(f"activity {self.id} ({self.name}) has no result")
        return await decode(self._bound(converter), self.result, kind)

    def _bound(self, converter: DataConverter) -> DataConverter:
        """An encrypted payload belongs to its activity. Without a ``run`` it is read wherever it is found."""
        if self.run is None:
            return converter
        return converter.with_context(
            ActivitySerializationContext(
                namespace=self.run.namespace,
                workflow_id=self.run.workflow_id,
                workflow_type=None,
                activity_type=self.name,
                activity_id=self.id,
                activity_task_queue=None,
                is_local=False,
            )
        )


async def decode(converter: DataConverter, payloads: Payloads, kind: type[T]) -> T:
    value: T
    [value] = await converter.decode(payloads.payloads, [kind])
    return value


class Activities:
    """Follows the activities of one run through its events, in order."""

    def __init__(self, run: WorkflowSerializationContext | None = None) -> None:
        self._run = run
        self.by_event: dict[int, ActivityEvent] = {}

    async def read(self, event: HistoryEvent, converter: DataConverter) -> ActivityEvent | None:
        """The activity that ``event`` is about, brought up to date; ``None`` for any other event."""
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                return await self._scheduled(event, converter)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                started = event.activity_task_started_event_attributes
                found = self.by_event.get(started.scheduled_event_id)
                if found is not None:
                    found.attempt = started.attempt
                return found
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                completed = event.activity_task_completed_event_attributes
                return self._closed(event, completed.scheduled_event_id, result=completed.result)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                failed = event.activity_task_failed_event_attributes
                return self._closed(event, failed.scheduled_event_id, failure=failed.failure)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                timed_out = event.activity_task_timed_out_event_attributes
                return self._closed(event, timed_out.scheduled_event_id, failure=timed_out.failure)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
                cancelled = event.activity_task_canceled_event_attributes
                return self._closed(event, cancelled.scheduled_event_id, cancelled=True)
            case _:
                return None

    async def _scheduled(self, event: HistoryEvent, converter: DataConverter) -> ActivityEvent:
        attributes = event.activity_task_scheduled_event_attributes
        summary = ""
        if event.user_metadata.HasField("summary"):
            summary = await decode(converter, Payloads(payloads=[event.user_metadata.summary]), str)
        found = ActivityEvent(
            id=attributes.activity_id,
            name=attributes.activity_type.name,
            summary=summary,
            scheduled=event.event_time.ToDatetime(UTC),
            input=attributes.input,
            run=self._run,
        )
        self.by_event[event.event_id] = found
        return found

    def _closed(
        self,
        event: HistoryEvent,
        scheduled: int,
        *,
        result: Payloads | None = None,
        failure: Failure | None = None,
        cancelled: bool = False,
    ) -> ActivityEvent | None:
        found = self.by_event.get(scheduled)
        if found is not None:
            found.closed = event.event_time.ToDatetime(UTC)
            found.result, found.failure, found.cancelled = result, failure, cancelled
        return found


async def events_of(handle: WorkflowHandle[Any, Any], converter: DataConverter, namespace: str) -> AsyncIterator[Event]:
    """The events of one run that make up its conversation, oldest first. Raises ``UnreadablePayload``."""
    run = WorkflowSerializationContext(namespace=namespace, workflow_id=handle.id)
    converter = converter.with_context(run)
    activities = Activities(run)
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            given = await started_with(event, converter)
            if isinstance(given, Carried):
                yield Continued(given.transcript)
            continue
        found = await activities.read(event, converter)
        if found is None or found.result is None:
            continue
        if found.name == "resolve_agent":
            yield Resolved(await found.outcome(converter, AgentSpec))
        elif found.name == "model":
            yield Replied(await found.call(converter, ModelCall), await found.outcome(converter, ModelReply))


async def started_with(event: HistoryEvent, converter: DataConverter) -> AgentTask | Carried | None:
    """What a run was started with; ``None`` when it is neither a task nor a carried state."""
    payloads = event.workflow_execution_started_event_attributes.input
    if len(payloads.payloads) != 1:
        return None
    try:
        given: AgentTask | Carried = await decode(converter, payloads, Carried | AgentTask)  # type: ignore[arg-type]
    except (ValueError, KeyError, RuntimeError):  # what no converter reads: the run itself says so, as InvalidTask
        return None
    return given


async def transcript_of(client: Client, workflow_id: str, run_id: str | None = None) -> Transcript:
    """The conversation of a run, live or closed, from its history alone.

    Raises ``ValueError`` when the history holds none yet."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    return fold([event async for event in events_of(handle, client.data_converter, client.namespace)])
