"""Kill anything while it works, and the run still finishes."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.client import Run
from interlock.converter import data_converter
from interlock.embedded import free_port, start_server
from interlock.testing import replay
from tests.runs import processes
from tests.runs.survivors import TURNS
from workflows.agent_run import AgentRun

AGENTS = "tests.runs.survivors"


async def noted(log: Path, at_least: int) -> None:
    for _ in range(300):
        if log.exists() and len(log.read_text().splitlines()) >= at_least:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{log} did not get {at_least} lines")


async def check(client: Client, run: Run, log: Path) -> None:
    """Nothing lost: the answer is there, every number was noted, and under one key however often it was tried."""
    result = await asyncio.wait_for(run.result(), 60)
    await replay(client, run.handle, AgentRun)
    assert (result.outcome, result.output, result.steps) == ("completed", "all noted", TURNS + 1)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted({int(number) for number, _ in lines}) == list(range(TURNS))
    keys = {number: {key for n, key in lines if n == number} for number, _ in lines}
    assert all(len(each) == 1 for each in keys.values())
    assert len({key for _, key in lines}) == TURNS
    messages = (await Interlock(client).transcript(run.id)).messages
    assert Counter(message.role for message in messages) == {"user": 1, "assistant": TURNS + 1, "tool": TURNS}


async def test_a_worker_killed_in_the_middle_loses_nothing(temporal: Client, tmp_path: Path) -> None:
    address, log = temporal.service_client.config.target_host, tmp_path / "noted"
    environment = {"SURVIVORS_LOG": str(log)}
    queue = f"survival-{tmp_path.name}"
    run = await Interlock(temporal, queue).start(AgentTask(agent="survivor", input="note"))
    first = await processes.start_worker(address, AGENTS, queue, tmp_path / "worker.log", **environment)
    await noted(log, 4)
    assert await processes.end(first, signal.SIGKILL) == -signal.SIGKILL
    async with processes.worker(address, AGENTS, queue, tmp_path / "worker.log", **environment):
        await check(temporal, run, log)


async def test_a_worker_that_is_told_to_end_hands_over_and_exits_cleanly(temporal: Client, tmp_path: Path) -> None:
    address, log = temporal.service_client.config.target_host, tmp_path / "noted"
    environment = {"SURVIVORS_LOG": str(log)}
    queue = f"handover-{tmp_path.name}"
    run = await Interlock(temporal, queue).start(AgentTask(agent="survivor", input="note"))
    for number in (signal.SIGTERM, signal.SIGINT):
        process = await processes.start_worker(address, AGENTS, queue, tmp_path / "worker.log", **environment)
        await noted(log, 3)
        assert await asyncio.wait_for(processes.end(process, number), 20) == 0
    async with processes.worker(address, AGENTS, queue, tmp_path / "worker.log", **environment):
        await check(temporal, run, log)
    # Handed over, not broken off: no call was made twice.
    assert len(log.read_text().splitlines()) == TURNS


async def test_the_server_killed_and_started_again_on_its_file_loses_nothing(tmp_path: Path) -> None:
    port, database, log = free_port(), tmp_path / "temporal.db", tmp_path / "noted"
    server = await start_server(database=database, port=port, ui=False)
    try:
        client = await Client.connect(server.address, data_converter=data_converter())
        run = await Interlock(client, "server-killed").start(AgentTask(agent="survivor", input="note"))
        async with processes.worker(
            server.address, AGENTS, "server-killed", tmp_path / "worker.log", SURVIVORS_LOG=str(log)
        ):
            await noted(log, 4)
            await server.kill()
            await asyncio.sleep(0.5)
            server = await start_server(database=database, port=port, ui=False)
            await check(client, run, log)
    finally:
        await server.stop()
