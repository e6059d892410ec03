"""What a worker takes on at the same time: never more, nothing times out while it waits, and all of it is done."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from dataclasses import dataclass
from functools import partial

import pytest
from temporalio.client import Client

from interlock import Agent, AgentResult, Limits, tool
from interlock.client import Run
from interlock.queues import Limits as WorkerLimits
from interlock.testing import ScriptedModel, call, say
from tests.billing import Reply, Request
from tests.conftest import Serve, Served
from tests.runs.priced import agent, billed
from tests.telemetry.watched import seeing
from tests.until import until
from worker import serving

RUNS = 16


@dataclass
class Watch:
    """How many are inside, and how many were at most."""

    now: int = 0
    most: int = 0

    async def stay(self, seconds: float) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now -= 1


async def all_of(served: Served, name: str, runs: int = RUNS) -> list[AgentResult]:
    started = await asyncio.gather(*(served.start(name) for _ in range(runs)))
    return list(await asyncio.gather(*(served.end(run) for run in started)))


async def test_no_more_model_calls_than_asked_for_and_none_runs_out_of_time_waiting(serve: Serve) -> None:
    watch = Watch()

    async def slow(request: Request, n: int) -> Reply:
        await watch.stay(1.0)
        return Reply(text="done")

    payer = agent(limits=Limits(step_seconds=6))  # the last one waits for seven
    async with billed(slow), serve(payer, limits=WorkerLimits(model_calls=2)) as served:
        results = await all_of(served, "payer")
    assert watch.most == 2
    assert {result.outcome for result in results} == {"completed"}
    assert {result.usage.attempts for result in results} == {1}


async def test_no_more_tool_calls_than_asked_for_and_models_are_not_held_up_by_them(serve: Serve) -> None:
    tools, models = Watch(), Watch()

    @tool(effect="write")  # tried once: one that ran out of time would say so
    async def work() -> str:
        """Work for a while."""
        await tools.stay(1.0)
        return "worked"

    async def two_turns(request: Request, n: int) -> Reply:
        await models.stay(0.2)
        return Reply(tool_calls=[("work", {})]) if request.turns == 0 else Reply(text="done")

    payer = agent(tools=[work], limits=Limits(step_seconds=6))
    async with billed(two_turns), serve(payer, limits=WorkerLimits(tool_calls=2)) as served:
        results = await all_of(served, "payer")
    assert tools.most == 2
    assert models.most > 2
    assert {(result.outcome, result.tool_calls, result.steps) for result in results} == {("completed", 1, 2)}


async def test_the_server_hands_out_no_more_calls_a_second_than_asked_for(serve: Serve) -> None:
    at: list[float] = []

    def note(request: Request, n: int) -> Reply:
        at.append(time.monotonic())
        return Reply(text="done")

    async with billed(note), serve(agent(), limits=WorkerLimits(calls_per_second=4.0)) as served:
        results = await all_of(served, "payer")
    assert {result.outcome for result in results} == {"completed"}
    assert at[-1] - at[0] > (RUNS - 8) / 4  # what has gathered in its first seconds comes at once


async def test_a_worker_without_limits_takes_calls_that_wait_for_one_with_limits(
    serve: Serve, temporal: Client
) -> None:
    watch, stop = Watch(), asyncio.Event()

    async def held(request: Request, n: int) -> Reply:
        watch.now += 1
        await stop.wait()
        return Reply(text="done")

    payer = agent(limits=Limits(step_seconds=120))
    async with (
        billed(held) as server,
        serve(payer, limits=WorkerLimits(model_calls=1)) as served,
        seeing(temporal) as (other, _),  # two workers of one queue need a client each
    ):
        runs = [await served.start("payer") for _ in range(2)]
        await server.until(lambda _: watch.now == 1)
        async with serving(other, [payer], queue=served.interlock.queue, fleet=served.interlock.fleet.id):
            await server.until(lambda _: watch.now == 2)
            stop.set()
            for run in runs:
                assert (await served.end(run)).outcome == "completed"


async def test_runs_beyond_those_kept_in_memory_are_served_all_the_same(serve: Serve, temporal: Client) -> None:
    stop = asyncio.Event()

    @tool(effect="read")
    async def wait() -> str:
        """Wait."""
        await stop.wait()
        return "now"

    waiter = Agent(
        name="waiter",
        instructions="",
        models=ScriptedModel("waiter", [call("wait"), say("done")]).model,
        tools=[wait],
        limits=Limits(step_seconds=120),
    )
    async with (
        seeing(temporal, metrics=True) as (client, url),
        serve(waiter, client=client, limits=WorkerLimits(runs=3)) as served,
    ):
        runs = [await served.start("waiter") for _ in range(8)]
        for run in runs:
            await until(partial(_has_called, run))
        assert await asyncio.to_thread(in_memory, url, served.interlock.queue) <= 3
        stop.set()
        assert {(await served.end(run)).outcome for run in runs} == {"completed"}


async def _has_called(run: Run) -> bool:
    return (await run.status()).tool_calls > 0


def in_memory(url: str, queue: str) -> float:
    """The open runs of a queue that a worker holds."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    [found] = [line for line in lines if line.startswith("temporal_sticky_cache_size{") and f'"{queue}"' in line]
    return float(found.rpartition(" ")[2])


@pytest.mark.parametrize(
    ("limits", "apart"),
    [
        (WorkerLimits(), set()),
        (WorkerLimits(runs=5), set()),
        (WorkerLimits(model_calls=1), {"models"}),
        (WorkerLimits(calls_per_second=0.5), {"models"}),
        (WorkerLimits(tool_calls=1), {"tools"}),
        (WorkerLimits(model_calls=1, tool_calls=1), {"models", "tools"}),
    ],
)
def test_only_calls_with_a_limit_wait_apart(limits: WorkerLimits, apart: set[str]) -> None:
    assert limits.apart == apart
