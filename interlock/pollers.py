"""Who listens: the workers that poll a task queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from interlock.connection import PATIENCE

Work: TypeAlias = Literal["workflow", "activity"]

_TYPES = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}

POLL = timedelta(seconds=70)
"""An idle worker's poll lasts a minute; one that was last seen earlier is gone. The server lists it for longer."""


@dataclass(frozen=True)
class Poller:
    """A worker's process, and when it last asked for work."""

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
