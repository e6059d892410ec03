"""The worker's mirror of ``FleetControl``: what it knows of kills and breakers, tens of milliseconds old.

It waits on that workflow's history by long poll, across continue-as-new, with no worker asked; an event tells that
something has changed, the memo what. A kill is an event itself, and is obeyed before the workflow has taken it in
(``interlock.policies.ahead``): that may be long, where the worker that serves the workflow has just frozen.

A mirror that has lost its source for longer than ``INTERLOCK_MIRROR_MAX_AGE`` knows nothing any more: the gate then
refuses, because a switch that nobody hears must be taken for off.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities import fleet_events
from interlock.contracts import Kill
from interlock.fleet import FleetView
from interlock.policies import ahead
from interlock.policies.fleet import published

log = structlog.get_logger("interlock.mirror")

MAX_AGE = 30.0
"""Seconds without a word from the server after which a mirror is blind. An idle server answers a long poll every 20."""

POLL = timedelta(seconds=25)

ABREAST = 10.0
"""Seconds a worker waits at its start for the fleet's workflow to take in what it was told."""


class Mirror:
    """``view`` is what the fleet's workflow last said, with the kills that it has been sent since. ``changed``: called
    with each new view, on the worker's loop."""

    def __init__(self, client: Client, fleet: str, max_age: float = MAX_AGE) -> None:
        self.fleet = fleet
        self.view = FleetView()
        self._said = self.view
        self._ahead: Mapping[str, Kill] = {}
        self._worked = datetime.min.replace(tzinfo=UTC)
        self._client = client
        self._max_age = max_age
        self._heard = time.monotonic()
        self._listeners: list[Callable[[FleetView], None]] = []
        self._execution = ""
        self._read_up_to = 0
        self._tail: asyncio.Task[None] | None = None

    def changed(self, listener: Callable[[FleetView], None]) -> None:
        self._listeners.append(listener)

    @property
    def age(self) -> float:
        """Seconds since the server last answered for the fleet's workflow."""
        return time.monotonic() - self._heard

    @property
    def blind(self) -> bool:
        return self.age > self._max_age

    async def start(self) -> None:
        """Read the workflow, and start it where there is none: a worker must not serve before it knows the switch.

        Read first: one that was ended while no worker ran begins again with what its memo says."""
        try:
            await self._read()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await self._ensure()
        await self._abreast()
        await self._read()
        self._tail = asyncio.create_task(self._follow())

    async def _abreast(self) -> None:
        """Wait until it has taken in what it was told while nobody served it: a kill that was sent then is in no memo
        yet, and a worker that went ahead would let calls out that it covers."""
        handle = self._client.get_workflow_handle(self.fleet)
        deadline = time.monotonic() + ABREAST
        while (await handle.describe(rpc_timeout=timedelta(seconds=5))).raw_description.HasField(
            "pending_workflow_task"
        ):
            if time.monotonic() > deadline:
                log.warning("fleet.behind", fleet=self.fleet, seconds=ABREAST)
                return
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._tail is not None:
            self._tail.cancel()
            await asyncio.wait([self._tail])

    async def _ensure(self) -> None:
        """One that was ended from outside begins again with what is known of it. That is in its memo at once: a mirror
        that read an empty one would open its gate until the first task is done."""
        state = self.view.state()
        await self._client.start_workflow(
            "FleetControl",
            state,
            memo=published(state),
            id=self.fleet,
            task_queue=self.fleet,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary="kill switches and circuit breakers of the fleet",
        )

    async def _read(self) -> None:
        described = await self._client.get_workflow_handle(self.fleet).describe(rpc_timeout=timedelta(seconds=5))
        self._said = FleetView.of(await described.memo())
        # What is in its history up to here is in this memo; what comes later is news.
        self._read_up_to = described.raw_description.workflow_execution_info.history_length
        self._execution = described.run_id
        self._heard = time.monotonic()
        self._tell()
        if described.status is not WorkflowExecutionStatus.RUNNING:
            log.warning("fleet.ended", fleet=self.fleet, status=described.status and described.status.name)
            await self._ensure()
            await self._read()

    def _tell(self) -> None:
        said = self._said
        self._ahead = ahead.standing(self._ahead, said.kills, said.released, self._worked)
        view = replace(said, kills={**said.kills, **self._ahead})
        if view != self.view:
            self.view = view
            for listener in self._listeners:
                listener(view)

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                await self._follow_execution()
                failures = 0
            except (RPCError, ValueError, OSError) as error:
                failures += 1
                wait = min(5.0, 0.1 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)
                log.warning("mirror.lost", fleet=self.fleet, error=str(error)[:200], age=round(self.age, 1))
                await asyncio.sleep(wait)
            except Exception:
                # Whatever it is, a mirror that stopped for it would be blind for ever.
                failures += 1
                log.exception("mirror.failed", fleet=self.fleet)
                await asyncio.sleep(1.0)

    async def _follow_execution(self) -> None:
        """Wait for news of one execution, to its end; then read the next."""
        await self._read()
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=self.fleet, run_id=self._execution),
            wait_new_event=True,
        )
        following = self._execution
        while following == self._execution:
            answer = await self._client.workflow_service.get_workflow_execution_history(
                request, retry=False, timeout=POLL
            )
            self._heard = time.monotonic()
            events, before = answer.history.events, self._ahead
            for event in events:
                await self._note(event)
            # Not within the past: a kill may be in this page of it, and its release in the next.
            if (before or self._ahead) and (not events or events[-1].event_id >= self._read_up_to):
                self._tell()
            news = [event for event in events if event.event_id > self._read_up_to]
            if any(event.event_type in fleet_events.NEWS for event in news):
                await self._read()
            if not answer.next_page_token:
                return
            request.next_page_token = answer.next_page_token

    async def _note(self, event: HistoryEvent) -> None:
        """What concerns kills."""
        at = event.event_time.ToDatetime(UTC)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            self._worked = max(self._worked, at)
        if (told := await fleet_events.order(event, self._client.data_converter)) is not None:
            signal, order = told
            self._ahead = ahead.told(self._ahead, signal, order, at)
