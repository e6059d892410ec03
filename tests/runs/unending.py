"""Agents whose tools would keep a worker: ``python worker.py --agents tests.runs.unending``."""

from __future__ import annotations

import asyncio
import time

from interlock import Agent, tool
from interlock.testing import ScriptedModel, call, say


@tool(effect="read")
async def deaf() -> str:
    """Heed no cancellation."""
    while True:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            continue


@tool(effect="read")
async def blocking() -> str:
    """Wait in a thread of asyncio's own."""
    await asyncio.to_thread(time.sleep, 300)
    return "late"


def agent(one: object, name: str) -> Agent:
    model = ScriptedModel(f"unending-{name}", [call(name), say("done")]).model
    return Agent(name=f"calls_{name}", instructions="-", models=model, tools=[one])  # type: ignore[list-item]


calls_deaf = agent(deaf, "deaf")
calls_blocking = agent(blocking, "blocking")
