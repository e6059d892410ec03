"""A run and the run that it starts: agents that have others for tools, and waiting for what they come to."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from temporalio.client import WorkflowExecutionStatus

from interlock import Agent, Price, Retry, ToolContext, tool
from interlock.client import Run
from interlock.testing import Say, ScriptedModel, call, replay, say
from tests.conftest import Served
from tests.until import until
from workflows.agent_run import AgentRun

PRICE = Price(input="10", output="50")


HELD: set[str] = set()
"""The runs that have come into ``hold``: a call that is only on its way is refused by a kill, not broken off."""


@tool(effect="write", timeout=60)
async def hold(seconds: float, context: ToolContext) -> str:
    """Hold on."""
    HELD.add(context.run_id)
    await asyncio.sleep(seconds)
    return "held"


def ask(name: str, text: str = "find out") -> Say:
    return call(name, input=text)


def agent(name: str, script: Any, *tools: Any, **options: Any) -> Agent:
    """Its script under a name that no other test has."""
    model = ScriptedModel(f"{name}-{uuid.uuid4().hex[:8]}", script, options.pop("price", PRICE))
    settings = {"max_output_tokens": 100, "retry": Retry(attempts=2, initial=0.05)}
    return Agent(name=name, instructions=f"You are {name}.", models=model.model, tools=tools, **{**settings, **options})


def boss(*tools: Any, script: Any = None, **options: Any) -> Agent:
    """Asks the researcher, and says what it was told."""

    def turn(messages: Any, tools: Any) -> Say:
        told = [message.content for message in messages if message.role == "tool"]
        return say(" | ".join(told)) if told or not tools else ask("researcher")

    return agent("boss", script or turn, *tools, **options)


def child_of(served: Served, run: Run, call_id: str = "s1c1") -> Run:
    return served.interlock.get(f"{run.id}-{call_id}")


async def holds(served: Served, run: Run, call_id: str = "s1c1") -> Run:
    """The run that a run has started, once it is in its tool."""
    child = child_of(served, run, call_id)

    async def held() -> bool:
        return child.id in HELD

    await until(held)
    return child


async def replayed(served: Served, *runs: Run) -> None:
    for run in runs:
        await replay(served.client, run.handle, AgentRun)


async def status_of(run: Run) -> WorkflowExecutionStatus | None:
    return (await run.handle.describe()).status


def holding(**options: Any) -> Agent:
    return agent("researcher", [call("hold", seconds=45), say("late")], hold, **options)


async def paused(run: Run) -> bool:
    return (await run.status()).state == "paused"
