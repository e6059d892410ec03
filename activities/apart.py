"""The workers of calls that wait apart (``interlock.queues``), beside that of the runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from activities.seen import SeenAttempts
from interlock import options
from interlock.queues import Kind, Limits, queue_of

MOST_CALLS = 200
"""Calls of a queue that a worker makes at the same time, where nobody said how many."""

Activity = Callable[..., Any]


@asynccontextmanager
async def serving_calls(
    worker: Worker, client: Client, limits: Limits, models: Sequence[Activity], tools: Sequence[Activity]
) -> AsyncIterator[None]:
    """Serve ``worker``, that of the runs, and those of each kind of call while the block runs. They end side by side:
    one after the other, each would take its own time for calls in flight."""
    config = worker.config()
    queue, grace = config["task_queue"], config["graceful_shutdown_timeout"]

    def of(kind: Kind, activities: Sequence[Activity], slots: int | None, rate: float | None = None) -> Worker:
        """Beyond its slots it asks for no calls, so they wait at the server."""
        return Worker(
            client,
            task_queue=queue_of(queue, kind),
            activities=activities,
            interceptors=[SeenAttempts()],
            max_concurrent_activities=slots or MOST_CALLS,
            max_concurrent_activity_task_polls=min(slots or 2, 5),
            max_task_queue_activities_per_second=rate,
            graceful_shutdown_timeout=grace,
            max_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
            default_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
        )

    workers = [worker, of("models", models, limits.model_calls, limits.calls_per_second)]
    workers += [of("tools", tools, limits.tool_calls)] if tools else []
    async with AsyncExitStack() as stack:
        for each in workers:
            await stack.enter_async_context(each)
        try:
            yield
        finally:
            await asyncio.gather(*(each.shutdown() for each in workers))
