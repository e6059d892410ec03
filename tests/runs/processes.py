"""Workers and servers as processes of their own, to be killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from interlock.embedded import server_binary
from tests import warm
from tests.warm import Warm


async def start_worker(
    address: str, agents: str, queue: str, log: Path, *, flags: Sequence[str] = (), **environment: str
) -> Warm:
    """A worker; returns when it serves."""
    log.touch()
    process = warm.begin(
        "worker.py",
        ("--agents", agents, "--task-queue", queue, *flags),
        environment={
            **os.environ,
            "TEMPORAL_ADDRESS": address,
            "INTERLOCK_LOG": "json",
            "INTERLOCK_FLEET": f"fleet-{queue}",
            **environment,
        },
        out=log,
        err=log,
    )
    for _ in range(900):
        started = f'"pid": {process.pid}'
        if any("worker.started" in line and started in line for line in log.read_text().splitlines()):
            return process
        if process.returncode is not None:
            raise AssertionError(f"the worker ended with {process.returncode}: {log.read_text()}")
        await asyncio.sleep(0.1)
    await end(process, signal.SIGKILL)
    raise AssertionError(f"the worker did not start: {log.read_text()}")


async def end(process: Warm, number: signal.Signals = signal.SIGTERM) -> int:
    if process.returncode is None:
        process.send_signal(number)
    return await process.wait()


@asynccontextmanager
async def worker(address: str, agents: str, queue: str, log: Path, **environment: str) -> AsyncIterator[Warm]:
    process = await start_worker(address, agents, queue, log, **environment)
    try:
        yield process
    finally:
        await end(process, signal.SIGKILL)


async def command(client: Client, *arguments: str) -> str:
    """The real ``temporal`` command."""
    process = await asyncio.create_subprocess_exec(
        str(server_binary()), *arguments, "--address", client.service_client.config.target_host,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out.decode()
    return out.decode()
