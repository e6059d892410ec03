"""A provider that never answers, worker processes whose calls it holds, and when it sees their connections closed.

Provider and killer live in one process, so that both read one clock. The server's push of cancellations is off: it is
an operator's to switch on, so nothing may depend on it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.client import Client

from benchmarks.server import SCRATCH
from interlock import Agent, AgentTask, Interlock, Limits, Price, Retry
from interlock.client import Run
from interlock.converter import data_converter
from interlock.embedded import start_server
from interlock.errors import BadRequest, NoWorker
from tests.billing import Reply, Request
from tests.billing.server import BillingServer

NO_PUSH: dict[str, object] = {
    "frontend.WorkerCommandsEnabled": False,
    "system.enableCancelActivityWorkerCommand": False,
}
QUEUE, FLEET = "bench-kill", "bench-kill-fleet"
SILENT, BUSY, DOWN = "openai-chat:silent", "openai-chat:busy", "openai-chat:down"


def _agent(name: str, model: str) -> Agent:
    return Agent(
        name=name,
        instructions="Answer.",
        models=model,
        prices={model: Price(input="1", output="1")},
        limits=Limits(step_seconds=3000, seconds=3000),
        retry=Retry(attempts=100, initial=0.1, maximum=1.0),
        max_output_tokens=100,
        ladder=("notice",),
    )


# silent: its call is in flight. busy: its call is in back-off. down: it is parked at an open breaker.
silent, busy, down = _agent("silent", SILENT), _agent("busy", BUSY), _agent("down", DOWN)


def behaviour(request: Request, n: int) -> Reply:
    match request.model:
        case "busy":
            # Spread, so that at every moment some of them are about to ask again.
            return Reply(status=429, headers={"retry-after": str(random.randint(20, 60))})
        case "down":
            return Reply(status=500, error="down")
        case _:
            return Reply(hang=True)


@dataclass
class Silent:
    """Everything that one measurement needs. ``requests``: those in flight, by the text of their run's task."""

    interlock: Interlock
    plain: Client
    provider: BillingServer
    started: dict[str, Run] = field(default_factory=dict)

    def in_flight(self) -> dict[str, Request]:
        pending = (r for r in self.provider.requests if r.closed_at is None and r.model == "silent")
        return {request.messages[0].text: request for request in pending}

    async def start(self, agent: str, number: int, user: str | None = None, side_by_side: int = 8) -> list[str]:
        """Runs, by the texts of their tasks. A server that is busy is asked again."""
        limit = asyncio.Semaphore(side_by_side)

        async def one() -> str:
            text = f"{agent}-{secrets.token_hex(6)}"
            task = AgentTask(agent=agent, input=text, user_id=user or f"user-{secrets.token_hex(4)}")
            async with limit:
                while text not in self.started:
                    try:
                        self.started[text] = await self.interlock.start(task, id=text)
                    except NoWorker:
                        continue
                    except BadRequest:
                        self.started[text] = self.interlock.get(text)
            return text

        return list(await asyncio.gather(*(one() for _ in range(number))))

    async def fly(self, number: int, user: str | None = None) -> list[str]:
        """Start runs, and wait until the provider holds a request of each."""
        texts = await self.start("silent", number, user)
        await self.until(lambda: self.in_flight().keys() >= set(texts))
        return texts

    async def closed(self, requests: Iterable[Request], since: float) -> list[float]:
        """Wait until the provider has seen each one's connection closed: milliseconds after ``since``."""
        waiting = list(requests)
        await self.until(lambda: all(each.closed_at is not None for each in waiting))
        return [round((each.closed_at - since) * 1000, 3) for each in waiting if each.closed_at is not None]

    async def until(self, condition: Callable[[], bool], seconds: float = 600.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)

    async def none_left(self, user: str | None = None) -> None:
        """Wait until the index knows of no open run, of one user or of all."""
        while True:
            count = self.interlock.fleet.open_runs
            if await (count("user", user) if user else count("all")) == 0:
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def held(workers: int) -> AsyncIterator[Silent]:
    """A server with its database in memory, a silent provider, and so many worker processes."""
    SCRATCH.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=SCRATCH)))
        server = await start_server(ui=False, config=NO_PUSH)
        stack.push_async_callback(server.stop)
        provider = await stack.enter_async_context(BillingServer(behaviour))
        ours = await Client.connect(server.address, data_converter=data_converter(scratch / "store"))
        plain = await Client.connect(server.address)
        for _ in range(workers):
            await stack.enter_async_context(_worker(server.address, provider.openai_url, scratch))
        yield Silent(Interlock(ours, QUEUE, FLEET), plain, provider)


@asynccontextmanager
async def _worker(address: str, openai_url: str, scratch: Path) -> AsyncIterator[Process]:
    """A worker process; returns when it serves."""
    root = Path(__file__).parent.parent
    settings = {
        "TEMPORAL_ADDRESS": address,
        "INTERLOCK_FLEET": FLEET,
        "INTERLOCK_LOG": "json",
        "INTERLOCK_JOURNAL": str(scratch / "journal.db"),
        "INTERLOCK_STORE": str(scratch / "store"),
        "OPENAI_BASE_URL": openai_url,
        "OPENAI_API_KEY": "none",
        "PYTHONPATH": str(root),
    }
    log = scratch / f"worker-{secrets.token_hex(4)}.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "worker.py", "--agents", "benchmarks.silent", "--task-queue", QUEUE),
            cwd=root,
            env={**os.environ, **settings},
            stdout=out,
            stderr=out,
        )
    try:
        while "worker.started" not in log.read_text():
            if process.returncode is not None:
                raise RuntimeError(f"a worker ended with {process.returncode}: {log.read_text()[:2000]}")
            await asyncio.sleep(0.1)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
