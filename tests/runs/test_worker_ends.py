"""A worker that is told to end does, whatever its tools do."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from temporalio.client import Client

from interlock import AgentTask, Interlock
from tests.fleet.environment import in_flight
from tests.runs import processes


@pytest.mark.parametrize(("agent", "code"), [("deaf", 1), ("blocking", 0)])
async def test_with_a_call_that_does_not(temporal: Client, tmp_path: Path, agent: str, code: int) -> None:
    address, queue, log = temporal.service_client.config.target_host, f"ends-{tmp_path.name}", tmp_path / "log"
    run = await Interlock(temporal, queue).start(AgentTask(agent=f"calls_{agent}", input=tmp_path.name))
    process = await processes.start_worker(address, "tests.runs.unending", queue, log, flags=("--grace", "0.5"))
    try:
        await in_flight(run, f"tool.{agent}")
        assert await asyncio.wait_for(processes.end(process, signal.SIGTERM), 60) == code
    finally:
        process.kill()
    assert ("worker.gave_up" in log.read_text()) == (code == 1)
    await run.kill()
