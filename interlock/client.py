"""Client code's way to runs: start, signal, follow, list. Signals and updates hide behind methods.

Everything here is plain Temporal underneath, by the names of the wire contract; any Temporal client in any
language can do the same.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError, CancelledError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from interlock import results
from interlock import search_attributes as sa
from interlock.client_accounts import SharedAccount, open_accounts
from interlock.client_fleet import Fleet
from interlock.connection import DEFAULT_TASK_QUEUE, PATIENCE, connect, no_worker, refused, task_queue, valid
from interlock.contracts import (
    AgentResult,
    AgentTask,
    Carried,
    Decision,
    Extension,
    KillOrder,
    Limits,
    Note,
    RunStatus,
    Steer,
    Transcript,
    input_hash,
    parse,
)
from interlock.errors import BadRequest, InterlockError, RunFailed, RunNotFound
from interlock.fleet import fleet_id
from interlock.forking import carried_to
from interlock.history import transcript_of
from interlock.killing import Rung, how_ended, tell_fleet, walk
from interlock.options import turn
from interlock.policies import details
from interlock.run_trace import trace_of
from interlock.spans import Span

T = TypeVar("T")


def run_id(agent: str, text: str) -> str:
    """An id that people can read: ``analyst-why-did-checkout-fail-3f2a9c``."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-")
    return "-".join(part for part in (agent, words, secrets.token_hex(3 if text else 8)) if part)


@dataclass(frozen=True)
class Run:
    """A run, by its id. Methods raise ``RunNotFound``, ``NoWorker`` or ``BadRequest`` in one line."""

    handle: WorkflowHandle[Any, AgentResult]
    fleet: Fleet | None = None

    @property
    def id(self) -> str:
        return self.handle.id

    async def result(self) -> AgentResult:
        """Wait for the end. A killed or cancelled run gives its ``AgentResult`` too.

        Raises ``RunFailed`` when the run could not begin, or was terminated or timed out."""
        try:
            return await self.handle.result()
        except WorkflowFailureError as error:
            return _result_of(self.id, error)
        except RPCError as error:
            raise _explain(error, self.id) from error

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
            raise _explain(error, self.id) from error

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
            raise _explain(error, self.id) from error


