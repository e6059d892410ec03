"""To wait for what becomes true in its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from temporalio.client import WorkflowQueryFailedError

from interlock.errors import BadRequest, NoWorker
from interlock.testing import DEADLOCK


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Wait for ``condition``. The server and the index need a moment, a busy machine more: one that stands still for
    two seconds answers no question of that time, and a worker without a cache none that comes while it drops a run."""
    async with asyncio.timeout(seconds):
        while not await _holds(condition):
            await asyncio.sleep(0.05)


async def _holds(condition: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await condition()
    except NoWorker:
        return False
    except (BadRequest, WorkflowQueryFailedError) as error:
        if DEADLOCK not in str(error):
            raise
        return False


__all__ = ["until"]
