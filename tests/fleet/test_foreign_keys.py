"""A switch that was told in one key, and workers that have another: they do not start, and say what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowHandle

from interlock import Agent
from interlock.cli.checks import fleet_switch
from interlock.errors import BadKey
from interlock.open_runs import refuse_foreign_fleet
from interlock.testing import ScriptedModel, say
from tests.conftest import Serve, Served
from tests.runs.sealed import some_keys, with_keys
from tests.until import until

AGENT = Agent(name="keyed", instructions="-", models=ScriptedModel("fleet-keyed", [say("hi")]).model)
KEYS = some_keys()


@pytest.fixture
async def told(serve: Serve, temporal: Client, tmp_path: Path) -> AsyncIterator[Served]:
    """A fleet whose workers have keys."""
    async with serve(AGENT, client=with_keys(temporal, KEYS, tmp_path / "store")) as served:
        yield served


async def heard(handle: WorkflowHandle[object, object], signals: int) -> None:
    """Wait until so many signals have been taken in."""

    async def taken() -> bool:
        events = [event async for event in handle.fetch_history_events()]
        signalled = [e for e in events if e.HasField("workflow_execution_signaled_event_attributes")]
        done = [e.event_id for e in events if e.HasField("workflow_task_completed_event_attributes")]
        return len(signalled) >= signals and done[-1] > signalled[signals - 1].event_id

    await until(taken)


async def test_a_worker_with_other_keys_does_not_start(told: Served, temporal: Client) -> None:
    fleet = told.interlock.fleet
    await refuse_foreign_fleet(temporal, "no-fleet-yet", None)
    await refuse_foreign_fleet(temporal, fleet.id, None)  # it has been told nothing
    await fleet.kill("user", "mallory", "looks stolen")
    await heard(fleet.client.get_workflow_handle(fleet.id), 1)
    await refuse_foreign_fleet(temporal, fleet.id, KEYS)
    for other in (None, some_keys()):
        with pytest.raises(BadKey, match=f"{fleet.id}.*encrypted with key {KEYS.first}; see docs/security.md"):
            await refuse_foreign_fleet(temporal, fleet.id, other)


async def test_one_report_of_a_worker_is_enough(told: Served, temporal: Client) -> None:
    """Of which nothing is in the memo."""
    fleet = told.interlock.fleet
    handle = fleet.client.get_workflow_handle(fleet.id)
    await handle.signal("report", {"worker": "w", "outcomes": [{"dependency": "d", "successes": 1}]})
    await heard(handle, 1)
    await refuse_foreign_fleet(temporal, fleet.id, KEYS)
    with pytest.raises(BadKey, match=KEYS.first):
        await refuse_foreign_fleet(temporal, fleet.id, None)


async def test_a_forged_signal_beside_others_keeps_nobody_from_starting(told: Served, temporal: Client) -> None:
    fleet = told.interlock.fleet
    await temporal.get_workflow_handle(fleet.id).signal("kill", {"scope": "all"})
    await fleet.kill("user", "mallory")
    await heard(fleet.client.get_workflow_handle(fleet.id), 2)
    await refuse_foreign_fleet(temporal, fleet.id, KEYS)


async def test_begun_anew_with_another_key_whoever_was_killed_still_is(
    serve: Serve, temporal: Client, tmp_path: Path
) -> None:
    """As docs/security.md says to do it."""
    async with serve(AGENT, client=with_keys(temporal, KEYS, tmp_path / "store")) as served:
        await served.interlock.fleet.kill("user", "mallory")
        await heard(served.client.get_workflow_handle(served.interlock.fleet.id), 1)
    fleet, other = served.interlock.fleet.id, some_keys()
    await temporal.get_workflow_handle(fleet).terminate()
    await refuse_foreign_fleet(temporal, fleet, other)
    async with serve(AGENT, client=with_keys(temporal, other, tmp_path / "store"), fleet=fleet) as served:
        assert "user:mallory" in (await served.interlock.fleet.view()).kills
        await served.interlock.fleet.release("user", "mallory")
        await refuse_foreign_fleet(temporal, fleet, other)


async def test_doctor_sees_a_switch_whose_task_fails(
    serve: Serve, temporal: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes of a worker that started in spite of all this."""
    async with serve(AGENT, client=with_keys(temporal, KEYS, tmp_path / "store")) as served:
        fleet = served.interlock.fleet
        for kill in (fleet.kill, fleet.release):
            await kill("user", "mallory")
            await heard(fleet.client.get_workflow_handle(fleet.id), 1)
        monkeypatch.setenv("INTERLOCK_FLEET", fleet.id)
        assert (await fleet_switch(temporal)).state != "failed"
    async with serve(AGENT, client=temporal, fleet=fleet.id) as served:
        await temporal.get_workflow_handle(fleet.id).signal("kill", {"scope": "user", "subject": "eve"})

        async def failed() -> bool:
            return await fleet.failing() > 2

        await until(failed)
        found = await fleet_switch(temporal)
    assert found.state == "failed"
    assert f"the task of {fleet.id} has failed" in found.found
    assert "docs/security.md" in found.remedy
    await temporal.get_workflow_handle(fleet.id).terminate()
