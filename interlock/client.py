"""Client code's way to runs: start, find, follow, fork, list. What one run is asked and told is in
``client_run``; the fleet's switch and breakers are in ``client_fleet``, the shared accounts in ``client_accounts``.

Everything here is plain Temporal underneath, by the names of the wire contract; any Temporal client in any
language can do the same.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from typing import Any, Self

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution, WorkflowHandle
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from interlock import results
from interlock import search_attributes as sa
from interlock.client_accounts import SharedAccount, open_accounts
from interlock.client_fleet import Fleet
from interlock.client_run import Run, explain
from interlock.connection import DEFAULT_TASK_QUEUE, PATIENCE, connect, task_queue, valid
from interlock.contracts import AgentResult, AgentTask, Carried, Steer, Transcript, parse
from interlock.errors import BadRequest
from interlock.fleet import fleet_id
from interlock.forking import carried_to
from interlock.history import transcript_of
from interlock.options import turn
from interlock.policies import details
from interlock.run_trace import trace_of
from interlock.spans.span import Span


def run_id(agent: str, text: str) -> str:
    """An id that people can read: ``analyst-why-did-checkout-fail-3f2a9c``."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-")
    return "-".join(part for part in (agent, words, secrets.token_hex(3 if text else 8)) if part)


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
            raise explain(error, id) from error
        except ValueError as error:
            raise BadRequest(f"run {id}: {error}") from error
        name = new_id or self._name(carried.task)
        return await self._begin(carried, name, described.task_queue)

    async def _begin(self, given: AgentTask | Carried, name: str, queue: str) -> Run:
        task = given.task if isinstance(given, Carried) else given
        try:
            try:
                return await self._start(given, name, queue, sa.at_start(task))
            except RPCError as error:
                if error.status != RPCStatusCode.INVALID_ARGUMENT or "search attribute" not in error.message.lower():
                    raise
                # No worker has registered them yet; the run will set them itself.
                return await self._start(given, name, queue, TypedSearchAttributes.empty)
        except WorkflowAlreadyStartedError as error:
            raise BadRequest(f"a run with the id {name!r} is already under way; pick another id") from error
        except RPCError as error:
            raise explain(error, name) from error

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
            raise explain(error, where) from error

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
            raise explain(error, id) from error
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
            raise explain(error, id) from error
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
                raise explain(error, id) from error

    async def describe(self, id: str) -> WorkflowExecution:
        """What the server knows of a run: times, status, search attributes. Needs no worker."""
        try:
            return await self.client.get_workflow_handle(id).describe(rpc_timeout=PATIENCE)
        except RPCError as error:
            raise explain(error, id) from error


__all__ = ["DEFAULT_TASK_QUEUE", "PATIENCE", "Interlock", "Run", "SharedAccount", "connect", "run_id", "task_queue"]
