"""A worker that does not hear of the switch lets nothing out, and goes on when it does."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import PendingActivityState

from activities.gate import Asker, Gate
from activities.mirror import Mirror
from activities.reports import Reports
from interlock import Agent, Price, Retry, tool
from interlock.contracts import BreakerSettings
from interlock.errors import Failure
from interlock.testing import ScriptedModel, call, say
from tests.chaos.parked import patient
from tests.chaos.servers import restartable
from tests.conftest import Serve, Served
from tests.fleet.environment import in_state, waiting_for


async def until(mirror: Mirror, *, blind: bool) -> None:
    while mirror.blind is not blind:
        await asyncio.sleep(0.05)


async def silent(served: Served, seconds: float) -> None:
    """Wait until the switch has said nothing for so long: on a busy machine what it was told last takes a moment."""
    handle = served.client.get_workflow_handle(served.interlock.fleet.id)
    before = 0
    while (now := (await handle.describe()).history_length) != before:
        before = now
        await asyncio.sleep(seconds)


async def refused(gate: Gate) -> str:
    with pytest.raises(Failure) as failure:
        await let_out(gate)
    return failure.value.kind


async def let_out(gate: Gate) -> None:
    """Raises before the block when the gate lets nothing out."""
    async with gate.admit("model", Asker("run", "ada", datetime.now(UTC)), seconds=10):
        pass


async def test_a_run_waits_for_a_worker_that_hears_of_the_switch(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle server says nothing for longer than this worker's mirror is patient, and any change is news."""
    monkeypatch.setenv("INTERLOCK_MIRROR_MAX_AGE", "0.5")
    resting, rested = asyncio.Event(), asyncio.Event()

    # By its own gate, a tool's call may wait as well.
    @tool(effect="read", retry=Retry(attempts=100, initial=0.05, maximum=0.2))
    async def rest() -> str:
        """Rest."""
        resting.set()
        await rested.wait()
        return "rested"

    model = ScriptedModel("resting", [call("rest"), say("done")], Price(input="1", output="1"))
    once = Agent(name="once", instructions="", models=model.model, tools=[rest], retry=Retry(attempts=1))
    async with serve(once) as served:

        async def change() -> None:
            for number in itertools.cycle((7, 8)):
                await served.interlock.fleet.configure(BreakerSettings(failure_threshold=number))
                await asyncio.sleep(0.1)

        await silent(served, 0.8)
        run = await served.start("once")
        await waiting_for(run, PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED, 2)
        changing = asyncio.create_task(change())
        await resting.wait()
        changing.cancel()
        await silent(served, 0.8)
        rested.set()
        await in_state(run, "waiting_breaker")
        changing = asyncio.create_task(change())
        result = await served.end(run)
        changing.cancel()
    assert (result.outcome, result.output, result.usage.usd_unsettled) == ("completed", "done", Decimal(0))


async def test_a_blind_mirror_lets_nothing_out(tmp_path: Path, serve: Serve) -> None:
    async with restartable(tmp_path) as server, serve(patient, client=server.client) as served:
        fleet = served.interlock.fleet.id
        mirror = Mirror(server.client, fleet, max_age=1.0)
        gate = Gate(mirror, Reports(server.client, fleet, "here"))
        await mirror.start()
        try:
            await let_out(gate)
            await server.kill()
            await until(mirror, blind=True)
            assert await refused(gate) == "FleetUnreachable"
            await server.begin()
            await until(mirror, blind=False)
            await let_out(gate)
        finally:
            await mirror.stop()
