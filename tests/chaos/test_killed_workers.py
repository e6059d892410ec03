"""Workers are SIGKILLed again and again while they spend; the provider's own bill is the truth."""

from __future__ import annotations

import asyncio
import random
import signal
from decimal import Decimal
from pathlib import Path

from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.testing import replay
from tests.billing import Reply, Request
from tests.chaos.spenders import ACCOUNT, TURNS
from tests.runs import processes
from tests.runs.priced import billed
from tests.runs.test_accounts import status
from tests.sizes import sized
from tests.warm import Warm
from workflows.agent_run import AgentRun

KILLS, RUNS = sized(6, 3), 4


def thinks(request: Request, n: int) -> Reply:
    if request.tools and request.turns < TURNS:
        return Reply(tool_calls=[("ponder", {"number": request.turns})], delay=0.03)
    return Reply(text="done", delay=0.03)


async def test_bill_charge_limit_whatever_worker_is_killed(temporal: Client, tmp_path: Path) -> None:
    address, queue = temporal.service_client.config.target_host, f"killed-{tmp_path.name}"
    chance = random.Random(20)
    interlock = Interlock(temporal, queue)
    async with billed(thinks) as server:
        journal = str(tmp_path / "journal.db")

        async def begin() -> Warm:
            return await processes.start_worker(
                address, "tests.chaos.spenders", queue, tmp_path / "worker.log", INTERLOCK_JOURNAL=journal
            )

        workers = list(await asyncio.gather(begin(), begin()))
        try:
            user = queue
            runs = [
                await interlock.start(AgentTask(agent="poor", input=f"task {number}", user_id=user))
                for number in range(RUNS)
            ]
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.1, 0.6))
                victim = chance.randrange(2)
                await processes.end(workers[victim], signal.SIGKILL)
                workers[victim] = await begin()
            results = [await asyncio.wait_for(run.result(), 120) for run in runs]
            for run in runs:
                await replay(temporal, run.handle, AgentRun)
            account = await status(temporal, f"poor:{user}")
        finally:
            for worker in workers:
                await processes.end(worker, signal.SIGKILL)
    charged = sum((result.usage.usd for result in results), Decimal(0))
    outcomes = [result.outcome for result in results]
    assert "completed" in outcomes
    assert any(f"account poor:{user}" in (result.reason or "") for result in results), "there was money for all"
    assert server.bill.usd <= charged == account.spent_usd <= ACCOUNT
    assert account.leases == 0
    # The goal is a quarter of a bill for each kill. When they come is chance, and of few kills one may cost two.
    extra = server.bill.billed - sum(result.usage.calls for result in results)
    assert extra <= max(2, KILLS / 2)
    print(f"{extra} extra bills for {KILLS} workers killed: {extra / KILLS:.2f} each")
