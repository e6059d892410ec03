"""MCP servers for tests: real ones, over stdio and HTTP, and a directory of their own for each test."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from interlock import mcp
from interlock.mcp_server import McpServer
from tests.root import source_root

LIGHT = str(source_root() / "tests/mcp/light.py")


@dataclass
class Real:
    """The server of ``tests.mcp.server``, and what it has noted."""

    notes: Path

    def declared(self, **options: Any) -> McpServer:
        command = [sys.executable, "-m", "tests.mcp.server", str(self.notes)]
        return mcp(command, **{"name": "t", "cwd": str(source_root()), **options})

    def light(self, **options: Any) -> McpServer:
        """The one of ``tests/mcp/light.py`` in its place."""
        return mcp([sys.executable, LIGHT, str(self.notes)], **{"name": "t", **options})

    def noted(self, what: str = "") -> list[str]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line for line in lines if line.startswith(what)]

    async def seen(self, what: str, count: int = 1) -> list[str]:
        """Wait until it has noted something."""
        await until(lambda: len(self.noted(what)) >= count, f"{what!r} in {self.noted()}")
        return self.noted(what)


def hostile(what: str, *more: str, **options: Any) -> McpServer:
    """The server of ``tests/mcp/hostile.py``, which is up at once: it does ``what``."""
    return mcp([sys.executable, str(source_root() / "tests/mcp/hostile.py"), what, *more], **{"name": "h", **options})


async def until(condition: Callable[[], bool], what: str, seconds: float = 25) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def tester(tmp_path: Path) -> Real:
    return Real(tmp_path / "notes")


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


StartHttp = Callable[[int], Awaitable[Process]]


@pytest.fixture
async def start_http(tester: Real) -> AsyncIterator[StartHttp]:
    """``await start_http(port)``: the tester, over streamable HTTP."""
    started: list[Process] = []

    async def start(port: int) -> Process:
        command = (sys.executable, "-m", "tests.mcp.server", str(tester.notes), "--port", str(port))
        process = await create_subprocess_exec(*command, cwd=source_root(), stdout=DEVNULL, stderr=DEVNULL)
        started.append(process)
        deadline = time.monotonic() + 25
        while not await answers(port):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()
