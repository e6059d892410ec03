"""Heartbeats while a block runs: a lost worker is noticed, and a cancellation is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity

from interlock import options


@asynccontextmanager
async def heartbeating(details: Callable[[], tuple[Any, ...]] = tuple) -> AsyncIterator[None]:
    """Heartbeat every ``options.HEARTBEAT_EVERY``, with what ``details`` returns at the time. Not at once: most calls
    are over by then, and each heartbeat is a request to the server and a write of its."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(options.HEARTBEAT_EVERY.total_seconds())
            activity.heartbeat(*details())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def asked_for() -> bool:
    """Whether its run has asked for the cancellation of this activity. It has not when the worker ends, when an
    operator resets or pauses the activity, or when the server, just started again, does not know the attempt: then the
    call is broken off, and tried again as its policy allows."""
    details = activity.cancellation_details()
    return not activity.is_worker_shutdown() and (details is None or details.cancel_requested)
