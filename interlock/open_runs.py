"""Before a worker serves anybody: can it read what is under way?

To a worker with another key, or none, every payload is a tombstone, and a workflow that is replayed with those takes
another way than its history: its task fails for as long as such workers serve it. A run stands still then, and hears no
kill; the fleet's switch takes none in. That must not come of a worker whose own environment is wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from interlock.accounts import account_of
from interlock.connection import PATIENCE
from interlock.errors import BadKey
from interlock.keys import VARIABLE, Keys
from interlock.tombstones import ENCRYPTED

log = structlog.get_logger("interlock.worker")

LOOKED_AT = 20
EVENTS_LOOKED_AT = 200


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
            raise _bad_key(f"what account {account_of(name)!r} has spent", f"it is {why}")
    if not unread:
        return
    name, why = next(iter(unread.items()))
    if not read:
        raise _bad_key(f"the runs under way on task queue {queue!r}", f"{name!r} is {why}")
    log.warning("worker.unreadable_runs", runs=len(unread), such_as=name, why=why)


async def refuse_foreign_fleet(client: Client, fleet: str, keys: Keys | None) -> None:
    """The same of the fleet's switch. Raises ``BadKey`` when ``keys`` do not read what its workflow carries, or what it
    was told. A signal that somebody forged keeps no worker from starting: what it has written itself, in its memo, can
    be read then."""
    handle = client.get_workflow_handle(fleet)
    try:
        described = await handle.describe(rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return
        raise
    if described.status is not WorkflowExecutionStatus.RUNNING:
        return  # it begins again with what its memo says, as far as that can be read
    carried: list[Payload] = []
    told: list[Payload] = []
    async for event in handle.fetch_history_events(page_size=EVENTS_LOOKED_AT):
        began = event.workflow_execution_started_event_attributes
        carried += began.input.payloads if began.continued_execution_run_id else []
        told += event.workflow_execution_signaled_event_attributes.input.payloads
        told += event.workflow_execution_update_accepted_event_attributes.accepted_request.input.args.payloads
        if event.event_id >= EVENTS_LOOKED_AT:
            break
    unread = [why for payload in carried if (why := _foreign(payload, keys))]
    unheard = [why for payload in told if (why := _foreign(payload, keys))]
    memo = described.raw_description.workflow_execution_info.memo.fields.values()
    if len(unheard) == len(told) or any(_foreign(payload, keys) for payload in memo):
        unread += unheard
    if unread:
        raise _bad_key(f"what the fleet's switch {fleet!r} has been told", f"it is {unread[0]}")


def _bad_key(what: str, why: str) -> BadKey:
    return BadKey(f"{what} cannot be read with {VARIABLE} as it is here: {why}; see docs/security.md")


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
