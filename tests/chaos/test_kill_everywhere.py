"""A kill ends a run in whatever condition it is, and no request leaves after a worker has seen it.

By a plain Temporal client's ``kill`` where a run can hear one; by the ladder of ``Run.kill`` where it cannot. The
provider's own books say what was sent, and every run that ended in order is replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest, UnpauseWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from interlock import Account, Agent, AgentResult, AgentTask, Interlock, Price
from interlock.accounts import ledger_id
from interlock.client import Run
from interlock.contracts import BreakerSettings
from interlock.errors import RunFailed
from interlock.killing import CANCEL_PATIENCE, SIGNAL_PATIENCE
from interlock.queues import Limits
from interlock.testing import Say, ScriptedModel, replay, temporal_server
from tests.billing import Reply, Request
from tests.billing.behaviours import always
from tests.billing.server import BillingServer
from tests.chaos.fleets import Workers, start, workers
from tests.chaos.incompatible import Incompatible
from tests.chaos.parked import patient, stubborn
from tests.chaos.servers import restartable
from tests.conftest import Serve, Served
from tests.fleet.environment import in_flight, in_state, waiting_for
from tests.runs.priced import billed
from tests.sizes import sized
from tests.until import until
from worker import serving
from workflows.agent_run import AgentRun

KILL = {"reason": "enough", "by": "ops"}
SLOTS = sized(200, 20)
"""Calls that the worker runs side by side: as many as it does by itself, or fewer by its flag."""


async def killed(served: Served, run: Run) -> AgentResult:
    """Kill it as any Temporal client would; its result."""
    plain = await Client.connect(served.client.service_client.config.target_host)
    await plain.get_workflow_handle(run.id).signal("kill", KILL)
    result = await asyncio.wait_for(served.end(run), 60)
    assert (result.outcome, result.reason) == ("killed", "enough (by ops)")
    return result


# -- one run, in each condition --------------------------------------------------------------------------------


async def test_in_flight(serve: Serve) -> None:
    async with billed(always(Reply(hang=True))) as provider, serve(patient) as served:
        run = await served.start("patient")
        await provider.until(lambda server: len(server.requests) == 1)
        result = await killed(served, run)
        await provider.until(lambda server: server.requests[0].closed_at is not None)
        assert result.kill_report is not None
        assert [call.tool for call in result.kill_report.unknown] == ["model"]
    assert len(provider.requests) == 1


async def test_in_back_off(serve: Serve) -> None:
    async with billed(always(Reply(status=429, headers={"retry-after": "5"}))) as provider, serve(stubborn) as served:
        run = await served.start("stubborn")
        await waiting_for(run, PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED, 2)
        seen = len(provider.requests)
        result = await killed(served, run)
        await asyncio.sleep(6)  # when it would have been tried again
        assert result.kill_report is not None
    assert len(provider.requests) == seen


async def test_paused(serve: Serve) -> None:
    asks = Reply(tool_calls=[("look", {"number": 1})], delay=1.0)
    async with billed(always(asks)) as provider, serve(patient) as served:
        run = await served.start("patient")
        await provider.until(lambda server: len(server.requests) == 1)
        await run.pause("wait", "ops")
        await in_state(run, "paused")
        await killed(served, run)
    assert len(provider.requests) == 1


async def test_parked_at_a_breaker(serve: Serve) -> None:
    async with billed(always(Reply(status=500, error="down"))) as provider, serve(patient) as served:
        await served.interlock.fleet.configure(BreakerSettings(failure_threshold=1, recovery_seconds=5))
        run = await served.start("patient")
        await in_state(run, "waiting_breaker")
        seen = len(provider.requests)
        [breaker] = (await served.interlock.fleet.view()).breakers.values()
        assert breaker.retry_at is not None
        await killed(served, run)
        left = breaker.retry_at - datetime.now(UTC)
        await asyncio.sleep(max(0.0, left.total_seconds()) + 1)  # when it would have been tried again
    assert len(provider.requests) == seen == 1


async def test_with_every_slot_taken(serve: Serve) -> None:
    """Runs that wait for a slot end before they had one, and what gets a slot afterwards is let nowhere."""
    limits = sized(Limits(), Limits(model_calls=SLOTS))
    async with billed(always(Reply(hang=True))) as provider, serve(stubborn, limits=limits) as served:
        runs = await start(served.interlock, "stubborn", SLOTS)
        await provider.until(lambda server: len(server.requests) == SLOTS, timeout=120)
        queued = await start(served.interlock, "stubborn", 10)
        await killed(served, queued[0])
        await served.interlock.fleet.kill("all", reason="enough", by="ops")
        results = await asyncio.gather(*(asyncio.wait_for(run.result(), 120) for run in [*runs, *queued]))
        for run in [runs[0], *queued]:
            await replay(served.client, run.handle, AgentRun)
    assert {result.outcome for result in results} == {"killed"}
    assert len(provider.requests) == SLOTS
    assert all(request.closed_at is not None for request in provider.requests)


async def test_before_its_delayed_start(serve: Serve) -> None:
    """A signal does not wake it, a cancellation does; it had been killed by then."""
    async with billed(always(Reply(text="done"))) as provider, serve(patient) as served:
        handle: Any = await served.client.start_workflow(
            "AgentRun",
            AgentTask(agent="patient", input="later"),
            id=f"later-{served.interlock.queue}",
            task_queue=served.interlock.queue,
            result_type=AgentResult,
            start_delay=timedelta(hours=1),
        )
        run = Run(handle, served.interlock.fleet)
        assert await run.kill("enough", "ops") == "cancel"
        result = await served.end(run)
        assert (result.outcome, result.reason) == ("killed", "enough (by ops)")
    assert provider.requests == []


# -- runs that cannot hear --------------------------------------------------------------------------------------


async def test_whose_workflow_task_keeps_failing(serve: Serve, temporal: Client) -> None:
    async with billed(always(Reply(hang=True))) as provider:
        async with serve(patient, grace=timedelta(0)) as served:
            interlock = served.interlock
            run = await served.start("patient")
            await provider.until(lambda server: len(server.requests) == 1)
        async with Worker(temporal, task_queue=interlock.queue, workflows=[Incompatible]):
            assert await run.kill("enough", "ops") == "terminate"
        described = await run.handle.describe()
        assert described.status is WorkflowExecutionStatus.TERMINATED
        assert len(provider.requests) == 1
        async with serving(temporal, [patient], queue=interlock.queue, fleet=interlock.fleet.id):
            assert f"run:{run.id}" in (await interlock.fleet.view()).kills
    assert len(provider.requests) == 1


async def test_that_has_taken_its_signals(serve: Serve) -> None:
    """A server that takes 20 signals a run instead of 10,000: the 21st is a kill, and a cancellation follows it. And
    meanwhile: runs that Temporal's own command has paused, which the client library cannot even describe."""
    config = {"history.maximumSignalsPerExecution": 20, "frontend.WorkflowPauseEnabled": True}
    async with (
        temporal_server(config=config) as environment,
        billed(always(Reply(hang=True))) as provider,
        serve(patient, client=environment.client) as served,
    ):
        run = await served.start("patient")
        await provider.until(lambda server: len(server.requests) == 1)
        for number in range(20):
            await run.steer(f"more {number}")
        paused = [await served.start("patient", user_id=user) for user in ("bob", "ada")]
        await provider.until(lambda server: len(server.requests) == 3)
        for each in paused:
            await paused_by_temporal(each)
        rungs = asyncio.gather(run.kill("enough", "ops"), paused[0].kill("enough", "ops"))
        await served.interlock.fleet.kill("user", "ada", "enough", "ops")
        assert tuple(await rungs) == ("cancel", "terminate")
        await provider.until(lambda server: all(each.closed_at is not None for each in server.requests))
        result = await served.end(run)
        assert result.outcome in ("killed", "cancelled")
        with pytest.raises(RunFailed, match="killed: user ada: enough"):
            await paused[1].result()
        assert (await paused[1].handle.describe()).status is WorkflowExecutionStatus.TERMINATED
        await until(lambda: _none_is_open(served, "ada"))
    assert len(provider.requests) == 3


