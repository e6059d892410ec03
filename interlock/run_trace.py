"""Reading a run's trace from its event history: live or closed, over all its executions, with the runs it started.

Needs no worker, and nothing that collects traces. ``interlock.spans`` makes the tree of what is read here.
"""

from __future__ import annotations

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from interlock.executions import oldest_execution, whole_history
from interlock.spans.facts import Heard
from interlock.spans.span import Span
from interlock.spans.tree import grow
from interlock.trace_calls import kind_of, why
from interlock.trace_events import Reader

DEPTH = 3
"""How deep runs that runs have started are read."""


async def trace_of(client: Client, id: str, first: str | None = None, depth: int = DEPTH) -> Span:
    """The trace of a run so far. Raises ``ValueError`` when its history does not say how it began.

    first  the run id of its first execution; without it, the newest run of that id"""
    reader = Reader(client.data_converter)
    first = first or await oldest_execution(client, id)
    async for event in whole_history(client, id, first):
        await reader.read(event)
    if reader.under_way:
        await _hear(client, id, reader)
    nested: dict[str, Span] = {}
    for began, (child, execution) in reader.started.items():
        if depth > 0 and execution and (span := await _nested(client, child, execution, depth - 1)) is not None:
            nested[began] = span
    return grow(reader.facts, nested)


async def _nested(client: Client, id: str, first: str, depth: int) -> Span | None:
    """The trace of a run that a run has started; ``None``: it is no longer there, or is something else."""
    try:
        return await trace_of(client, id, first, depth)
    except ValueError:
        return None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _hear(client: Client, id: str, reader: Reader) -> None:
    """What the server tells of the retries of calls under way: they are in history only when a call has ended."""
    described = await client.get_workflow_handle(id).describe()
    for pending in described.raw_description.pending_activities:
        known = pending.HasField("last_failure")
        lost = (kind_of(await why(client.data_converter, pending.last_failure)),) if known else ()
        key = reader.calls.id_of(pending.activity_id, model=pending.activity_type.name == "model")
        reader.facts.append(Heard(key, pending.attempt, lost))
