"""A worker is SIGKILLed while its request is with the provider, again and again: what is lost is charged."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal
from pathlib import Path

from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.testing import replay
from tests.billing import Reply, Request
from tests.runs import processes
from tests.runs.priced import billed
from tests.sizes import sized
from workflows.agent_run import AgentRun

KILLS = sized(3, 1)


async def test_what_was_billed_in_mid_call_is_charged_and_within_the_limit(temporal: Client, tmp_path: Path) -> None:
    address, queue = temporal.service_client.config.target_host, f"mid-call-{tmp_path.name}"

    def lost_with_its_worker(request: Request, n: int) -> Reply:
        return Reply(text="done", delay=1.0 if n < KILLS else 0.0)

    async with billed(lost_with_its_worker) as server:
        environment = {
            "OPENAI_BASE_URL": server.openai_url,
            "OPENAI_API_KEY": "test",
            "INTERLOCK_JOURNAL": str(tmp_path / "journal.db"),
        }
        agents, log = "tests.chaos.spenders", tmp_path / "worker.log"
        run = await Interlock(temporal, queue).start(AgentTask(agent="spender", input="ask", user_id=queue))
        for _ in range(KILLS):
            before = len(server.requests)
            async with processes.worker(address, agents, queue, log, **environment) as worker:
                for _ in range(300):
                    if len(server.requests) > before:
                        break
                    await asyncio.sleep(0.05)
                assert len(server.requests) == before + 1
                await processes.end(worker, signal.SIGKILL)
        async with processes.worker(address, agents, queue, log, **environment):
            result = await asyncio.wait_for(run.result(), 60)
        await replay(temporal, run.handle, AgentRun)
    # The answer was on its way when its worker died: nobody has it, so each kill buys it once more.
    assert server.bill.billed == KILLS + 1
    assert (result.outcome, result.usage.attempts) == ("completed", KILLS + 1)
    assert server.bill.usd <= result.usage.usd <= Decimal("0.25")
    assert result.usage.usd_unsettled > 0
