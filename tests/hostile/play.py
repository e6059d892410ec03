"""One run of an agent with a hostile model, replayed, and what its model was told of each call, in order."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from interlock import Agent, AgentResult, Interlock, Limits, Retry, Tool
from interlock.contracts import Message, ToolMessage
from interlock.testing import Say, ScriptedModel, say
from tests.conftest import Served, activities
from worker import serving

QUICK = Retry(attempts=2, initial=0.02, maximum=0.05)


@dataclass(frozen=True)
class Played:
    result: AgentResult
    messages: Sequence[Message]
    activities: Sequence[str]

    @property
    def told(self) -> list[ToolMessage]:
        return [message for message in self.messages if isinstance(message, ToolMessage)]


async def play(client: Client, tools: Sequence[Tool], turns: Sequence[Say], **of: Any) -> Played:
    name = f"hostile-{uuid.uuid4().hex[:8]}"
    model = ScriptedModel(name, [*turns, say("done")])
    given = {"models": model.model, "limits": Limits(tool_calls=500, step_seconds=60), "retry": QUICK, **of}
    agent = Agent(name=name, instructions="", tools=tools, repeat_limit=1000, **given)
    queue = f"test-{name}"
    async with serving(client, [agent], queue=queue, fleet=f"fleet-{queue}"):
        served = Served(Interlock(client, queue))
        run = await served.start(name)
        result = await served.end(run)
        messages = (await served.interlock.transcript(run.id)).messages
        return Played(result, messages, await activities(client, run.id))


def of(calls: Sequence[tuple[str, str]]) -> Say:
    """A reply with these calls: names and arguments as text."""
    return Say(calls=tuple(calls))