async def _none_is_open(served: Served, user: str) -> bool:
    return await served.interlock.fleet.open_runs("user", user) == 0


async def test_whose_account_answers_late() -> None:
    """A sweep gives a run that has heard the time to settle: terminated, it would have no result."""
    turns = [Say(text="late", delay=60)]
    payer = Agent(
        name="payer",
        instructions="-",
        models=ScriptedModel("payer", turns, Price(input="10", output="10")).model,
        accounts=[Account("late", usd="1", window="total")],
    )
    async with (
        temporal_server(config={"frontend.WorkflowPauseEnabled": True}) as environment,
        serving(environment.client, [payer], queue="payers", fleet="fleet-of-payers"),
    ):
        served = Served(Interlock(environment.client, "payers", "fleet-of-payers"))
        run, ledger = await served.start("payer", user_id="ada"), ledger_id("late")
        await in_flight(run, "model")
        await environment.client.workflow_service.pause_workflow_execution(
            PauseWorkflowExecutionRequest(namespace="default", workflow_id=ledger, reason="a look")
        )
        await served.interlock.fleet.kill("user", "ada", "enough", "ops")
        await asyncio.sleep(SIGNAL_PATIENCE + CANCEL_PATIENCE + 3)
        await environment.client.workflow_service.unpause_workflow_execution(
            UnpauseWorkflowExecutionRequest(namespace="default", workflow_id=ledger, reason="enough of it")
        )
        assert (await served.end(run)).outcome == "killed"
        assert (await served.interlock.account("late").status()).leased_usd == 0


