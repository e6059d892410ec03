"""Activities and runs that a run started, as facts of its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.exceptions import TimeoutError as TimedOut

from interlock.contracts import Attempt, ModelCall, ModelReply, ToolResult
from interlock.errors import STOPPED
from interlock.history import Activities, ActivityEvent
from interlock.policies import charges
from interlock.ports import TOOL_PREFIX
from interlock.present import one_line
from interlock.spans.facts import CURRENT, NEXT, Began, Ended, Fact
from interlock.spans.span import Ending
from interlock.telemetry import names

MOST = 300
"""Characters of an error, or of what somebody said."""

STAGES = {"plan": names.SPAN_PLAN, "classify": names.SPAN_CLASSIFY, "final": names.SPAN_FINAL_ANSWER}


@dataclass
class Calls:
    """Reads the activities of one execution, whose number among the run's is ``execution``: a run that continues as
    new numbers its activities from 1 again."""

    converter: DataConverter
    execution: int
    _activities: Activities = field(default_factory=Activities)
    _lost: dict[str, str] = field(default_factory=dict)

    async def read(self, event: HistoryEvent) -> Fact | None:
        activity = await self._activities.read(event, self.converter)
        if activity is None:
            return None
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                most = event.activity_task_scheduled_event_attributes.retry_policy.maximum_attempts
                return await self._called(activity, most or None)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                started = event.activity_task_started_event_attributes
                if started.HasField("last_failure"):
                    self._lost[activity.id] = kind_of(await why(self.converter, started.last_failure))
                return None
            case _ if activity.closed is not None:
                return await self._returned(activity, activity.closed)
            case _:
                return None

    def id_of(self, activity: str, *, model: bool) -> str:
        """What an activity is called in the trace. A model call's id is its key, which no other call has."""
        return activity if model else f"{self.execution}-{activity}"

    def _id(self, activity: ActivityEvent) -> str:
        return self.id_of(activity.id, model=activity.name == "model")

    async def _called(self, activity: ActivityEvent, most: int | None) -> Began:
        key, at, what = self._id(activity), activity.scheduled, cut(activity.summary or activity.name)
        if activity.name == "model":
            call = await activity.call(self.converter, ModelCall)
            stage = STAGES.get(call.purpose, f"agent.step.{call.step}")
            return Began(key, at, f"chat {call.model.partition(':')[2] or call.model}", "chat", stage, most)
        if activity.name.startswith(TOOL_PREFIX):
            return Began(key, at, f"execute_tool {what}", "tool", CURRENT, most)
        if activity.name == "lease":
            return Began(key, at, what, "account", NEXT, most)
        return Began(key, at, what, "account" if activity.name == "settle" else "other", None, most)

    async def _returned(self, activity: ActivityEvent, at: datetime) -> Ended:
        if activity.name == "model":
            return await self._answered(activity, at)
        state, error = await self._outcome(activity)
        if state == "done" and activity.name.startswith(TOOL_PREFIX):
            result = await activity.outcome(self.converter, ToolResult)
            state, error = ("failed", cut(result.content)) if result.is_error else ("done", "")
        return Ended(self._id(activity), at, state, error, activity.attempt, self._earlier(activity))

    async def _answered(self, activity: ActivityEvent, at: datetime) -> Ended:
        """A model call: its attempts tell what it cost, also where it failed."""
        call = await activity.call(self.converter, ModelCall)
        if activity.result is not None:
            reply = await activity.outcome(self.converter, ModelReply)
            lost = _lost(reply.attempts) or self._earlier(activity)
            return Ended(self._id(activity), at, "done", "", activity.attempt, lost, reply.usage)
        state, error = await self._outcome(activity)
        made = _on_record(await self.converter.decode_failure(activity.failure)) if activity.failure else ()
        usage = charges.charge(call.price, call.grant, made)
        lost = _lost(made) or self._earlier(activity)
        return Ended(self._id(activity), at, state, error, activity.attempt, lost, usage)

    async def _outcome(self, activity: ActivityEvent) -> tuple[Ending, str]:
        if activity.cancelled:
            return "cancelled", "stopped"
        if activity.failure is None:
            return "done", ""
        error = await why(self.converter, activity.failure)
        return ("cancelled", "stopped") if kind_of(error) in STOPPED else ("failed", error)

    def _earlier(self, activity: ActivityEvent) -> tuple[str, ...]:
        """What the server tells of the attempt before the last."""
        lost = self._lost.get(activity.id)
        return (lost,) if lost else ()


@dataclass
class Children:
    """Reads the runs that one execution started. ``known``: by the id with which each began, its workflow id and the
    run id of its first execution."""

    converter: DataConverter
    execution: int
    known: dict[str, tuple[str, str]]

    async def read(self, event: HistoryEvent) -> Fact | None:
        at = event.event_time.ToDatetime(UTC)
        match event.event_type:
            case EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                child = event.start_child_workflow_execution_initiated_event_attributes.workflow_id
                self.known[self._id(event.event_id)] = (child, "")
                return Began(self._id(event.event_id), at, f"run {child}", "run", CURRENT)
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
                started = event.child_workflow_execution_started_event_attributes
                execution = started.workflow_execution
                self.known[self._id(started.initiated_event_id)] = (execution.workflow_id, execution.run_id)
                return None
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
                completed = event.child_workflow_execution_completed_event_attributes
                return Ended(self._id(completed.initiated_event_id), at)
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
                failed = event.child_workflow_execution_failed_event_attributes
                error = await why(self.converter, failed.failure)
                return Ended(self._id(failed.initiated_event_id), at, "failed", error)
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
                cancelled = event.child_workflow_execution_canceled_event_attributes
                return Ended(self._id(cancelled.initiated_event_id), at, "cancelled", "cancelled")
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
                terminated = event.child_workflow_execution_terminated_event_attributes
                return Ended(self._id(terminated.initiated_event_id), at, "failed", "terminated")
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
                timed_out = event.child_workflow_execution_timed_out_event_attributes
                return Ended(self._id(timed_out.initiated_event_id), at, "failed", "timed out")
            case EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
                refused = event.start_child_workflow_execution_failed_event_attributes
                return Ended(self._id(refused.initiated_event_id), at, "failed", "it could not be started")
            case _:
                return None

    def _id(self, initiated: int) -> str:
        return f"child-{self.execution}-{initiated}"


def _lost(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    return tuple(attempt.error or attempt.fate for attempt in attempts[:-1])


def _on_record(error: BaseException) -> Sequence[Attempt]:
    """The attempts that a failed model call tells of. What it may have made besides, the run charged as well: that is
    what the trace shows as charged and told by nobody."""
    match error:
        case ApplicationError(details=[[*told], *_]) | TimedOut(last_heartbeat_details=[[*told], *_]):
            return [Attempt.model_validate(each) for each in told]
        case _:
            return ()


async def why(converter: DataConverter, failure: Failure) -> str:
    """A failure in one line: its type and its message."""
    return explain(await converter.decode_failure(failure))


def explain(error: BaseException) -> str:
    match error:
        case ApplicationError(type=kind, message=message):
            return cut(f"{kind}: {message}" if kind else message)
        case TimedOut(message=message):
            return cut(f"TimedOut: {message}")
        case FailureError(message=message):
            return cut(message)
        case _:
            return cut(str(error))


def kind_of(error: str) -> str:
    return error.partition(":")[0]


def cut(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= MOST else f"{line[: MOST - 1]}…"
