"""What is on record of a call's attempts: each reads it in the details of the last heartbeat before it.

over        it is on record, with its fate
lost        the next attempt misses its number, and counts it as unknown
reset       the server counts from 1 again, and nobody would miss a number that has been there: such an attempt is
            put on record before anything is sent
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from temporalio import activity
from temporalio.service import RPCError

from interlock.contracts import Attempt, Unreadable
from interlock.errors import Failure
from interlock.policies import charges

PATIENCE = 5.0
"""Seconds that an attempt waits to be on record. It takes some tens of milliseconds, after an operator's reset only."""


def earlier(granted: int) -> list[Attempt]:
    """The attempts of this call so far. One that nobody told of is an unknown one."""
    info = activity.info()
    given = info.heartbeat_details[0] if info.heartbeat_details else []
    told = [] if isinstance(given, Unreadable) else [Attempt.model_validate(each) for each in given]
    return charges.with_untold(told, info.attempt, granted)


def with_this(attempts: list[Attempt], error: str) -> list[Attempt]:
    """``attempts`` with this one among them. One that was refused before anything was sent would be taken for one that
    nobody knows of, and charged, by the next."""
    number = activity.info().attempt
    if any(attempt.number == number for attempt in attempts):
        return attempts
    return [*attempts, Attempt(number=number, fate="unbilled", error=error)]


async def before_sending(attempts: list[Attempt]) -> list[Attempt]:
    """What is to be on record until this attempt is sent. It is among them where the next could not miss it, and is on
    record then. Raises ``Failure`` when the server has not heard of it in time: nothing has been sent then."""
    info = activity.info()
    if all(attempt.number != info.attempt for attempt in attempts):
        return attempts
    record = [*attempts, Attempt(number=info.attempt, fate="unknown")]
    activity.heartbeat(record)
    deadline = time.monotonic() + PATIENCE
    while await _heard() != len(record):
        if time.monotonic() > deadline:
            said = f"the server has not taken attempt {info.attempt} on record after a reset; nothing was sent"
            raise Failure("ModelUnavailable", said, outage=False)
        await asyncio.sleep(0.05)
    return record


async def _heard() -> int:
    """How many attempts of this call the server has on record."""
    info, client = activity.info(), activity.client()
    handle = client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
    try:
        described = await handle.describe(rpc_timeout=timedelta(seconds=1))
    except RPCError:
        return 0
    for pending in described.raw_description.pending_activities:
        if pending.activity_id == info.activity_id:
            payloads = list(pending.heartbeat_details.payloads)
            told = await client.data_converter.decode(payloads, [list[Attempt]]) if payloads else [[]]
            return len(told[0])
    return 0
