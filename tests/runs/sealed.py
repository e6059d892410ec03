"""Clients with keys, agents whose every word is known, and everything of a run that lies somewhere, to search it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from temporalio.client import Client

from interlock import Agent, tool
from interlock.converter import data_converter
from interlock.errors import NoWorker
from interlock.keys import Keys, new_key
from interlock.testing import ScriptedModel, call, say

T = TypeVar("T")


@tool(effect="read")
async def recollect(subject: str) -> str:
    """Recollect something."""
    return f"resultword of {subject}"


@tool(effect="read", timeout=60)
async def linger() -> str:
    """Wait until it is stopped."""
    await asyncio.sleep(60)
    return "never"


def quick(name: str = "quick") -> Agent:
    model = ScriptedModel(name, [call("recollect", subject="argumentword"), say("answerword")])
    return Agent(name=name, instructions="instructionword", models=model.model, tools=[recollect])


def waiting(name: str = "waiting") -> Agent:
    model = ScriptedModel(name, [call("linger"), say("answerword")])
    return Agent(name=name, instructions="Wait.", models=model.model, tools=[linger])


def some_keys(number: int = 1) -> Keys:
    return Keys.parse(",".join(new_key() for _ in range(number)))


def with_keys(client: Client, keys: Keys | None, store: Path) -> Client:
    """Another client of the same server; ``None``: it has no key."""
    config = client.config()
    config["data_converter"] = data_converter(store, keys)
    return Client(**config)


async def lying_about(client: Client, workflow: str, *directories: Path) -> bytes:
    """The raw history of a run and of what continued it, its entry in the index, and all files of ``directories``."""
    found = [path.read_bytes() for each in directories for path in each.rglob("*") if path.is_file()]
    run_id: str | None = None
    while True:
        handle = client.get_workflow_handle(workflow, run_id=run_id)
        described = await handle.describe()
        found.append(described.raw_description.SerializeToString())
        events = [event async for event in handle.fetch_history_events()]
        found += [event.SerializeToString() for event in events]
        first = events[0].workflow_execution_started_event_attributes
        if not first.continued_execution_run_id:
            return b"\n".join(found)
        run_id = first.continued_execution_run_id


async def eventually(ask: Callable[[], Awaitable[T]], enough: Callable[[T], bool], what: str = "") -> T:
    deadline = time.monotonic() + 60
    found: T | None = None
    while time.monotonic() < deadline:
        with suppress(NoWorker):  # the SDK drops a question that comes while a worker without a cache evicts the run
            found = await ask()
            if enough(found):
                return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what}: {found}")
