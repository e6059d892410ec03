"""Kill is a ladder: signal, after two seconds cancel, after three more terminate.

A signal ends a run in order. It cannot end one whose workflow task keeps failing (a bug, a bad deploy, a payload
that nobody can read) or that has taken its 10,000 signals; a cancellation cannot end the former. Termination always
works, and nothing of the run's own is settled then: its leases are charged in full when their ledger finds it gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from interlock.contracts import KillOrder, Note, Scope
from interlock.errors import BadRequest
from interlock.search_attributes import of_user

Rung: TypeAlias = Literal["signal", "cancel", "terminate"]
RUNGS: tuple[Rung, ...] = ("signal", "cancel", "terminate")

SIGNAL_PATIENCE = 2.0
CANCEL_PATIENCE = 3.0
"""Seconds a rung is given to end the run before the next is taken."""

_REQUEST = timedelta(seconds=4)

BUSY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED)
"""What a server answers that has too much to do, or nothing at all: the same may be asked again."""

_LATE = timedelta(seconds=2)
"""A run that is started so soon after a kill may have passed a gate that had not closed."""


def open_runs(scope: Scope, subject: str, at: datetime | None = None) -> str:
    """A filter for the open runs that a kill covers. ``at``: when it was given. Runs that were started later are not
    among them: they are refused at the gate before their first call, and there may be no end of them."""
    where = ["WorkflowType = 'AgentRun'", "ExecutionStatus = 'Running'"]
    if at is not None:
        until = (at + _LATE).astimezone(UTC)
        where.append(f"StartTime <= '{until:%Y-%m-%dT%H:%M:%SZ}'")
    if scope == "user":
        where += of_user(subject)
    return " AND ".join(where)


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
            await drop(note)
        if accepted and await ended_within(handle, patience):
            return taken
    if not await ended_within(handle, 0):
        raise BadRequest(f"run {handle.id} is still open: the server has terminated nothing; ask whoever runs it")
    return taken


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
        described = await handle.describe(rpc_timeout=_REQUEST)
        if ended_as(described) is not None:
            return True
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        await asyncio.sleep(min(wait, left))
        wait = min(wait * 1.5, 0.25)
