"""Runs the demonstration as its users do, as a process, and finds what it leaves running."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.root import source_root

PATIENCE = 90.0


@dataclass
class Ended:
    code: int
    out: str
    err: str


def environment(state: Path, **more: str) -> dict[str, str]:
    """Without keys: the offline model answers."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {**kept, "INTERLOCK_DEMO_STATE": str(state), **more}


@asynccontextmanager
async def begun(
    state: Path, *command: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(command or (sys.executable, "-m", "examples.demo")),
        cwd=source_root(),
        env=environment(state, **(env or {})),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for left in running(state):
            left.kill()


async def ended(process: asyncio.subprocess.Process) -> Ended:
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def demo(state: Path, *command: str, **env: str) -> Ended:
    """The whole demonstration, which must leave nothing running."""
    async with begun(state, *command, env=env) as process:
        result = await ended(process)
        assert running(state) == []
        return result


def running(state: Path) -> list[psutil.Process]:
    """Every process that was started with ``state`` in its environment: it is inherited, so none can hide."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("INTERLOCK_DEMO_STATE") == str(state) and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


async def worker_of(state: Path) -> psutil.Process:
    """The demonstration's worker, as soon as there is one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for process in running(state):
                try:
                    if any(part.endswith("worker.py") for part in process.cmdline()):
                        return process
                except psutil.Error:
                    continue
            await asyncio.sleep(0.05)
