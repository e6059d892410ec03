"""Whether anybody works: who polls a task queue, and whether a run that was started has been taken up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from temporalio.api.enums.v1 import EventType, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from interlock.cli.session import complain
from interlock.client import PATIENCE, Interlock, Run
from interlock.errors import NoWorker

Work: TypeAlias = Literal["workflow", "activity"]

_TYPES = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}

POLL = timedelta(seconds=70)
"""An idle worker's poll lasts a minute; one that was last seen earlier is gone. The server lists it for longer."""

TAKEN_WITHIN = 2.5
"""Seconds within which an idle worker has taken up a run many times over."""


@dataclass(frozen=True)
class Poller:
    identity: str
    seen: datetime


async def pollers(client: Client, queue: str, work: Work) -> list[Poller]:
    """Who has lately polled ``queue`` for ``work``, the latest first."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=_TYPES[work]
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=PATIENCE)
    found = [Poller(each.identity, each.last_access_time.ToDatetime(UTC)) for each in answer.pollers]
    oldest = datetime.now(UTC) - POLL
    return sorted((each for each in found if each.seen > oldest), key=lambda each: each.seen, reverse=True)


async def picked_up(interlock: Interlock, run: Run) -> None:
    """Return when a worker has taken up ``run``, or is so busy that it will take a while (said on stderr).

    Raises ``NoWorker`` when nobody has, and nobody has polled since the run was started: a worker that had died
    before is still listed, and only its silence tells."""
    if await _begun(interlock, run):
        return
    started = (await interlock.describe(run.id)).start_time
    found = await pollers(interlock.client, interlock.queue, "workflow")
    if any(each.seen >= started for each in found):
        complain(f"the workers on task queue {interlock.queue!r} are busy; run {run.id} waits its turn")
        return
    raise NoWorker(
        f"no worker polls task queue {interlock.queue!r}; start one: python worker.py --task-queue {interlock.queue}. "
        f"Run {run.id} stays queued until then (drop it: temporal workflow terminate -w {run.id})"
    )


async def _begun(interlock: Interlock, run: Run) -> bool:
    before = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
    try:
        async with asyncio.timeout(TAKEN_WITHIN):
            async for event in interlock.follow(run.id):
                if event.event_type not in before:
                    return True
    except TimeoutError:
        return False
    return True
