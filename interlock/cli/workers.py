"""Whether a run that was started has been taken up by a worker."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import EventType

from interlock.cli.session import complain
from interlock.client import Interlock, Run
from interlock.errors import NoWorker
from interlock.pollers import pollers

TAKEN_WITHIN = 2.5
"""Seconds within which an idle worker has taken up a run many times over."""


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
