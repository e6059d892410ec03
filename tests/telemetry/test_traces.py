"""What is in a run's spans, and how its trace hangs together."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from temporalio.client import Client

from interlock import Agent, AgentTask, Interlock, Limits, tool
from interlock.telemetry.traces import wanted
from interlock.testing import Say, ScriptedModel, call, replay, say
from tests.conftest import Serve
from tests.telemetry.story import AGENT
from tests.telemetry.watched import events, lines, seeing, spans, tree
from worker import serving
from workflows.agent_run import AgentRun


def named(found: tuple[ReadableSpan, ...], name: str) -> list[Mapping[str, Any]]:
    return [dict(each.attributes or {}) for each in found if each.name == name]


async def test_spans_carry_the_names_of_the_genai_conventions(serve: Serve, temporal: Client) -> None:
    with spans() as exporter:
        async with seeing(temporal) as (client, _), serve(AGENT, client=client) as served:
            run = await served.start("story", user_id="ada")
            await run.result()
        found = exporter.get_finished_spans()
    [whole] = named(found, "invoke_agent story")
    assert whole == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "story",
        "gen_ai.conversation.id": run.id,
        "gen_ai.usage.input_tokens": 4000,
        "gen_ai.usage.output_tokens": 400,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "interlock.cost_usd": 0.018,
        "interlock.outcome": "completed",
        "interlock.step": 3,
    }
    failed, answered = named(found, "chat story")[1:3]
    asked = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "story",
        "gen_ai.request.max_tokens": 1000,
        "gen_ai.conversation.id": run.id,
        "gen_ai.agent.name": "story",
        "interlock.step": 1,
        "interlock.purpose": "step",
    }
    assert failed == {**asked, "interlock.attempt": 1, "error.type": "ModelOverloaded"}
    assert answered == {
        **asked,
        "interlock.attempt": 2,
        "gen_ai.response.model": "scripted:story",
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "interlock.cost_usd": 0.0045,
    }
    assert named(found, "execute_tool look")[1] == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.call.id": "s1c1",
        "gen_ai.conversation.id": run.id,
        "gen_ai.agent.name": "story",
        "interlock.step": 1,
        "interlock.attempt": 2,
        "interlock.tool.is_error": False,
    }
    assert len({each.context and each.context.trace_id for each in found}) == 1  # without a caller: a trace of its own


async def test_a_killed_run_and_its_call_in_flight_are_marked(serve: Serve, temporal: Client) -> None:
    asked = asyncio.Event()

    def turn(messages: Any, tools: Any) -> Say:
        asked.set()
        return Say("never", delay=60)

    agent = Agent(name="sleeper", instructions="", models=ScriptedModel("slow-to-answer", turn).model)
    with spans() as exporter:
        async with seeing(temporal) as (client, _), serve(agent, client=client) as served:
            run = await served.start("sleeper")
            async with asyncio.timeout(60):
                await asked.wait()
            await run.kill("enough", by="ops")
            assert (await run.result()).outcome == "killed"
        found = exporter.get_finished_spans()
    whole = next(each for each in found if each.name == "invoke_agent sleeper")
    assert whole.status.status_code is StatusCode.ERROR
    assert (whole.attributes or {})["error.type"] == "RunKilled"
    assert (whole.attributes or {})["interlock.outcome"] == "killed"
    [stopped] = [each for each in found if each.name == "chat slow-to-answer"]
    assert stopped.status.status_code is StatusCode.ERROR


async def test_a_run_that_a_worker_drops_from_memory_has_not_ended(serve: Serve, temporal: Client) -> None:
    """Terminated from outside, or replayed to where its history stops: what it had begun is thrown away unfinished."""
    model = ScriptedModel("dropped", [Say("never", delay=60)])
    agent = Agent(name="dropped", instructions="", models=model.model)
    with lines() as out, spans() as exporter:
        async with seeing(temporal) as (client, _), serve(agent, client=client) as served:
            run = await served.start("dropped")
            while (await run.status()).step == 0:
                pass
            await run.handle.terminate()
            await replay(client, run.handle, AgentRun)
        gc.collect()
        ended = {each.name for each in exporter.get_finished_spans()}
    assert not ended & {"invoke_agent dropped", "agent.step.1"}
    told = [each["event"] for each in events(out)]
    assert "agent.complete" not in told
    assert not [event for event in told if "detach" in event]


@tool(effect="read")
async def turn_page(number: int) -> str:
    """A page."""
    return "x" * 100


async def test_a_run_that_continues_as_new_stays_in_its_trace(forgetful: Client) -> None:
    def turn(messages: Any, tools: Any) -> Say:
        replies = sum(message.role == "assistant" for message in messages)
        return say("done") if replies == 12 else call("turn_page", number=replies)

    agent = Agent(
        name="reader", instructions="", models=ScriptedModel("reader", turn).model, tools=[turn_page],
        limits=Limits(steps=100, tool_calls=100),
    )  # fmt: skip
    with spans() as exporter:
        async with seeing(forgetful) as (client, _), serving(client, [agent], queue="traced", fleet="traced-fleet"):
            interlock = Interlock(client, "traced", "traced-fleet")
            result = await interlock.run(AgentTask(agent="reader", input="read"))
        found = list(exporter.get_finished_spans())
    assert (result.outcome, result.steps) == ("completed", 13)
    wholes = [each for each in found if each.name == "invoke_agent reader"]
    assert len(wholes) > 1
    assert [(each.attributes or {}).get("interlock.continued") for each in wholes].count(None) == 1
    [root] = [each for each in found if each.parent is None]
    steps = [each.name for each in found if each.name.startswith("agent.step.")]
    assert steps == [f"agent.step.{number}" for number in range(1, 14)]
    assert _names(tree(found, root)) == sorted(each.name for each in found)


def _names(node: Any) -> list[str]:
    """Every name in a tree: what is not reached from the root is in another trace."""
    return sorted([node[0], *(name for child in node[2] for name in _names(child))])


async def test_a_worker_whose_process_does_not_trace_has_no_spans(serve: Serve) -> None:
    """The provider is there, but the client was connected without: its runs have no caller to be joined to."""
    with spans() as exporter:
        async with serve(AGENT) as served:
            assert (await served.run("story")).outcome == "completed"
        names = {each.name for each in exporter.get_finished_spans()}
    assert not {name for name in names if name.startswith(("chat", "execute_tool"))}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "w"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "false"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_standard_variables_say_whether_there_are_traces(environment: dict[str, str], expected: bool) -> None:
    assert wanted(environment) is expected
