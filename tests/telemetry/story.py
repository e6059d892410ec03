"""One run with something of everything: a plan, an attempt that fails, a tool that has to be tried again, one that
says no, and an answer. It goes the same way however often it is started."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import activity

from interlock import Agent, Limits, Price, Retry, ToolError, tool
from interlock.contracts import Message
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel, call, say

TOKENS = {"input_tokens": 1000, "output_tokens": 100}
PLAN = ("plan", "look", "ask", "answer")


def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
    replies = sum(message.role == "assistant" for message in messages)
    if PLAN[replies] == "look" and activity.info().attempt == 1:
        return Say(failure=Failure("ModelOverloaded", "too many requests for one day"))
    return (
        say("look, then ask", **TOKENS),
        Say(calls=call("look", password="hunter2").calls, input_tokens=1000, output_tokens=100),
        Say(calls=call("ask", whom="Ada").calls, input_tokens=1000, output_tokens=100),
        say("a secret plan was found", **TOKENS),
    )[replies]


PRICE = Price(input="3.00", output="15.00")
SCRIPT = ScriptedModel("story", turn, price=PRICE)


@tool(effect="read", retry=Retry(attempts=2, initial=0.05))
async def look(password: str) -> str:
    """Look."""
    if activity.info().attempt == 1:
        raise ConnectionError("nobody there")
    return '{"api_key": "k-123", "found": "an entry"}'


@tool(effect="read")
async def ask(whom: str) -> str:
    """Ask somebody."""
    raise ToolError(f"{whom} is out")


AGENT = Agent(
    name="story",
    instructions="Tell a story.",
    models=SCRIPT.model,
    tools=[look, ask],
    plan=True,
    retry=Retry(attempts=3, initial=0.05),
    max_output_tokens=1000,
    limits=Limits(usd="1.00", steps=3, tool_calls=20),
)
STORY = (
    "agent.start",
    "agent.plan",
    "llm.response",
    "agent.step.start",
    "llm.failed",
    "llm.response",
    "tool.raised",
    "tool.failed",
    "tool.executed",
    "agent.step.start",
    "llm.response",
    "tool.executed",
    "agent.step.start",
    "llm.response",
    "budget.low",
    "agent.complete",
)
TREE = (
    "invoke_agent story",
    False,
    (
        ("agent.plan", False, (("chat story", False, ()),)),
        (
            "agent.step.1",
            False,
            (
                ("chat story", True, ()),
                ("chat story", False, ()),
                ("execute_tool look", True, ()),
                ("execute_tool look", False, ()),
            ),
        ),
        ("agent.step.2", False, (("chat story", False, ()), ("execute_tool ask", False, ()))),
        ("agent.step.3", False, (("chat story", False, ()),)),
    ),
)
