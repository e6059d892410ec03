"""How runs begin and end."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from interlock import Limits, Price, Retry
from interlock.errors import BadRequest, RunFailed
from interlock.pollers import pollers
from interlock.testing import Say, ScriptedModel, call, replay, say
from tests.conftest import Serve, activities
from tests.runs.loops import agent, looping, raw, until
from worker import serving
from workflows.agent_run import AgentRun

# -- beginnings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ([], "takes one AgentTask"),
        ([{"agent": "known", "input": "x"}, 2], "takes one AgentTask"),
        ([{"agent": "known"}], "input: Field required"),
        ([{"agent": "known", "input": "x", "inptu": "y"}], "inptu: unknown field"),
        ([{"agent": "known", "input": ""}], "input"),
        ([{"agent": "known", "input": "x", "limits": {"usd": "-1"}}], "limits.usd"),
        ([{"agent": "known", "input": "x", "limits": {"usd": "NaN"}}], "limits.usd"),
        ([{"agent": "known", "input": "x", "limits": {"usd": "ten"}}], "limits.usd"),
        ([{"agent": "known", "input": "x", "limits": {"steps": 0}}], "limits.steps"),
        ([{"agent": "known", "input": "x", "limits": {"seconds": 1e999}}], "limits.seconds"),
        ([{"agent": "known", "input": "x", "limits": {"minutes": 3}}], "unknown field; known fields of limits: usd, "),
        ([{"agent": "known", "input": "x", "complexity": "hard"}], "complexity"),
        ([{"agent": "known", "input": "x", "metadata": {"a": 1}}], "metadata.a"),
        (["just text"], "AgentTask"),
        ([[1, 2]], "AgentTask"),
        ([None], "AgentTask"),
        ([raw(b"{broken")], "Invalid JSON"),
        ([raw(b"\xff\xfe", b"binary/plain")], "AgentTask"),
        ([{"kind": "interlock.carried"}], "task: Field required"),
        ([{"agent": "known", "input": "x", "limits": {"steps": 11}}], "limits.steps: 11 is more than the agent's 10"),
        ([{"agent": "known", "input": "x", "limits": {"tool_calls": 101}}], "limits.tool_calls"),
    ],
)  # fmt: skip
async def test_a_task_that_cannot_run_fails_at_once_with_the_field_and_no_call_is_made(
    serve: Serve, args: list[Any], named: str
) -> None:
    async with serve(agent("known", looping("known"), limits=Limits(steps=10))) as served:
        handle = await served.client.start_workflow(
            "AgentRun", args=args, id=f"bad-{uuid.uuid4().hex[:8]}", task_queue=served.interlock.queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), 10)
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "InvalidTask"
        assert named in failed.value.cause.message
        assert "model" not in await activities(served.client, handle.id)
        await replay(served.client, handle, AgentRun)


async def test_an_unknown_agent_fails_under_its_name_and_names_those_there_are(serve: Serve) -> None:
    async with serve(agent("known", looping("known"))) as served:
        run = await served.start("nobody")
        with pytest.raises(WorkflowFailureError) as failed:
            await run.handle.result()
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "UnknownAgent"
        assert "'nobody'" in failed.value.cause.message
        assert "known: known" in failed.value.cause.message
        with pytest.raises(RunFailed, match="nobody"):
            await run.result()


async def test_an_agent_that_this_worker_does_not_have_is_looked_for_at_others(serve: Serve, temporal: Client) -> None:
    """As while a release is under way that adds it."""
    address, known = temporal.service_client.config.target_host, agent("known", looping("known"))
    one, other = [
        await Client.connect(address, data_converter=temporal.data_converter, identity=each) for each in ("v1", "v1b")
    ]
    async with serve(known, client=one) as served:
        queue, fleet = served.interlock.queue, served.interlock.fleet.id
        async with serving(other, [known], queue=queue, fleet=fleet):
            while len({each.identity for each in await pollers(one, queue, "activity")}) < 2:
                await asyncio.sleep(0.05)
            run = await served.start("new")
            while not (pending := (await run.handle.describe()).raw_description.pending_activities):
                await asyncio.sleep(0.05)
            while pending[0].attempt < 2:
                pending = (await run.handle.describe()).raw_description.pending_activities
            assert pending[0].last_failure.application_failure_info.type == "AgentElsewhere"
    async with serving(temporal, [agent("new", ScriptedModel("new", [say("here")]))], queue=queue, fleet=fleet):
        assert (await served.end(run)).output == "here"


async def test_an_agent_that_no_worker_has_is_unknown_in_the_end(serve: Serve, temporal: Client) -> None:
    address, known = temporal.service_client.config.target_host, agent("known", looping("known"))
    other = await Client.connect(address, data_converter=temporal.data_converter, identity="another")
    async with (
        serve(known) as served,
        serving(other, [known], queue=served.interlock.queue, fleet=served.interlock.fleet.id),
    ):
        with pytest.raises(RunFailed, match="no agent is named 'nobody'"):
            await (await served.start("nobody")).result()


async def test_the_client_refuses_a_malformed_task_before_anything_is_started(serve: Serve) -> None:
    async with serve(agent("known", looping("known"))) as served:
        with pytest.raises(BadRequest, match="inptu: unknown field"):
            await served.interlock.start({"agent": "known", "inptu": "x"})
        run = await served.start("known")
        with pytest.raises(BadRequest, match="already under way"):
            await served.interlock.start({"agent": "known", "input": "x"}, id=run.id)
        await run.kill()


# -- ends ---------------------------------------------------------------------------------------------------


async def test_the_step_limit_ends_in_a_final_answer_without_tools(serve: Serve) -> None:
    async with serve(agent("stepper", looping("stepper"), limits=Limits(steps=3))) as served:
        run = await served.start("stepper")
        result = await served.end(run)
        assert (result.outcome, result.source, result.output) == ("degraded", "final_answer", "all I know")
        assert result.reason == "the limit of 3 steps is reached"
        assert (result.steps, result.tool_calls) == (3, 3)
        assert await activities(served.client, run.id) == ["resolve_agent", *["model", "tool.look"] * 3, "model"]
        shorter = await served.run("stepper", limits=Limits(steps=1))
        assert (shorter.steps, shorter.reason) == (1, "the limit of 1 steps is reached")


async def test_the_time_budget_bounds_calls_and_keeps_time_for_a_last_answer(serve: Serve) -> None:
    def turn(messages: Any, tools: Any) -> Say:
        return call("wait", seconds=30) if tools else say("out of time")

    slow = agent("slow", ScriptedModel("slow", turn), limits=Limits(seconds=8, step_seconds=30))
    async with serve(slow) as served:
        began = time.monotonic()
        result = await served.run("slow")
        assert 2 < time.monotonic() - began < 25
        assert (result.outcome, result.source, result.output) == ("degraded", "final_answer", "out of time")
        assert result.reason is not None
        assert "time budget of 8 s" in result.reason


async def test_step_seconds_bounds_one_call(serve: Serve) -> None:
    stuck = ScriptedModel("stuck", [say("never", delay=60)])
    async with serve(agent("stuck", stuck, limits=Limits(step_seconds=1), retry=Retry(attempts=1))) as served:
        began = time.monotonic()
        result = await served.run("stuck")
        assert time.monotonic() - began < 25
        assert result.outcome == "unavailable"
        assert result.reason is not None
        assert "ModelTimeout" in result.reason


async def test_more_tool_calls_than_allowed_kill_the_run(serve: Serve) -> None:
    async with serve(agent("busy", looping("busy"), limits=Limits(tool_calls=4))) as served:
        run = await served.start("busy")
        result = await served.end(run)
        assert (result.outcome, result.tool_calls) == ("killed", 4)
        assert result.reason == "more than 4 tool calls (by interlock)"
        assert result.usage.calls == (await activities(served.client, run.id)).count("model")
        assert result.kill_report is not None
        assert result.kill_report.unknown == ()
        with pytest.raises(WorkflowFailureError) as failed:
            await run.handle.result()
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "RunKilled"


async def test_a_cancelled_run_stops_what_is_in_flight_and_is_canceled(serve: Serve) -> None:
    waiting = agent(
        "waiting", ScriptedModel("cancelled", [call("wait", seconds=30), say("done")], Price(input="10", output="10"))
    )
    async with serve(waiting) as served:
        run = await served.start("waiting")
        await until(run, "tool.wait")
        began = time.monotonic()
        await run.handle.cancel()
        result = await served.end(run)
        assert time.monotonic() - began < 25
        assert result.outcome == "cancelled"
        described = await run.handle.describe()
        assert described.status == WorkflowExecutionStatus.CANCELED
        events = [event.event_type for event in (await run.handle.fetch_history()).events]
        # It says that it was stopped in flight: the SDK drops the details of an activity that is merely cancelled.
        assert EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED in events
        status = await run.status()
        assert (status.state, status.outcome) == ("closed", "cancelled")
        assert result.usage == status.usage
        assert (result.steps, result.tool_calls) == (1, 1)
        assert result.usage.usd > 0
    # Nobody is left to ask.
    indexed = await run.result()
    assert (indexed.usage.usd, indexed.steps, indexed.tool_calls) == (result.usage.usd, 1, 1)


async def test_a_killed_run_fails_as_run_killed_with_its_result(serve: Serve) -> None:
    waiting = agent("waiting", ScriptedModel("waiting", [call("wait", seconds=30), say("done")]))
    async with serve(waiting) as served:
        run = await served.start("waiting")
        await until(run, "tool.wait")
        await run.handle.signal("kill", {"reason": "enough", "by": "ops"})
        result = await served.end(run)
        assert (result.outcome, result.reason, result.steps) == ("killed", "enough (by ops)", 1)
        assert (await run.handle.describe()).status == WorkflowExecutionStatus.FAILED
