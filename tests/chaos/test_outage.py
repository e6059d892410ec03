"""The provider answers 500 to everybody for ten minutes, of which each lasts a second and a half here (``make test``:
for a quarter of them, to a twenty-fifth of the runs).

Two hundred runs on three worker processes: what reaches the provider is what it takes to notice, and then one
request for each recovery window, one at a time. When it answers again every run completes. The same with a worker
or the server SIGKILLed in the middle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest
from temporalio.client import Client

from interlock import Interlock
from interlock.contracts import BreakerSettings
from interlock.testing import replay
from tests.billing import Reply, Request
from tests.chaos.fleets import Workers, probes, start, view, workers
from tests.chaos.servers import restartable
from tests.runs.priced import GOOD, billed
from tests.sizes import sized
from workflows.agent_run import AgentRun
from workflows.fleet_control import FleetControl

RUNS, WORKERS = sized(200, 8), sized(3, 2)
SCALE = 40
OUTAGE = sized(600, 160) / SCALE
# The defaults, with a cap of 160 s on the time between two tries; and however busy the machine is, it is not taken for
# a slow provider.
SETTINGS = BreakerSettings(failure_threshold=5, recovery_seconds=30 / SCALE, recovery_max=160 / SCALE, slow_seconds=60)


@dataclass
class Provider:
    """Fails until ``answers``. ``side_by_side``: for each request, how many were on the wire when it came, itself
    among them; ``good``: which of them was the first to be answered, once it has left."""

    answers: bool = False
    flying: int = 0
    side_by_side: list[int] = field(default_factory=list)
    good: int | None = None
    answered: bool = False

    async def __call__(self, request: Request, n: int) -> Reply:
        self.flying += 1
        self.side_by_side.append(self.flying)
        first = self.answers and self.good is None
        if first:
            self.good = n
        try:
            # The first good answer takes a while: nobody may come beside it.
            await asyncio.sleep(1.0 if first else 0.1)
        finally:
            self.flying -= 1
        if self.good is None or n < self.good:
            return Reply(status=500, error="internal server error")
        self.answered = True
        return Reply(text="done")


Breaking: TypeAlias = Callable[[Workers], Awaitable[None]]


async def nothing(fleet: Workers) -> None:
    """Only the outage."""


async def the_fleets_worker(fleet: Workers) -> None:
    await fleet.kill(await fleet.serving_fleet())


async def outage(interlock: Interlock, directory: Path, breaking: Breaking) -> None:
    provider = Provider()
    client, control = interlock.client, interlock.fleet
    async with (
        billed(provider) as server,
        workers(interlock, "tests.chaos.parked", WORKERS, directory) as fleet,
    ):
        await control.configure(SETTINGS)
        runs = await start(interlock, "patient", RUNS)
        await server.until(lambda server: len(server.requests) >= SETTINGS.failure_threshold)
        await until(interlock, closed=False)
        began = server.requests[0].at
        opened = time.monotonic()
        await asyncio.sleep(OUTAGE / 3)  # what had left before its worker heard of it has come back
        noticed = len(server.requests)
        await breaking(fleet)
        await asyncio.sleep(max(0.0, opened + OUTAGE - time.monotonic()))
        await server.until(lambda server: len(server.requests) > noticed, timeout=120)  # it was tried since
        provider.answers = True
        results = await asyncio.gather(*(asyncio.wait_for(run.result(), sized(1200, 200)) for run in runs))
        await until(interlock, closed=True)
        for run in runs[:: RUNS // 5]:
            await replay(client, run.handle, AgentRun)
        await replay(client, client.get_workflow_handle(control.id), FleetControl)
        tries = await probes(client, control.id)
    assert {result.outcome for result in results} == {"completed"}
    assert provider.good is not None
    failed, ended = provider.good, server.requests[provider.good].at
    print(f"{failed} requests in {ended - began:.1f} s of outage, {noticed} until all knew; {tries} windows")
    # The last try was the one that succeeded; each window before it let one request through.
    assert failed <= SETTINGS.failure_threshold * WORKERS + tries - 1
    assert tries <= windows(ended - began)
    assert tries >= 2  # it did try, and fail, while it was down
    # One at a time, while it was half open: those that failed, and the one that closed it.
    assert set(provider.side_by_side[noticed : failed + 1]) == {1}
    assert first_beside(provider, server.requests, ended) == []
    assert len(server.requests) - failed == RUNS


def first_beside(provider: Provider, requests: list[Request], good: float) -> list[float]:
    """When requests came while the probe that succeeded was still on the wire: seconds after it."""
    assert provider.good is not None
    return [late for each in requests[provider.good + 1 :] if (late := each.at - good) < 1.0]


def windows(seconds: float) -> int:
    """How many times a breaker that opened at once may be tried in so many seconds, by its settings."""
    tries, wait, at = 0, SETTINGS.recovery_seconds, 0.0
    while (at := at + wait) <= seconds:
        tries, wait = tries + 1, min(wait * SETTINGS.recovery_factor, SETTINGS.recovery_max)
    return tries


async def until(interlock: Interlock, *, closed: bool) -> None:
    while ((await view(interlock)).breaker(GOOD).state == "closed") is not closed:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("breaking", sized([nothing, the_fleets_worker], [the_fleets_worker]))
async def test_an_outage_costs_the_threshold_and_one_request_a_window(
    breaking: Breaking, temporal: Client, tmp_path: Path
) -> None:
    queue = f"outage-{tmp_path.name}"
    await outage(Interlock(temporal, queue, f"fleet-{queue}"), tmp_path, breaking)


async def test_with_the_server_killed_in_the_middle(tmp_path: Path) -> None:
    async with restartable(tmp_path) as server:

        async def breaking(fleet: Workers) -> None:
            await server.restart()

        await outage(Interlock(server.client, "outage", "fleet-outage"), tmp_path, breaking)
