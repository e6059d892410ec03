"""A run's history as people follow it: calls that begin and end, and what people did to the run meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from interlock.contracts import ModelCall, ModelReply, ToolResult, Usage
from interlock.errors import STOPPED
from interlock.history import Activities, ActivityEvent, decode
from interlock.ports import TOOL_PREFIX
from interlock.present import one_line

SAID = {"kill": "kill asked", "pause": "paused", "resume": "resumed", "steer": "steered", "extend": "extended"}


@dataclass
class Call:
    """One call of a run. ``attempt`` and ``problem`` of one that is under way are what was last heard of it."""

    id: str
    what: str
    began: datetime
    shown: bool = True
    state: Literal["running", "done", "failed", "cancelled"] = "running"
    attempt: int = 1
    seconds: float | None = None
    usage: Usage | None = None
    problem: str = ""


@dataclass(frozen=True)
class Remark:
    """What happened beside the calls, in one line. ``broken``: something is wrong."""

    text: str
    broken: bool = False


Line: TypeAlias = Call | Remark


@dataclass
class Story:
    """Reads a run's events in order. ``running``: the calls under way, oldest first."""

    converter: DataConverter
    running: dict[str, Call] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    paused: bool = False
    _activities: Activities = field(default_factory=Activities)

    async def read(self, event: HistoryEvent) -> Line | None:
        """What is new, if it is over: a call that has ended, or a remark."""
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                self._activities = Activities()  # a run that continues as new counts its events from 1 again
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                signal = event.workflow_execution_signaled_event_attributes
                return await self._said(signal.signal_name, signal.input)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                update = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
                return await self._said(update.name, update.args)
            case EventType.EVENT_TYPE_TIMER_STARTED if event.user_metadata.HasField("summary"):
                summary = Payloads(payloads=[event.user_metadata.summary])
                return Remark(one_line(await decode(self.converter, summary, str)))
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failure = event.workflow_task_failed_event_attributes.failure
                return Remark(f"the workflow's code failed: {await self._problem(failure)}", broken=True)
        activity = await self._activities.read(event, self.converter)
        if activity is None:
            return None
        if activity.closed is None:
            await self._begun(activity, event.event_time)
            return None
        return await self._ended(activity, event.event_time)

    async def _said(self, name: str, payloads: Payloads) -> Remark:
        """A signal or an update. Anybody may have sent anything: what cannot be read is shown by its name."""
        try:
            said: Any = await decode(self.converter, payloads, dict)
        except Exception:  # noqa: BLE001  # whatever a converter raises at what a stranger sent
            said = {}
        said = said if isinstance(said, Mapping) else {}
        self.paused = (self.paused or name == "pause") and name != "resume"
        by = f" by {said['by']}" if said.get("by") else ""
        limits = said.get("limits")
        raised = ", ".join(f"{k} {v}" for k, v in limits.items() if v is not None) if isinstance(limits, dict) else ""
        why = said.get("message") or said.get("reason") or raised
        what = SAID.get(name, name)
        if name == "decide":
            what = f"{'approved' if said.get('approve') is True else 'rejected'} {said.get('call_id', '')}"
        return Remark(one_line(f"{what}{by}{f': {why}' if why else ''}"))

    async def _begun(self, activity: ActivityEvent, at: Timestamp) -> None:
        if activity.id in self.running:
            return
        what, shown = activity.summary or activity.name, activity.name.startswith(TOOL_PREFIX)
        if activity.name == "model":
            call = await activity.call(self.converter, ModelCall)
            purpose = {"step": f"step {call.step}", "final": "final answer"}.get(call.purpose, call.purpose)
            what, shown = f"{call.model.partition(':')[2] or call.model} · {purpose}", True
        self.running[activity.id] = Call(activity.id, one_line(what), at.ToDatetime(UTC), shown)

    async def _ended(self, activity: ActivityEvent, at: Timestamp) -> Call | None:
        call = self.running.pop(activity.id, None)
        if call is None:
            return None
        call.attempt = max(activity.attempt, 1)
        call.seconds = (at.ToDatetime(UTC) - call.began).total_seconds()
        call.state, call.problem = "done", ""
        if activity.cancelled:
            call.state, call.problem = "cancelled", "stopped"
        elif activity.failure is not None:
            problem = await self._problem(activity.failure)
            stopped = problem.partition(":")[0] in STOPPED
            call.state, call.problem = ("cancelled", "stopped") if stopped else ("failed", problem)
        elif activity.name == "model":
            call.usage = (await activity.outcome(self.converter, ModelReply)).usage
            self.usage += call.usage
        elif activity.name.startswith(TOOL_PREFIX):
            result = await activity.outcome(self.converter, ToolResult)
            if result.is_error:
                call.state, call.problem = "failed", one_line(result.content)
        return call if call.shown or call.state != "done" else None

    def unfinished(self) -> list[Call]:
        """Once the run has ended: the calls whose end its history does not tell."""
        for call in self.running.values():
            call.state, call.problem = "cancelled", "had not reported back when the run ended"
        return [call for call in self.running.values() if call.shown]

    async def heard(self, id: str, attempt: int, failure: Failure | None) -> None:
        """What the server tells of a call under way that is not in its history yet: its retries."""
        if (call := self.running.get(id)) is not None:
            call.attempt = max(attempt, 1)
            call.problem = await self._problem(failure) if failure is not None else ""

    async def _problem(self, failure: Failure) -> str:
        error = await self.converter.decode_failure(failure)
        if isinstance(error, ApplicationError):
            return one_line(f"{error.type}: {error.message}" if error.type else error.message)
        return one_line(getattr(error, "message", "") or str(error))
