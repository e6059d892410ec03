"""Agents that go on until they are stopped, for tests of how runs are stopped."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from interlock import Agent, tool
from interlock.client import Run
from interlock.testing import Say, ScriptedModel, call, say
from tests.conftest import activities


@tool(effect="read", timeout=30)
async def wait(seconds: float) -> str:
    """Wait a while."""
    await asyncio.sleep(seconds)
    return "waited"


@tool(effect="read")
async def look(number: int = 0) -> str:
    """Look at something."""
    return f"seen {number}"


def looping(name: str, **options: Any) -> ScriptedModel:
    """Calls a tool for ever, each time with another argument; answers once it may not."""

    def turn(messages: Any, tools: Any) -> Say:
        return call("look", number=len(messages), **options) if tools else say("all I know")

    return ScriptedModel(name, turn)


def agent(name: str, model: ScriptedModel, **options: Any) -> Agent:
    return Agent(name=name, instructions="Be brief.", models=model.model, tools=[wait, look], **options)


async def until(run: Run, condition: str, seconds: float = 10) -> None:
    """Wait until an activity of the run has been scheduled."""
    deadline = time.monotonic() + seconds
    while condition not in await activities(run_client(run), run.id):
        assert time.monotonic() < deadline, f"{condition} was not scheduled"
        await asyncio.sleep(0.05)


def run_client(run: Run) -> Client:
    return run.handle._client


def raw(data: bytes, encoding: bytes = b"json/plain") -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))
