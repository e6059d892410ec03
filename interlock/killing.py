"""Kill is a ladder: signal, after two seconds cancel, after three more terminate.

A signal ends a run in order. It cannot end one whose workflow task keeps failing (a bug, a bad deploy, a payload
that nobody can read) or that has taken its 10,000 signals; a cancellation cannot end the former. Termination always
works, and nothing of the run's own is settled then: its leases are charged in full when their ledger finds it gone.
So a run that has heard is given time to end in order.

A run that was paused by Temporal's own command (``temporal workflow pause``) hears nothing either, and the SDK has no
word for its status: whatever reads one raises ``ValueError``. It is open all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import structlog
from temporalio.api.workflow.v1 import PendingWorkflowTaskInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from temporalio.converter import decode_typed_search_attributes
from temporalio.service import RPCError, RPCStatusCode

from interlock.contracts import KillOrder, Note, Scope
from interlock.errors import BadRequest
from interlock.policies.switch import LATE
from interlock.search_attributes import AGENT_USER, of_user

log = structlog.get_logger("interlock.killing")

Rung: TypeAlias = Literal["signal", "cancel", "terminate"]
RUNGS: tuple[Rung, ...] = ("signal", "cancel", "terminate")

SIGNAL_PATIENCE = 2.0
CANCEL_PATIENCE = 3.0
"""Seconds a rung is given to end the run before the next is taken."""

IN_ORDER = 10.0
"""Seconds more that a run is given which has heard of its end: it settles with its accounts, and says what it did."""

JUST_COME = 0.5
"""Seconds after which a workflow task that is still the same waits for somebody."""

_REQUEST = timedelta(seconds=4)
_LISTED = timedelta(seconds=10)

BUSY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED)
"""What a server answers that has too much to do, or nothing at all: the same may be asked again."""


def open_runs(scope: Scope, subject: str, at: datetime | None = None) -> str:
    """A filter for the open runs that a kill covers. ``at``: when it was given. Runs that were started later are not
    among them: they are refused at the gate before their first call, and there may be no end of them."""
    where = ["WorkflowType = 'AgentRun'", "CloseTime IS NULL"]  # not by its status: it may be paused
    if at is not None:
        until = (at + LATE).astimezone(UTC)
        where.append(f"StartTime <= '{until:%Y-%m-%dT%H:%M:%SZ}'")
    if scope == "user":
        where += of_user(subject)
    return " AND ".join(where)


async def ids_of_open_runs(
    client: Client, scope: Scope, subject: str, at: datetime | None = None, last: datetime | None = None
) -> AsyncIterator[str]:
    """The open runs that a kill covers, by their ids. The index may take one user for another; here they are told
    apart. ``last``: without those that were started later; the index is asked in whole seconds."""
    request = ListWorkflowExecutionsRequest(namespace=client.namespace, query=open_runs(scope, subject, at))
    while True:
        found = await client.workflow_service.list_workflow_executions(request, retry=True, timeout=_LISTED)
        for each in found.executions:
            user = decode_typed_search_attributes(each.search_attributes).get(AGENT_USER)
            if last is not None and each.start_time.ToDatetime(UTC) > last:
                continue
            if scope == "all" or user == subject:
                yield each.execution.workflow_id
        if not found.next_page_token:
            return
        request.next_page_token = found.next_page_token


async def tell_fleet(client: Client, fleet: str, order: KillOrder) -> bool:
    """Tell the switch, so that every worker drops the calls at once. ``False``: no fleet has begun here yet."""
    try:
        await client.get_workflow_handle(fleet).signal("kill", order, rpc_timeout=_REQUEST)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def step(handle: WorkflowHandle[Any, Any], rung: Rung, note: Note) -> bool:
    """Take one rung. ``False``: the server would not, and the next one has to do; or there is no such open run."""
    try:
        match rung:
            case "signal":
                await handle.signal("kill", note, rpc_timeout=_REQUEST)
            case "cancel":
                await handle.cancel(rpc_timeout=_REQUEST)
            case "terminate":
                said = f"killed: {note.reason or 'killed'} (by {note.by})"
                await handle.terminate(reason=said, rpc_timeout=_REQUEST)
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, *BUSY):
            raise
        return False  # INVALID_ARGUMENT: it has taken as many signals as it may
    return True


async def walk(handle: WorkflowHandle[Any, Any], note: Note, drop: Callable[[Note], Awaitable[None]]) -> Rung:
    """Walk the ladder until the run has ended; returns the rung that ended it. ``drop``: has the workers drop the calls
    of a run that has not heard the signal, and so could not ask for it itself.

    Raises ``RPCError`` where the server does, ``NOT_FOUND`` among them: there is no such run, or it has ended. And
    ``BadRequest`` when the server refuses all three."""
    taken: Rung = "signal"
    for rung, patience in zip(RUNGS, (SIGNAL_PATIENCE, CANCEL_PATIENCE, CANCEL_PATIENCE), strict=True):
        try:
            accepted = await step(handle, rung, note)
        except RPCError as error:
            if rung != "signal" and error.status is RPCStatusCode.NOT_FOUND:
                return taken  # it ended between the two
            raise
        taken = rung
        if rung == "cancel":
            try:
                await drop(note)
            except RPCError as error:  # the run is ended all the same
                log.warning("kill.fleet_not_told", run_id=handle.id, error=error.message)
        if accepted and await ended_within(handle, patience):
            return taken
        if rung == "cancel" and await hears(handle) and await ended_within(handle, IN_ORDER):
            return taken
    if not await ended_within(handle, 0):
        raise BadRequest(f"run {handle.id} is still open: the server has terminated nothing; ask whoever runs it")
    return taken


async def how_ended(handle: WorkflowHandle[Any, Any]) -> str | None:
    """How a run has ended, in Temporal's words; ``None``: it has not."""
    described = await _described(handle)
    return None if described is None else ended_as(described)


async def _described(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionDescription | None:
    """``None``: it was paused by Temporal's own command, and is open."""
    try:
        return await handle.describe(rpc_timeout=_REQUEST)
    except ValueError:
        return None


async def hears(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether it takes in what it is told: a task of one that cannot waits, or fails again and again. One that has only
    just come is looked at twice."""
    if (task := await _waiting(handle)) is None:
        return True
    if task.attempt != 1:
        return False
    await asyncio.sleep(JUST_COME)
    again = await _waiting(handle)
    return again is None or (again.attempt == 1 and again.scheduled_time != task.scheduled_time)


async def _waiting(handle: WorkflowHandle[Any, Any]) -> PendingWorkflowTaskInfo | None:
    """The workflow task that is not done. One that was paused by Temporal's own command never is."""
    described = await _described(handle)
    if described is None:
        return PendingWorkflowTaskInfo()
    raw = described.raw_description
    return raw.pending_workflow_task if raw.HasField("pending_workflow_task") else None


def ended_as(described: WorkflowExecution) -> str | None:
    """How a run has ended, in Temporal's words; ``None``: it has not."""
    status = described.status
    if status in (None, WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW):
        return None
    return str(status.name).lower().replace("_", " ")


async def ended_within(handle: WorkflowHandle[Any, Any], seconds: float) -> bool:
    """Whether the run ends within ``seconds``, across continue-as-new."""
    deadline = asyncio.get_running_loop().time() + seconds
    wait = 0.02
    while True:
        if await how_ended(handle) is not None:
            return True
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        await asyncio.sleep(min(wait, left))
        wait = min(wait * 1.5, 0.25)
