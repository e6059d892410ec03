"""The trace that OpenTelemetry collects and the one that ``interlock trace`` reads from history are the same tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from temporalio.client import Client

from interlock import Agent, Limits
from interlock.contracts import Message
from interlock.run_trace import trace_of
from interlock.spans.span import Span
from interlock.testing import Say, ScriptedModel, call, say
from tests.conftest import Serve
from tests.telemetry.story import AGENT, PRICE, look
from tests.telemetry.watched import seeing, spans

CALLS = {"run", "stage", "chat", "tool"}
"""The kinds of spans that a trace of calls has; waits, leases and what people said are in history alone."""


def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
    [*_, last] = messages
    if last.role == "user" and "How hard" in last.text:
        return say("simple")
    return call("look", password="x") if tools else say("that is all")


LADDER = Agent(
    name="ladder",
    instructions="",
    models=ScriptedModel("same-tree", turn, PRICE).model,
    tools=[look],
    plan=True,
    limits=Limits(steps=2, tool_calls=20),
)


def collected(found: Sequence[ReadableSpan], root: ReadableSpan) -> Any:
    assert root.context is not None
    below = [each for each in found if each.parent and each.parent.span_id == root.context.span_id]
    below.sort(key=lambda each: (each.start_time or 0, each.name))
    return (root.name, [collected(found, each) for each in below])


def read(span: Span) -> Any:
    """In a trace each attempt is a span, and what a tool was called with is not in its name."""
    below = [(each, read(each)) for each in span.children if each.kind in CALLS]
    return (span.name.partition("(")[0], [node for each, node in below for _ in range(each.attempts)])


@pytest.mark.parametrize(("agent", "stages"), [(AGENT, 4), (LADDER, 5)], ids=lambda each: getattr(each, "name", ""))
async def test_they_are_the_same(serve: Serve, temporal: Client, agent: Agent, stages: int) -> None:
    with spans() as exporter:
        async with seeing(temporal) as (client, _), serve(agent, client=client, max_cached_workflows=0) as served:
            run = await served.start(agent.name, complexity="auto" if agent is LADDER else "medium")
            await served.end(run)
            from_history = read(await trace_of(client, run.id))
        found = exporter.get_finished_spans()
    [whole] = [each for each in found if each.name == f"invoke_agent {agent.name}"]
    assert collected(found, whole) == from_history
    assert len(from_history[1]) == stages
