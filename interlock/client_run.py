"""One run, by its id: its result and status, what people tell it, and its end by force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from temporalio.client import (
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError

from interlock import search_attributes as sa
from interlock.client_fleet import Fleet
from interlock.connection import PATIENCE, no_worker, refused, valid
from interlock.contracts import (
    AgentResult,
    Decision,
    Extension,
    KillOrder,
    Limits,
    Note,
    RunStatus,
    Steer,
    Usage,
    parse,
)
from interlock.errors import BadRequest, InterlockError, RunFailed, RunNotFound
from interlock.killing import Rung, how_ended, tell_fleet, walk

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run, by its id. Methods raise ``RunNotFound``, ``NoWorker`` or ``BadRequest`` in one line."""

    handle: WorkflowHandle[Any, AgentResult]
    fleet: Fleet | None = None

    @property
    def id(self) -> str:
        return self.handle.id

    async def result(self) -> AgentResult:
        """Wait for the end. A killed or cancelled run gives its ``AgentResult`` too: of one that was cancelled, which
        Temporal keeps no result of, what its status says; without a worker, what is in its search attributes.

        Raises ``RunFailed`` when the run could not begin, or was terminated or timed out."""
        try:
            return await self.handle.result()
        except WorkflowFailureError as error:
            if isinstance(error.cause, CancelledError):
                return await self._cancelled()
            return _result_of(self.id, error)
        except RPCError as error:
            raise explain(error, self.id) from error

    async def _cancelled(self) -> AgentResult:
        result = AgentResult(outcome="cancelled", output="", source="notice", reason="cancelled")
        try:
            said = await self.status()
        except InterlockError:
            found = (await self._ask(self.handle.describe(rpc_timeout=PATIENCE))).typed_search_attributes
            cost = Usage(usd=Decimal(str(found.get(sa.AGENT_COST_USD) or 0)))
            steps, tool_calls = found.get(sa.AGENT_STEPS) or 0, found.get(sa.AGENT_TOOL_CALLS) or 0
            return result.model_copy(update={"usage": cost, "steps": steps, "tool_calls": tool_calls})
        return result.model_copy(update={"usage": said.usage, "steps": said.step, "tool_calls": said.tool_calls})

    async def status(self) -> RunStatus:
        """What the run itself says. Needs a worker, also for a closed run."""
        return await self._ask(self.handle.query("status", result_type=RunStatus, rpc_timeout=PATIENCE))

    async def kill(self, reason: str = "", by: str = "client") -> Rung:
        """End the run, and wait until it has ended: a second or less by signal; one that does not hear it is cancelled
        after two seconds and terminated after three more. Returns the rung that it took.

        Raises ``RunNotFound``, or ``BadRequest`` when the run has ended already, saying how."""
        note = valid(Note, reason=reason, by=by)
        try:
            if (how := await how_ended(self.handle)) is not None:
                raise BadRequest(f"run {self.id} has already ended: {how}")
            return await walk(self.handle, note, self._drop)
        except RPCError as error:
            raise explain(error, self.id) from error

    async def _drop(self, note: Note) -> None:
        """Tell the fleet, so that no call of a run that does not hear leaves a worker."""
        if self.fleet is not None:
            order = KillOrder(scope="run", subject=self.id, reason=note.reason, by=note.by)
            await tell_fleet(self.fleet.client, self.fleet.id, order)

    async def pause(self, reason: str = "", by: str = "client") -> None:
        await self._signal("pause", valid(Note, reason=reason, by=by))

    async def resume(self, reason: str = "", by: str = "client") -> None:
        await self._signal("resume", valid(Note, reason=reason, by=by))

    async def steer(self, message: str, by: str = "client") -> None:
        """Tell the model something before its next turn."""
        await self._signal("steer", valid(Steer, message=message, by=by))

    async def decide(
        self, call_id: str, approve: bool, reason: str = "", by: str = "client", *, arguments_hash: str | None = None
    ) -> RunStatus:
        """Approve or reject a call that waits for a person. With the ``arguments_hash`` that ``status`` shows it is
        refused where other arguments wait. Raises ``BadRequest``: nothing waits, or somebody was first."""
        decision = valid(
            Decision, call_id=call_id, approve=approve, reason=reason, by=by, arguments_hash=arguments_hash
        )
        return await self._ask(self.handle.execute_update("decide", decision, result_type=RunStatus))

    async def extend(self, limits: Limits, by: str = "client") -> RunStatus:
        """Raise limits of the run under way."""
        return await self._ask(
            self.handle.execute_update("extend", valid(Extension, limits=limits, by=by), result_type=RunStatus)
        )

    async def cancel(self) -> None:
        """Temporal's own cancellation: the run cleans up and ends as Canceled."""
        await self._ask(self.handle.cancel())

    async def _signal(self, name: str, payload: Note | Steer) -> None:
        await self._ask(self.handle.signal(name, payload, rpc_timeout=PATIENCE))

    async def _ask(self, request: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(request, PATIENCE.total_seconds())
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise no_worker(f"run {self.id}") from error
        except WorkflowUpdateFailedError as error:
            raise BadRequest(getattr(error.cause, "message", "") or str(error.cause)) from error
        except WorkflowQueryFailedError as error:
            raise BadRequest(f"run {self.id}: {error}") from error
        except RPCError as error:
            raise explain(error, self.id) from error


def _result_of(id: str, error: WorkflowFailureError) -> AgentResult:
    match error.cause:
        case ApplicationError(type="RunKilled") as killed if killed.details:
            try:
                return parse(AgentResult, killed.details[0])
            except ValueError as unread:
                raise RunFailed(f"run {id}: {killed.message}; {unread}") from None
        case ApplicationError(message=message):
            raise RunFailed(f"run {id}: {message}") from error
        case TerminatedError() as ended:
            raise RunFailed(f"run {id} was terminated: {ended}") from error
        case cause:
            raise RunFailed(f"run {id}: {cause}") from error


def explain(error: RPCError, id: str) -> InterlockError:
    """What the server's refusal means to who asked about run ``id``."""
    return refused(error, f"run {id}", RunNotFound(f"there is no run {id!r}; interlock list shows what there is"))
