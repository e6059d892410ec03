"""Before a worker serves anybody: can it read the runs that are under way?

To a worker with another key, or none, every payload of such a run is a tombstone, and the run would end for it. That
is right for a payload that somebody forged, and a disaster when it is the worker's own environment that is wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.client import Client

from interlock.accounts import account_of
from interlock.errors import BadKey
from interlock.keys import VARIABLE, Keys
from interlock.tombstones import ENCRYPTED

log = structlog.get_logger("interlock.worker")

LOOKED_AT = 20


async def refuse_foreign(client: Client, queue: str, keys: Keys | None) -> None:
    """Raises ``BadKey`` when ``keys`` read none of the newest runs under way on ``queue``; warns when they do not read
    all. One that somebody forged keeps no worker from starting where there are others.

    And when they do not read what a ledger carries of an account: this worker would keep it from going on. That was
    written by a worker, and a ledger is kept for ever: it is older than the runs that the same key was made for."""
    unread: dict[str, str] = {}
    read = 0
    where = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
    async for name, began in _begun(client, where):
        given = began.input.payloads
        why = _foreign(given[0], keys) if given else None
        if why is None:
            read += 1
        else:
            unread[name] = why
    async for name, began in _begun(client, f"{where} AND WorkflowType = 'BudgetLedger'"):
        if began.continued_execution_run_id and (why := _foreign(began.input.payloads[0], keys)) is not None:
            raise BadKey(
                f"what account {account_of(name)!r} has spent cannot be read with {VARIABLE} as it is here: "
                f"it is {why}; see docs/security.md"
            )
    if not unread:
        return
    name, why = next(iter(unread.items()))
    if not read:
        raise BadKey(
            f"the runs under way on task queue {queue!r} cannot be read with {VARIABLE} as it is here: {name!r} is "
            f"{why}; see docs/security.md"
        )
    log.warning("worker.unreadable_runs", runs=len(unread), such_as=name, why=why)


async def _begun(client: Client, where: str) -> AsyncIterator[tuple[str, WorkflowExecutionStartedEventAttributes]]:
    """The newest workflows, each with how it began: anew, or from what was carried to it."""
    async for found in client.list_workflows(where, limit=LOOKED_AT):
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        async for event in handle.fetch_history_events(page_size=1):
            yield found.id, event.workflow_execution_started_event_attributes
            break


def _foreign(payload: Payload, keys: Keys | None) -> str | None:
    """Why ``keys`` cannot read a payload, as far as its header tells."""
    if payload.external_payloads:
        return None  # in the store: its header is not here
    encrypted = payload.metadata.get("encoding") == ENCRYPTED
    if keys is None:
        return f"encrypted with key {_key(payload)}" if encrypted else None
    if not encrypted:
        return "not encrypted"
    return None if _key(payload) in keys.by_id else f"encrypted with key {_key(payload)}"


def _key(payload: Payload) -> str:
    return payload.metadata.get("encryption-key-id", b"").decode(errors="replace")[:40]
