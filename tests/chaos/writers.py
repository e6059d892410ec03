"""Agents that write, for workers that are killed while they do: ``--agents tests.chaos.writers``.

Each call leaves its traces in a file: that it began, and in the middle of its time the line that is its effect. A
death in between is what nobody can know of.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from pathlib import Path

from interlock import Agent, Limits, Retry, ToolContext, tool
from interlock.testing import ScriptedModel, call, calls, say
from tests.sizes import sized

LONGEST = 1.0


def leave(kind: str, context: ToolContext) -> None:
    """One line, in one write: what is in the file is whole."""
    line = f"{kind} {context.run_id} {context.call_id} {context.idempotency_key}\n"
    file = os.open(os.environ["WRITERS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def traces(path: Path, kind: str) -> list[tuple[str, str, str]]:
    """Run, call and key of every line of a kind."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(run, call, key) for found, run, call, key in map(str.split, lines) if found == kind]


async def work(context: ToolContext) -> None:
    leave("began", context)
    await asyncio.sleep(random.uniform(0, LONGEST))
    leave("line", context)
    await asyncio.sleep(random.uniform(0, LONGEST))


async def was_written(context: ToolContext) -> bool:
    return context.idempotency_key in {key for *_, key in traces(Path(os.environ["WRITERS_LOG"]), "line")}


@tool(effect="write")
async def append(context: ToolContext) -> str:
    """Write a line."""
    await work(context)
    return "written"


@tool(effect="write", verify=was_written)
async def append_verified(context: ToolContext) -> str:
    """Write a line that can be looked for."""
    await work(context)
    return "written"


@tool(effect="idempotent")
async def book(context: ToolContext) -> str:
    """Write a row under the call's key."""
    with sqlite3.connect(os.environ["WRITERS_DB"], timeout=30) as database:
        database.execute("INSERT OR IGNORE INTO booked VALUES (?, ?)", (context.idempotency_key, context.run_id))
    await asyncio.sleep(random.uniform(0, LONGEST))
    return "booked"


model = ScriptedModel("writer", [calls(call("append"), call("append_verified"), call("book")), say("all done")])

writer = Agent(
    name="writer",
    instructions="Write.",
    models=model.model,
    tools=[append, append_verified, book],
    # What a killed worker had in its hands is known to be lost when these seconds are over.
    limits=Limits(step_seconds=sized(15, 6)),
    retry=Retry(attempts=10, initial=0.1, maximum=0.5),
)
