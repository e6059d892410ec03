"""A worker is SIGKILLed while its request is with the provider, again and again: what is lost is charged."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal
from pathlib import Path

from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.client import Run
from interlock.testing import replay
from tests.billing import Reply, Request
from tests.billing.server import BillingServer
from tests.runs import processes
from tests.runs.priced import billed
from tests.sizes import sized
from workflows.agent_run import AgentRun

KILLS = sized(3, 1)


async def requests(server: BillingServer, number: int) -> None:
    """Wait until so many have come."""
    await server.until(lambda server: len(server.requests) >= number, timeout=60)
    assert len(server.requests) == number


async def test_what_was_billed_in_mid_call_is_charged_and_within_the_limit(temporal: Client, tmp_path: Path) -> None:
    address, queue = temporal.service_client.config.target_host, f"mid-call-{tmp_path.name}"

    def lost_with_its_worker(request: Request, n: int) -> Reply:
        return Reply(text="done", delay=1.0 if n < KILLS else 0.0)

    async with billed(lost_with_its_worker) as server:
        journal = str(tmp_path / "journal.db")
        agents, log = "tests.chaos.spenders", tmp_path / "worker.log"
        run = await Interlock(temporal, queue).start(AgentTask(agent="spender", input="ask", user_id=queue))
        for _ in range(KILLS):
            before = len(server.requests)
            async with processes.worker(address, agents, queue, log, INTERLOCK_JOURNAL=journal) as worker:
                await requests(server, before + 1)
                await processes.end(worker, signal.SIGKILL)
        async with processes.worker(address, agents, queue, log, INTERLOCK_JOURNAL=journal):
            result = await asyncio.wait_for(run.result(), 120)
        await replay(temporal, run.handle, AgentRun)
    # The answer was on its way when its worker died: nobody has it, so each kill buys it once more.
    assert server.bill.billed == KILLS + 1
    assert (result.outcome, result.usage.attempts) == ("completed", KILLS + 1)
    assert server.bill.usd <= result.usage.usd <= Decimal("0.25")
    assert result.usage.usd_unsettled > 0


async def test_an_attempt_that_is_lost_after_an_operators_reset_is_charged_as_well(
    temporal: Client, tmp_path: Path
) -> None:
    """The server counts from 1 again, and the next attempt would take the one that is lost for the first."""
    address, queue = temporal.service_client.config.target_host, f"reset-{tmp_path.name}"

    def refuses_then_is_slow(request: Request, n: int) -> Reply:
        refusal = Reply(status=429, headers={"retry-after": "60"})
        return (refusal, Reply(text="lost", delay=30), Reply(text="done"))[n]

    async with billed(refuses_then_is_slow) as server:
        journal = str(tmp_path / "journal.db")
        agents, log = "tests.chaos.spenders", tmp_path / "worker.log"
        run = await Interlock(temporal, queue).start(AgentTask(agent="spender", input="ask", user_id=queue))
        async with processes.worker(address, agents, queue, log, INTERLOCK_JOURNAL=journal) as worker:
            await requests(server, 1)
            call = await refused(run)
            await processes.command(temporal, "activity", "reset", "-w", run.id, "--activity-id", call)
            await requests(server, 2)
            await processes.end(worker, signal.SIGKILL)
        async with processes.worker(address, agents, queue, log, INTERLOCK_JOURNAL=journal):
            result = await asyncio.wait_for(run.result(), 120)
        await replay(temporal, run.handle, AgentRun)
    assert server.bill.billed == 2
    assert (result.outcome, result.usage.attempts) == ("completed", 3)
    assert server.bill.usd <= result.usage.usd
    assert result.usage.usd_unsettled > 0


async def refused(run: Run) -> str:
    """The id of the run's call, once its first attempt is over and the next is put off."""
    while True:
        for pending in (await run.handle.describe()).raw_description.pending_activities:
            if pending.activity_type.name == "model" and pending.attempt == 2:
                return pending.activity_id
        await asyncio.sleep(0.05)
