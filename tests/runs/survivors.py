"""Agents for workers that are killed: loaded by ``python worker.py --agents tests.runs.survivors``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from interlock import Agent, Limits, Retry, ToolContext, tool
from interlock.testing import ScriptedModel, call, say

TURNS = 12


@tool(effect="idempotent")
async def note(number: int, context: ToolContext) -> str:
    """Write a number down."""
    with Path(os.environ["SURVIVORS_LOG"]).open("a") as log:
        log.write(f"{number} {context.idempotency_key}\n")
    await asyncio.sleep(0.1)
    return f"noted {number} " + "x" * 500


model = ScriptedModel("survivor", [*(call("note", number=number) for number in range(TURNS)), say("all noted")])

survivor = Agent(
    name="survivor",
    instructions="Note every number.",
    models=model.model,
    tools=[note],
    # What a killed worker had in its hands is tried again when these seconds are over.
    limits=Limits(step_seconds=5),
    retry=Retry(attempts=10, initial=0.1, maximum=0.5),
)
