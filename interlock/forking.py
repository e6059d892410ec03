"""A new run that goes on from another's conversation, as it stood before one of its steps.

The conversation is in the other run's history, live or closed, so no worker is asked. The new run is given what
continue-as-new would have carried to that step: the same task, the same agent as it was recorded, the messages so far
and those that the step was to bring. It counts from where the conversation stands, so that the ids of its calls are
not those of calls that were made before, and has steps, money, tokens, time and tool calls of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter

from interlock.contracts import (
    AgentSpec,
    AgentTask,
    Carried,
    Leased,
    Limits,
    Message,
    ModelCall,
    ModelReply,
    Progress,
    Tier,
    Transcript,
    UserMessage,
)
from interlock.errors import BadRequest
from interlock.executions import whole_history
from interlock.history import Activities, ActivityEvent, started_with
from interlock.policies.budget import sent_bytes
from interlock.policies.children import limits_of
from interlock.policies.freshness import still_open
from interlock.policies.routing import tier_of
from interlock.present import several
from interlock.transcript import Continued, Event, Replied, Resolved, fold

SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED


@dataclass
class _Told:
    """What a history tells, up to the first model call of step ``until``.

    oldest  the first step that the history still holds
    last    the last step that began
    delta   what that call was to tell its model; ``None``: there is no such call"""

    until: int
    task: AgentTask | None = None
    tier: Tier | None = None
    oldest: int = 1
    last: int = 0
    delta: tuple[Message, ...] | None = None
    events: list[Event] = field(default_factory=list)
    _activities: Activities = field(default_factory=Activities)

    async def read(self, event: HistoryEvent, converter: DataConverter) -> bool:
        """Whether to read on."""
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            await self._began(event, converter)
        elif (activity := await self._activities.read(event, converter)) is not None:
            await self._called(activity, converter, begins=event.event_type == SCHEDULED)
        return self.delta is None

    async def _began(self, event: HistoryEvent, converter: DataConverter) -> None:
        self._activities = Activities()
        match await started_with(event, converter):
            case Carried(task=task, progress=progress, transcript=transcript):
                if not self.events:
                    self.oldest, self.last = progress.step + 1, progress.step
                self.task, self.tier = task, progress.tier
                self.events.append(Continued(transcript))
            case AgentTask() as task:
                self.task = task

    async def _called(self, activity: ActivityEvent, converter: DataConverter, *, begins: bool) -> None:
        if activity.name == "resolve_agent" and activity.result is not None:
            self.events.append(Resolved(await activity.outcome(converter, AgentSpec)))
        elif activity.name == "model" and begins:
            call = await activity.call(converter, ModelCall)
            if call.purpose == "step" and call.step >= self.until:
                self.delta = call.delta
            else:
                self.last = max(self.last, call.step)
        elif activity.name == "model" and activity.result is not None:
            call = await activity.call(converter, ModelCall)
            reply = await activity.outcome(converter, ModelReply)
            self.events.append(Replied(call, reply))
            if call.purpose == "classify":
                self.tier = tier_of(reply.message.text)


async def carried_to(client: Client, id: str, step: int, message: str = "") -> Carried:
    """What a run that goes on from before ``step`` of run ``id`` is started with. ``message``: to be told as well.

    The step after the last one may be named too, where the run has answered: ``message`` is then what it is asked
    next. Raises ``BadRequest`` when the run has no such step."""
    told = _Told(until=step)
    if step >= 1:
        async for event in whole_history(client, id):
            if not await told.read(event, client.data_converter):
                break
    if step < told.oldest:
        raise BadRequest(_no_such_step(id, step, told))
    delta = told.delta
    transcript = fold(told.events) if told.events else None
    if delta is None and transcript is not None and step == told.last + 1 and _answered(transcript) and message:
        delta = ()
    if delta is None or transcript is None or told.task is None:
        raise BadRequest(_no_such_step(id, step, told))
    asked: tuple[Message, ...] = (UserMessage(text=message),) if message else ()
    return _carried(told.task, transcript, (*delta, *asked), step, told.tier)


def _carried(
    task: AgentTask, transcript: Transcript, delta: tuple[Message, ...], step: int, tier: Tier | None
) -> Carried:
    spec = transcript.spec
    limits = limits_of(spec.limits, task)
    progress = Progress(
        spec=spec,
        limits=_steps_of_its_own(limits, step),
        step=step - 1,
        messages=len(transcript.messages),
        last_reply=transcript.last_reply,
        delta=delta,
        steered=True,
        tier=tier,
        # As a run that takes up its agent counts them: what is sent with every call, and each message.
        bytes=len(spec.instructions.encode())
        + spec.schema_bytes
        + sum(sent_bytes(spec.bounds, each) for each in transcript.messages),
        open_windows=still_open((), transcript.messages, None),
        leases=tuple(Leased(account=each.of(task.user_id, spec.name)) for each in spec.accounts),
    )
    # It works for nobody, also where the other run did.
    return Carried(task=task.model_copy(update={"parent": None}), progress=progress, transcript=transcript)


def _steps_of_its_own(limits: Limits, step: int) -> Limits:
    """The limit on steps counts those of the conversation; those before the fork are no part of what it may take."""
    return limits if limits.steps is None else limits.model_copy(update={"steps": limits.steps + step - 1})


def _answered(transcript: Transcript) -> bool:
    """Whether the conversation ends with an answer: to one that ends with calls, nothing but results may be added."""
    last = transcript.messages[-1] if transcript.messages else None
    return last is not None and last.role == "assistant" and not last.calls


def _no_such_step(id: str, step: int, told: _Told) -> str:
    said = f"run {id} cannot go on from before step {step}"
    if step < 1:
        return f"{said}: steps are counted from 1"
    if told.task is None:
        return f"{said}: it was not started with a task"
    if step < told.oldest:
        return f"{said}: its history begins with step {told.oldest}"
    if told.last < told.oldest:
        return f"{said}: it has not begun {'one' if told.oldest == 1 else f'step {told.oldest}'} yet"
    then = ""
    if step == told.last + 1:
        answered = told.events and _answered(fold(told.events))
        then = (
            "; it has answered, and goes on when it is given a message"
            if answered
            else "; what its last calls came to was told to no model yet"
        )
    return f"{said}: it has {several(told.last, 'step')}{then}"
