"""A fleet of worker processes on a real server, to be broken, and what ``FleetControl``'s history says of it."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.client import Run
from interlock.errors import BadRequest, InterlockError, NoWorker
from interlock.fleet import FleetView
from tests.runs import processes
from tests.warm import Warm


@dataclass
class Workers:
    """Worker processes on one queue, all serving one ``FleetControl``."""

    interlock: Interlock
    address: str
    agents: str
    log: Path
    environment: dict[str, str]
    running: list[Warm] = field(default_factory=list)

    async def add(self, number: int = 1) -> None:
        queue = self.interlock.queue
        begun = (
            processes.start_worker(self.address, self.agents, queue, self.log, **self.environment)
            for _ in range(number)
        )
        self.running += await asyncio.gather(*begun)

    async def kill(self, victim: Warm) -> None:
        self.running.remove(victim)
        await processes.end(victim, signal.SIGKILL)

    async def serving_fleet(self) -> Warm:
        """The worker whose sticky queue ``FleetControl`` is in, as far as its history tells."""
        last = ""
        handle = self.interlock.client.get_workflow_handle(self.interlock.fleet.id)
        async for event in handle.fetch_history_events():
            last = event.workflow_task_completed_event_attributes.identity or last
        return next(each for each in self.running if last.startswith(f"{each.pid}@"))


@asynccontextmanager
async def workers(
    interlock: Interlock, agents: str, number: int, directory: Path, **environment: str
) -> AsyncIterator[Workers]:
    """``number`` worker processes, SIGKILLed at the end. Their models are whatever this process is pointed at."""
    given = {
        "INTERLOCK_JOURNAL": str(directory / "journal.db"),
        "INTERLOCK_FLEET": interlock.fleet.id,
        **environment,
    }
    address = interlock.client.service_client.config.target_host
    fleet = Workers(interlock, address, agents, directory / "worker.log", given)
    try:
        await fleet.add(number)
        yield fleet
    finally:
        await asyncio.gather(*(processes.end(each, signal.SIGKILL) for each in fleet.running))


async def start(interlock: Interlock, agent: str, number: int, side_by_side: int = 8) -> list[Run]:
    """``number`` runs of ten users. A server that is busy is asked again: here that is no news."""
    limit = asyncio.Semaphore(side_by_side)

    async def one(index: int) -> Run:
        task = AgentTask(agent=agent, input=f"ask {index}", user_id=f"user-{index % 10}")
        name = f"{agent}-{index}-{secrets.token_hex(3)}"
        async with limit:
            while True:
                try:
                    return await interlock.start(task, id=name)
                except NoWorker:
                    continue
                except BadRequest:
                    return interlock.get(name)  # started all the same

    return list(await asyncio.gather(*(one(index) for index in range(number))))


async def probes(client: Client, fleet: str) -> int:
    """How many calls ``FleetControl`` has let try a dependency that was down. Of one execution: its latest."""
    found = 0
    async for event in client.get_workflow_handle(fleet).fetch_history_events():
        outcome = event.workflow_execution_update_completed_event_attributes.outcome
        for told in await client.data_converter.decode(list(outcome.success.payloads)):
            found += isinstance(told, dict) and told.get("granted") is True  # `configure` answers otherwise
    return found


async def view(interlock: Interlock) -> FleetView:
    """What the fleet's memo says, from a server that may be busy, or down for the moment."""
    while True:
        try:
            return await interlock.fleet.view()
        except InterlockError:
            await asyncio.sleep(0.2)
