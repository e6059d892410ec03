"""An answer that was paid for and could not be reported is not bought again."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from pathlib import Path

from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.converter import data_converter
from interlock.embedded import start_server
from interlock.testing import replay
from tests.billing import Reply
from tests.billing.behaviours import always
from tests.runs import processes
from tests.runs.priced import billed
from workflows.agent_run import AgentRun


def journaled(path: Path) -> int:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
        count: int = journal.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
    return count


async def test_the_next_attempt_takes_the_paid_answer_from_the_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    server = await start_server(database=tmp_path / "temporal.db", ui=False)
    try:
        async with billed(always(Reply(text="the answer", delay=0.4))) as provider:
            agents, log = "tests.chaos.spenders", tmp_path / "worker.log"
            client = await Client.connect(server.address, data_converter=data_converter())
            first = await processes.start_worker(server.address, agents, "paid", log, INTERLOCK_JOURNAL=str(journal))
            run = await Interlock(client, "paid").start(AgentTask(agent="spender", input="ask once"))
            await provider.until(lambda provider: bool(provider.requests))
            server.process.send_signal(signal.SIGSTOP)  # nobody can be told of the answer that is on its way
            async with asyncio.timeout(60):
                while not journaled(journal):
                    await asyncio.sleep(0.05)
            assert journaled(journal) == 1
            await processes.end(first, signal.SIGKILL)
            server.process.send_signal(signal.SIGCONT)
            async with processes.worker(server.address, agents, "paid", log, INTERLOCK_JOURNAL=str(journal)):
                result = await asyncio.wait_for(run.result(), 120)
            await replay(client, run.handle, AgentRun)
        assert (result.outcome, result.output) == ("completed", "the answer")
        assert provider.bill.billed == len(provider.requests) == 1
        assert result.usage.usd == provider.bill.usd
        assert result.usage.usd_unsettled == 0
    finally:
        server.process.send_signal(signal.SIGCONT)
        await server.stop()
