"""What nobody does: a run under way whose worker has gone away waits for the next one, and says nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.service import RPCError

from interlock.client import Interlock, Run
from interlock.connection import PATIENCE
from interlock.pollers import Work, pollers

LOOK_EVERY = 5.0

WAITED = timedelta(seconds=10)
"""After which work that an idle worker takes up at once is said to wait. What a dead one had in hand has come back to
the queue by then."""


@asynccontextmanager
async def telling(interlock: Interlock, run: Run, say: Callable[[str], None]) -> AsyncIterator[None]:
    """While the block waits for ``run``: ``say`` in one line, once each time, that nobody takes up its work."""
    watching = asyncio.create_task(_tell(interlock, run, say))
    try:
        yield
    finally:
        watching.cancel()


async def _tell(interlock: Interlock, run: Run, say: Callable[[str], None]) -> None:
    told: datetime | None = None
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            queue, since = await _waits(interlock, run)
        except RPCError:  # who waits for the result is told of a server that is gone
            continue
        if since is not None and since != told:
            say(
                f"no worker has taken up the work of run {run.id} on task queue {queue!r} for {WAITED.seconds} s: they "
                f"are gone, or busy. It goes on with the next: python worker.py --task-queue {queue}"
            )
        told = since


async def _waits(interlock: Interlock, run: Run) -> tuple[str, datetime | None]:
    """The task queue of the run, and since when work of it waits that nobody has asked for; ``None``: none does."""
    described = (await run.handle.describe(rpc_timeout=PATIENCE)).raw_description
    queue, now = described.workflow_execution_info.task_queue or interlock.queue, datetime.now(UTC)
    for work, on, since in _queued(described, queue):
        if now - since < WAITED:
            continue
        if not any(each.seen >= since for each in await pollers(interlock.client, on, work)):
            return queue, since
    return queue, None


def _queued(described: DescribeWorkflowExecutionResponse, queue: str) -> Iterator[tuple[Work, str, datetime]]:
    """The work of a run that no worker has in hand: of which kind, on which task queue, since when."""
    task = described.pending_workflow_task
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
        yield "workflow", queue, task.scheduled_time.ToDatetime(UTC)
    for activity in described.pending_activities:
        if activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            on = activity.activity_options.task_queue.name or queue
            yield "activity", on, activity.scheduled_time.ToDatetime(UTC)
