"""Calls that take long say so again and again: a server that hears nothing takes them for lost, and makes them anew."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from interlock import Agent, ToolContext, tool
from interlock.client import Run
from interlock.testing import ScriptedModel, call, say
from tests.conftest import Serve


@tool(effect="read")
async def wait() -> str:
    """Waits on the loop."""
    await asyncio.sleep(3600)
    return "late"


@tool(effect="read")
def block(context: ToolContext) -> str:
    """Waits in a thread."""
    context.cancelled.wait(3600)
    return "late"


AGENTS = [
    Agent(
        name=name, instructions="Wait.", models=ScriptedModel(f"beats-{name}", [first, say("done")]).model, tools=tools
    )
    for name, first, tools in (
        ("model", say("late", delay=3600), []),
        ("loop", call("wait"), [wait]),
        ("thread", call("block"), [block]),
    )
]


async def last_beat(run: Run, activity: str) -> datetime:
    """When the server heard of a call under way; long ago when it never has."""
    described = await run.handle.describe()
    for pending in described.raw_description.pending_activities:
        if pending.activity_type.name == activity:
            assert pending.attempt == 1, "the server took it for lost"
            return pending.last_heartbeat_time.ToDatetime(UTC)
    return datetime.fromtimestamp(0, UTC)


async def beats(run: Run, activity: str, times: int) -> None:
    """Return when ``times`` different heartbeats were seen."""
    seen: set[datetime] = set()
    patience = time.monotonic() + 60
    while len(seen - {datetime.fromtimestamp(0, UTC)}) < times:
        assert time.monotonic() < patience, f"{activity}: {sorted(seen)}"
        seen.add(await last_beat(run, activity))
        await asyncio.sleep(0.2)


async def test_each_kind_of_call_heartbeats_while_it_is_under_way(serve: Serve) -> None:
    async with serve(*AGENTS) as served:
        runs = [await served.start(agent.name) for agent in AGENTS]
        kinds = ("model", "tool.wait", "tool.block")
        await asyncio.gather(*(beats(run, kind, 2) for run, kind in zip(runs, kinds, strict=True)))
        for run in runs:
            await run.kill("seen enough", "tests")
            assert (await served.end(run)).outcome == "killed"
