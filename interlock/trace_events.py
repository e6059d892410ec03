"""A run's events, as facts of its trace: what happened to the run itself, what it waited for, what people said to it.

Its calls and the runs that it started are read by ``interlock.trace_calls``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from interlock import search_attributes as sa
from interlock.contracts import AgentResult, AgentTask, Carried, Usage, parse
from interlock.history import decode, started_with
from interlock.spans.facts import CURRENT, Began, Closed, Ended, Fact, Said, Started, Waits
from interlock.trace_calls import Calls, Children, cut, explain, why

WAITS = {
    "paused": "paused",
    "waiting_approval": "waiting for approval",
    "waiting_breaker": "waiting for a breaker to close",
}
SAID = {
    "kill": "kill asked",
    "pause": "pause asked",
    "resume": "resumed",
    "steer": "steered",
    "extend": "extended",
    "decide": "decided",
}


@dataclass
class Reader:
    """Turns events into facts. ``started``: the runs that the run started, by the id with which each began."""

    converter: DataConverter
    facts: list[Fact] = field(default_factory=list)
    started: dict[str, tuple[str, str]] = field(default_factory=dict)
    under_way: bool = True
    _execution: int = 0
    _usd: Decimal = Decimal(0)
    _timers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._next_execution()

    def _next_execution(self) -> None:
        self._execution += 1
        self._timers = set()
        self.calls = Calls(self.converter, self._execution)
        self._children = Children(self.converter, self._execution, self.started)

    async def read(self, event: HistoryEvent) -> None:
        at = event.event_time.ToDatetime(UTC)
        for read in (self._run, self._wait):
            fact = await read(event, at)
            if fact is not None:
                self.facts.append(fact)
                return
        for call in (await self.calls.read(event), await self._children.read(event)):
            if call is not None:
                self.facts.append(call)

    # -- the run --------------------------------------------------------------------------------------

    async def _run(self, event: HistoryEvent, at: datetime) -> Fact | None:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                return await self._started(event, at)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                signal = event.workflow_execution_signaled_event_attributes
                return await self._said(signal.signal_name, signal.input, at)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                update = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
                return await self._said(update.name, update.args, at)
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failure = event.workflow_task_failed_event_attributes.failure
                return Said(at, f"the workflow's code failed: {await why(self.converter, failure)}", broken=True)
        closed = await self._closed(event, at)
        self.under_way = self.under_way and closed is None
        return closed

    async def _started(self, event: HistoryEvent, at: datetime) -> Started:
        self._next_execution()
        match await started_with(event, self.converter):
            case AgentTask(agent=agent):
                return Started(at, agent)
            case Carried(task=task, progress=progress):
                return Started(at, task.agent, sum(progress.by_model.values(), Usage()))
            case _:
                return Started(at, "unknown")

    async def _said(self, name: str, payloads: Payloads, at: datetime) -> Said:
        """A signal or an update. Anybody may have sent anything: what cannot be read is shown by its name."""
        try:
            said: Any = await decode(self.converter, payloads, dict)
        except Exception:  # noqa: BLE001  # whatever a converter raises at what a stranger sent
            said = {}
        told = said if isinstance(said, Mapping) else {}
        limits = told.get("limits")
        raised = ", ".join(f"{k} {v}" for k, v in limits.items() if v is not None) if isinstance(limits, dict) else ""
        reason = told.get("message") or told.get("reason") or raised
        by = f" by {told['by']}" if told.get("by") else ""
        return Said(at, cut(f"{SAID.get(name, name)}{by}{f': {reason}' if reason else ''}"))

    async def _closed(self, event: HistoryEvent, at: datetime) -> Closed | None:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                payloads = event.workflow_execution_completed_event_attributes.result
                result = await decode(self.converter, payloads, AgentResult)
                said = f"{result.outcome}: {result.reason}" if result.reason else ""
                return Closed(at, "done", cut(said), result.usage)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
                failure = event.workflow_execution_failed_event_attributes.failure
                error = await self.converter.decode_failure(failure)
                return Closed(at, "failed", explain(error), _charged(error))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
                # It has no result; what it was charged is what it told the index last.
                return Closed(at, "cancelled", "cancelled", Usage(usd=self._usd) if self._usd else None)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
                reason = event.workflow_execution_terminated_event_attributes.reason
                return Closed(at, "failed", cut(f"terminated: {reason}" if reason else "terminated"))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
                return Closed(at, "failed", "timed out")
            case _:
                return None

    # -- waits ----------------------------------------------------------------------------------------

    async def _wait(self, event: HistoryEvent, at: datetime) -> Fact | None:
        match event.event_type:
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                attributes = event.upsert_workflow_search_attributes_event_attributes
                return self._indexed(attributes.search_attributes.indexed_fields, at)
            case EventType.EVENT_TYPE_TIMER_STARTED if event.user_metadata.HasField("summary"):
                # One with a summary is a wait that people are told of; one without is the workflow's own.
                summary = await decode(self.converter, Payloads(payloads=[event.user_metadata.summary]), str)
                timer = event.timer_started_event_attributes.timer_id
                self._timers.add(timer)
                return Began(self._timer_id(timer), at, cut(summary), "wait", CURRENT)
            case EventType.EVENT_TYPE_TIMER_FIRED:
                return self._timer_over(event.timer_fired_event_attributes.timer_id, at)
            case EventType.EVENT_TYPE_TIMER_CANCELED:
                return self._timer_over(event.timer_canceled_event_attributes.timer_id, at)
            case _:
                return None

    def _indexed(self, fields: Mapping[str, Payload], at: datetime) -> Waits | None:
        if sa.AGENT_COST_USD.name in fields:
            self._usd = Decimal(str(_plain(fields[sa.AGENT_COST_USD.name])))
        if sa.AGENT_STATE.name not in fields:
            return None
        state = str(_plain(fields[sa.AGENT_STATE.name]))
        return Waits(at, WAITS.get(state, ""), timed=state.startswith("waiting_"))

    def _timer_over(self, timer: str, at: datetime) -> Ended | None:
        return Ended(self._timer_id(timer), at) if timer in self._timers else None

    def _timer_id(self, timer: str) -> str:
        return f"timer-{self._execution}-{timer}"


def _charged(error: BaseException) -> Usage | None:
    """What a killed run says it was charged; ``None``: another failure, which says nothing of it."""
    match error:
        case ApplicationError(type="RunKilled", details=[result, *_]):
            return parse(AgentResult, result).usage
        case _:
            return None


def _plain(payload: Payload) -> Any:
    """A search attribute: always plain JSON, because the server reads it."""
    return json.loads(payload.data or b"null")
