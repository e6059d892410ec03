"""The agent that is measured: as many steps as its task says, each one call of the model and one of a tool."""

from __future__ import annotations

import json
from collections.abc import Sequence

from interlock import Agent, Limits, tool
from interlock.contracts import Message
from interlock.testing import Say, ScriptedModel

TOOL_BYTES = 2048
ARGUMENTS = '{"page": 1}'


def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
    """Call the tool until the conversation holds the steps that its first message asks for, then answer."""
    first = messages[0]
    steps = int(first.text) if first.role == "user" else 0
    # Tokens are given, so that the script does not count those of the whole conversation at each step.
    if len(messages) < 1 + 2 * steps:
        # Not one page again and again: a run that does that is killed.
        page = json.dumps({"page": 1 + len(messages) // 2})
        return Say(calls=(("read_page", page),), input_tokens=1000, output_tokens=20)
    return Say("done", input_tokens=1000, output_tokens=20)


@tool(effect="read")
async def read_page(page: int) -> str:
    """A page of text."""
    return "x" * TOOL_BYTES


SCRIPT = ScriptedModel("steps", turn)
AGENT = Agent(
    name="steps",
    instructions="Read the pages, one at a time.",
    models=SCRIPT.model,
    tools=[read_page],
    limits=Limits(steps=10_000, tool_calls=10_000),
)
