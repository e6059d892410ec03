"""What does not decrypt wedges nobody: payloads that were forged, moved, altered or cut."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.converter import JSONProtoPayloadConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from interlock.client import Run
from interlock.contracts import RunStatus
from interlock.errors import RunFailed
from interlock.testing import replay
from tests.conftest import Serve
from tests.runs.loops import until
from tests.runs.sealed import eventually, quick, some_keys, waiting, with_keys
from tests.runs.sealed_workflows import Asker, echo
from workflows.agent_run import AgentRun

STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


def states(described: WorkflowExecutionDescription) -> list[PendingActivityState.ValueType]:
    return [each.state for each in described.raw_description.pending_activities]


def plain() -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=b'{"reason": "forged", "by": "mallory"}')


def reference(**claim: str) -> Payload:
    made = JSONProtoPayloadConverter().to_payload(
        ExternalStorageReference(driver_name="interlock.files", claim_data=claim)
    )
    assert made is not None
    return made


def marked(payload: Payload) -> Payload:
    payload.metadata["__temporal_external_storage_reference"] = b"true"
    return payload


async def sealed_for(client: Client, workflow: str) -> Payload:
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=workflow)
    [payload] = await client.data_converter.with_context(context).encode([{"reason": "moved", "by": "mallory"}])
    return payload


def altered(payload: Payload, **metadata: bytes) -> Payload:
    copy = Payload()
    copy.CopyFrom(payload)
    for name, value in metadata.items():
        copy.metadata[name.replace("_", "-")] = value
    if not metadata:
        copy.data = copy.data[:-1] + bytes([copy.data[-1] ^ 1])
    return copy


Forge = Callable[[Payload, Payload], Payload]

FORGED: dict[str, Forge] = {
    "plain": lambda mine, other: plain(),
    "moved from another workflow": lambda mine, other: other,
    "altered": lambda mine, other: altered(mine),
    "truncated": lambda mine, other: Payload(metadata=mine.metadata, data=mine.data[:5]),
    "an unknown key": lambda mine, other: altered(mine, encryption_key_id=b"0123456789abcdef"),
    "no key at all": lambda mine, other: altered(mine, encryption_key_id=b""),
    "bound to this workflow by hand": lambda mine, other: altered(
        other, interlock_bound=mine.metadata["interlock-bound"]
    ),
    "bound to nothing": lambda mine, other: altered(mine, interlock_bound=b"{}"),
    "bound to garbage": lambda mine, other: altered(mine, interlock_bound=b"[" * 100_000),
    "a tombstone": lambda mine, other: Payload(metadata={"encoding": b"interlock/unreadable"}, data=b"x" * 10_000),
    "no metadata": lambda mine, other: Payload(data=b"x"),
    "an encoding nobody knows": lambda mine, other: Payload(metadata={"encoding": b"\xff\xfe"}, data=b"x"),
    "a protobuf nobody knows": lambda mine, other: Payload(
        metadata={"encoding": b"json/protobuf", "messageType": b"no.Such"}, data=b"{}"
    ),
    "a reference without a seal": lambda mine, other: reference(sha256="0" * 64),
    "a reference with a forged seal": lambda mine, other: reference(sha256="0" * 64, seal="0123456789abcdef.00"),
    "a reference out of the store": lambda mine, other: reference(sha256="../../../../etc/passwd"),
    "a reference to no driver": lambda mine, other: Payload(
        metadata={"encoding": b"json/external-storage-reference"}, data=b'{"driver_name": "x"}'
    ),
    "a reference that is none": lambda mine, other: marked(plain()),
    "a reference that was altered": lambda mine, other: marked(altered(mine)),
}


async def test_a_forged_signal_is_ignored_and_counted_and_the_run_still_hears(
    kept: Path, temporal: Client, serve: Serve
) -> None:
    """With a worker that keeps nothing, so that each task reads all of them again."""
    client = with_keys(temporal, some_keys(), kept / "store")
    async with serve(waiting(), client=client, max_cached_workflows=0) as served:
        run = await served.start("waiting")
        await until(run, "tool.linger", 25)
        mine, other = await sealed_for(client, run.id), await sealed_for(client, "another")
        keyless = with_keys(temporal, None, kept / "store").get_workflow_handle(run.id)
        for count, (name, forge) in enumerate(FORGED.items(), 1):
            await keyless.signal("kill", RawValue(forge(mine, other)))
            status = await counted(run, count, name)
            assert status.state == "running", name
        await keyless.signal("kill", RawValue(mine))
        result = await served.end(run)
        assert (result.outcome, result.reason) == ("killed", "moved (by mallory)")


async def counted(run: Run, count: int, what: str) -> RunStatus:
    return await eventually(run.status, lambda found: found.ignored_signals == count, what)


async def test_a_forged_update_is_rejected(kept: Path, temporal: Client, serve: Serve) -> None:
    client = with_keys(temporal, some_keys(), kept / "store")
    async with serve(waiting(), client=client) as served:
        run = await served.start("waiting")
        await until(run, "tool.linger", 25)
        mine, other = await sealed_for(client, run.id), await sealed_for(client, "another")
        keyless = with_keys(temporal, None, kept / "store").get_workflow_handle(run.id)
        for forge in FORGED.values():
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await keyless.execute_update("extend", RawValue(forge(mine, other)))
            assert "cannot be read" in str(refused.value.cause)  # the refusal itself is encrypted
        await run.kill()
        assert (await served.end(run)).outcome == "killed"


@pytest.mark.parametrize("name", ["plain", "moved from another workflow", "a reference without a seal"])
async def test_a_task_that_is_a_tombstone_is_an_invalid_task(
    kept: Path, temporal: Client, serve: Serve, name: str
) -> None:
    client = with_keys(temporal, some_keys(), kept / "store")
    async with serve(quick(), client=client) as served:
        own = f"forged-{uuid.uuid4().hex[:8]}"
        payload = FORGED[name](await sealed_for(client, own), await sealed_for(client, "another"))
        keyless = with_keys(temporal, None, kept / "store")
        await keyless.start_workflow("AgentRun", RawValue(payload), id=own, task_queue=served.interlock.queue)
        handle = client.get_workflow_handle(own)
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), 25)
        cause = failed.value.cause
        assert isinstance(cause, ApplicationError)
        assert cause.type == "InvalidTask"
        assert "cannot be read: it " in cause.message
        assert "\n" not in cause.message
        await replay(client, handle, AgentRun)


async def test_a_forged_result_ends_the_run_and_does_not_wedge_it(kept: Path, temporal: Client, serve: Serve) -> None:
    """Anyone who reaches an open server can complete an activity."""
    client = with_keys(temporal, some_keys(), kept / "store")
    async with serve(waiting(), client=client) as served:
        run = await served.start("waiting")
        await until(run, "tool.linger", 25)
        described = await eventually(run.handle.describe, lambda found: STARTED in states(found))
        [pending] = described.raw_description.pending_activities
        mallory = with_keys(temporal, None, kept / "store").get_async_activity_handle(
            workflow_id=run.id, run_id=described.run_id, activity_id=pending.activity_id
        )
        await mallory.complete({"content": "forged", "seconds": 1})
        with pytest.raises(RunFailed, match="cannot be read: it is not encrypted"):
            await asyncio.wait_for(run.result(), 25)
        await replay(client, run.handle, AgentRun)


async def test_an_activity_that_is_given_a_tombstone_fails_at_once_in_one_line(kept: Path, temporal: Client) -> None:
    queue = f"sealed-{uuid.uuid4().hex[:8]}"
    client, keyless = with_keys(temporal, some_keys(), kept / "store"), with_keys(temporal, None, kept / "store")
    async with (
        Worker(keyless, task_queue=queue, workflows=[Asker]),
        Worker(client, task_queue=queue, activities=[echo]),
    ):
        handle = await keyless.start_workflow(Asker.run, "word", id=f"mixed-{uuid.uuid4().hex[:8]}", task_queue=queue)
        kind, said = await asyncio.wait_for(handle.result(), 25)
        assert kind == "Unreadable"
        assert said is not None
        assert said.startswith("what it says cannot be read: it is encrypted")
        history = await handle.fetch_history()
        attempts = [e.activity_task_started_event_attributes.attempt for e in history.events]
        assert max(attempts) == 1
        [failed] = [e for e in history.events if e.HasField("activity_task_failed_event_attributes")]
        error = await client.data_converter.decode_failure(failed.activity_task_failed_event_attributes.failure)
        assert isinstance(error, ApplicationError)
        assert error.message == "cannot be read: it is not encrypted, and INTERLOCK_ENCRYPTION_KEY is set"
