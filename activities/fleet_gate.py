"""The gate with all that it stands on: the mirror of the fleet, the reports to it, and what people are told of both.

They begin together and end in the opposite order.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from temporalio.client import Client

from activities.alerting import Alerting
from activities.fleet_seen import FleetSeen
from activities.gate import Gate
from activities.mirror import MAX_AGE, Mirror
from activities.reports import Reports
from interlock.errors import BadRequest
from interlock.telemetry.metrics import of_client


@asynccontextmanager
async def fleet_gate(client: Client, fleet: str, alerting: Alerting) -> AsyncIterator[Gate]:
    """The gate in front of every call of this worker while the block runs. It begins when the mirror has a state.

    fleet  the id of the ``FleetControl`` whose kills and breakers it obeys"""
    mirror = Mirror(client, fleet, max_age())
    reports = Reports(client, fleet, worker=client.identity)
    gate = Gate(mirror, reports)
    async with AsyncExitStack() as stack:
        await mirror.start()
        stack.push_async_callback(mirror.stop)
        seen = FleetSeen(mirror, of_client(client), alerting, worker=client.identity)
        watching = asyncio.create_task(seen.watch())
        stack.callback(watching.cancel)
        reports.start()
        stack.push_async_callback(reports.stop)
        yield gate


def max_age() -> float:
    """``INTERLOCK_MIRROR_MAX_AGE``, in seconds. Raises ``BadRequest`` for one that is no positive number."""
    given = os.environ.get("INTERLOCK_MIRROR_MAX_AGE") or str(MAX_AGE)
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadRequest(f"INTERLOCK_MIRROR_MAX_AGE is {given!r}; it must be a number of seconds above 0")
    return seconds