class Interlock:
    """Starts and finds runs. ``queue``: where their workers listen; ``fleet``: their switch and breakers. A connection
    needs no closing."""

    def __init__(self, client: Client, queue: str | None = None, fleet: str | None = None) -> None:
        self.client = client
        self.queue = queue or task_queue()
        self.fleet = Fleet(client, fleet or fleet_id())

    @classmethod
    async def connect(cls, queue: str | None = None) -> Self:
        """Connect as Temporal's environment says. Raises ``NoServer``."""
        return cls(await connect(), queue)

    async def start(self, task: AgentTask | dict[str, Any], *, id: str | None = None) -> Run:
        """Start a run. Raises ``BadRequest`` when the task is malformed, or its id is taken; nothing is started."""
        try:
            task = parse(AgentTask, task)
        except ValueError as error:
            raise BadRequest(f"invalid task: {error}") from None
        return await self._begin(task, id or self._name(task), self.queue)

    def _name(self, task: AgentTask) -> str:
        """Ids are never encrypted: where payloads are, an id says nothing of what was asked."""
        return run_id(task.agent, "" if self.client.data_converter.payload_codec else task.input)

    async def fork(self, id: str, step: int, message: str = "", *, new_id: str | None = None) -> Run:
        """Start a run that goes on from the conversation of run ``id``, live or closed, as it stood before ``step``,
        where that run's workers listen. It has limits and spending of its own. ``message``: to be told as well.

        Raises ``BadRequest`` when there is no such step; nothing is started."""
        described = await self.describe(id)
        asked = valid(Steer, message=message).message if message else ""
        try:
            carried = await carried_to(self.client, id, step, asked)
        except RPCError as error:
            raise _explain(error, id) from error
        except ValueError as error:
            raise BadRequest(f"run {id}: {error}") from error
        name = new_id or self._name(carried.task)
        return await self._begin(carried, name, described.task_queue)

    async def _begin(self, given: AgentTask | Carried, name: str, queue: str) -> Run:
        task = given.task if isinstance(given, Carried) else given
        try:
            try:
                return await self._start(given, name, queue, _attributes(task))
            except RPCError as error:
                if error.status != RPCStatusCode.INVALID_ARGUMENT or "search attribute" not in error.message.lower():
                    raise
                # No worker has registered them yet; the run will set them itself.
                return await self._start(given, name, queue, TypedSearchAttributes.empty)
        except WorkflowAlreadyStartedError as error:
            raise BadRequest(f"a run with the id {name!r} is already under way; pick another id") from error
        except RPCError as error:
            raise _explain(error, name) from error

    async def _start(self, given: AgentTask | Carried, id: str, queue: str, attributes: TypedSearchAttributes) -> Run:
        task = given.task if isinstance(given, Carried) else given
        handle: WorkflowHandle[Any, AgentResult] = await self.client.start_workflow(
            "AgentRun",
            given,
            id=id,
            task_queue=queue,
            result_type=AgentResult,
            static_summary=" ".join(task.input.split())[:120],
            static_details=details.of_task(task),
            search_attributes=attributes,
            priority=turn(task),
            rpc_timeout=PATIENCE,
        )
        return Run(handle, self.fleet)

    async def run(self, task: AgentTask | dict[str, Any], *, id: str | None = None) -> AgentResult:
        """Start a run and wait for its end."""
        return await (await self.start(task, id=id)).result()

    def get(self, id: str) -> Run:
        """A run by its id. Whether there is one shows when it is asked something."""
        return Run(self.client.get_workflow_handle(id, result_type=AgentResult), self.fleet)

    async def list(self, query: str = "", limit: int | None = None) -> AsyncIterator[WorkflowExecution]:
        """Runs, newest first. ``query``: a Temporal list filter over the search attributes, added with AND."""
        where = "WorkflowType = 'AgentRun' AND ExecutionStatus != 'ContinuedAsNew'" + (
            f" AND ({query})" if query else ""
        )
        try:
            async for found in self.client.list_workflows(where, limit=limit, rpc_timeout=PATIENCE):
                yield found
        except RPCError as error:
            raise _explain(error, where) from error

    def account(self, name: str) -> SharedAccount:
        """A shared account by its name, such as ``user:ada``, ``agent:analyst`` or ``fleet``."""
        return SharedAccount(self.client, name, self.queue)

    def accounts(self, limit: int = 50) -> AsyncIterator[SharedAccount]:
        """The shared accounts that are open."""
        return open_accounts(self.client, self.queue, limit)

    async def transcript(self, id: str) -> Transcript:
        """The conversation of a run, live or closed, from its history. Needs no worker."""
        try:
            return await transcript_of(self.client, id)
        except RPCError as error:
            raise _explain(error, id) from error
        except ValueError as error:
            raise BadRequest(f"run {id}: {error}") from error

    async def result_in_store(self, id: str, digest: str) -> str:
        """A result of a tool that was too long for the history of run ``id``, whole, from ``INTERLOCK_STORE``.
        ``digest``: as the note at the end of the result says, ``results/<digest>``."""
        return await results.read(self.client.data_converter, self.client.namespace, id, digest)

    async def trace(self, id: str) -> Span:
        """What a run did when, inside what and for how much, live or closed, from its history. Needs no worker."""
        try:
            return await trace_of(self.client, id)
        except RPCError as error:
            raise _explain(error, id) from error
        except ValueError as error:
            raise BadRequest(f"run {id}: {error}") from error

    async def follow(self, id: str) -> AsyncIterator[HistoryEvent]:
        """A run's events as they happen, across continue-as-new, to its end. A long poll on the history: it needs
        no worker, costs the run nothing, and any number of readers may do it."""
        following: str | None = (await self.describe(id)).run_id
        while following is not None:
            handle = self.client.get_workflow_handle(id, run_id=following)
            following = None
            try:
                async for event in handle.fetch_history_events(wait_new_event=True):
                    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                        following = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
                    yield event
            except RPCError as error:
                raise _explain(error, id) from error

    async def describe(self, id: str) -> WorkflowExecution:
        """What the server knows of a run: times, status, search attributes. Needs no worker."""
        try:
            return await self.client.get_workflow_handle(id).describe(rpc_timeout=PATIENCE)
        except RPCError as error:
            raise _explain(error, id) from error


def _attributes(task: AgentTask) -> TypedSearchAttributes:
    """So that a run is found by its agent and user also while it still waits for a worker."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(sa.AGENT_NAME, task.agent),
            SearchAttributePair(sa.AGENT_USER, task.user_id),
            SearchAttributePair(sa.AGENT_STATE, "starting"),
            SearchAttributePair(sa.AGENT_INPUT_HASH, input_hash(task.agent, task.input)),
        ]
    )


def _result_of(id: str, error: WorkflowFailureError) -> AgentResult:
    match error.cause:
        case ApplicationError(type="RunKilled") as killed if killed.details:
            try:
                return parse(AgentResult, killed.details[0])
            except ValueError as unread:
                raise RunFailed(f"run {id}: {killed.message}; {unread}") from None
        case ApplicationError(message=message):
            raise RunFailed(f"run {id}: {message}") from error
        case CancelledError():
            return AgentResult(outcome="cancelled", output="", source="notice", reason="cancelled")
        case cause:
            raise RunFailed(f"run {id}: {cause}") from error


def _explain(error: RPCError, id: str) -> InterlockError:
    return refused(error, f"run {id}", RunNotFound(f"there is no run {id!r}; interlock list shows what there is"))


__all__ = ["DEFAULT_TASK_QUEUE", "PATIENCE", "Interlock", "Run", "SharedAccount", "connect", "run_id", "task_queue"]