async def paused_by_temporal(run: Run) -> None:
    client = run.handle._client
    request = PauseWorkflowExecutionRequest(namespace=client.namespace, workflow_id=run.id, reason="a look")
    await client.workflow_service.pause_workflow_execution(request)
    with pytest.raises(ValueError, match="not a valid WorkflowExecutionStatus"):
        await run.handle.describe()


# -- while things break -----------------------------------------------------------------------------------------


def mixed(request: Request, n: int) -> Reply:
    """Every other run is in flight for ever, the rest in back-off."""
    index = int(request.messages[0].text.rpartition(" ")[2])
    return Reply(hang=True) if index % 2 else Reply(status=429, headers={"retry-after": "1"})


RUNS = sized(40, 6)


async def all_killed(interlock: Interlock, directory: Path, breaking: Callable[[Workers], Awaitable[None]]) -> None:
    """Kill everything, and break something at once. After the last worker has dropped its calls none sends any."""
    async with billed(mixed) as provider, workers(interlock, "tests.chaos.parked", 2, directory) as fleet:
        runs = await start(interlock, "stubborn", RUNS)
        await provider.until(
            lambda server: len(hanging(server)) == RUNS // 2 and len(server.requests) >= RUNS, timeout=120
        )
        held = hanging(provider)
        await interlock.fleet.kill("all", reason="enough", by="ops")
        await breaking(fleet)
        outcomes = await asyncio.gather(*(asyncio.wait_for(outcome(run), 120) for run in runs))
        await provider.until(lambda server: not hanging(server))
        for run in runs[:5]:
            await replay(interlock.client, run.handle, AgentRun)
    assert set(outcomes) <= {"killed", "killed: everything: enough (by ops)"}
    seen = max(request.closed_at or 0.0 for request in held)
    # What had left just before is still on its way.
    assert [late for each in provider.requests if (late := each.at - seen) > 1.0] == []


async def outcome(run: Run) -> str:
    """A run whose tasks are with nobody for the ladder's eight seconds, as what breaks can have it, is terminated."""
    try:
        return (await run.result()).outcome
    except RunFailed as failed:
        return str(failed).partition(": ")[2]


def hanging(server: BillingServer) -> list[Request]:
    odd = (each for each in server.requests if mixed(each, 0).hang)
    return [each for each in odd if each.closed_at is None]


async def test_with_the_worker_of_the_switch_killed(temporal: Client, tmp_path: Path) -> None:
    async def breaking(fleet: Workers) -> None:
        await fleet.kill(await fleet.serving_fleet())

    queue = f"kill-{tmp_path.name}"
    await all_killed(Interlock(temporal, queue, f"fleet-{queue}"), tmp_path, breaking)


async def test_with_the_server_killed(tmp_path: Path) -> None:
    async with restartable(tmp_path) as server:

        async def breaking(fleet: Workers) -> None:
            await server.restart()

        await all_killed(Interlock(server.client, "kill", "fleet-kill"), tmp_path, breaking)
