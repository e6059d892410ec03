"""How runs begin and end, and what people can do to one under way."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from interlock import Agent, Limits, Retry, tool
from interlock.client import Run
from interlock.errors import BadRequest, RunFailed
from interlock.testing import Say, ScriptedModel, call, replay, say
from tests.conftest import Serve, activities
from workflows.agent_run import AgentRun


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


# -- beginnings -------------------------------------------------------------------------------------------


def raw(data: bytes, encoding: bytes = b"json/plain") -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))


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
        ([{"agent": "known", "input": "x", "limits": {"minutes": 3}}], "limits.minutes: unknown field"),
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

    slow = agent("slow", ScriptedModel("slow", turn), limits=Limits(seconds=3, step_seconds=30))
    async with serve(slow) as served:
        began = time.monotonic()
        result = await served.run("slow")
        assert 2 < time.monotonic() - began < 25
        assert (result.outcome, result.source, result.output) == ("degraded", "final_answer", "out of time")
        assert result.reason is not None
        assert "time budget of 3 s" in result.reason


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
    waiting = agent("waiting", ScriptedModel("waiting", [call("wait", seconds=30), say("done")]))
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


async def test_a_killed_run_fails_as_run_killed_with_its_result(serve: Serve) -> None:
    waiting = agent("waiting", ScriptedModel("waiting", [call("wait", seconds=30), say("done")]))
    async with serve(waiting) as served:
        run = await served.start("waiting")
        await until(run, "tool.wait")
        await run.handle.signal("kill", {"reason": "enough", "by": "ops"})
        result = await served.end(run)
        assert (result.outcome, result.reason, result.steps) == ("killed", "enough (by ops)", 1)
        assert (await run.handle.describe()).status == WorkflowExecutionStatus.FAILED


# -- what people can do -----------------------------------------------------------------------------------


async def test_steering_reaches_the_model_before_its_next_turn(serve: Serve) -> None:
    def turn(messages: Any, tools: Any) -> Say:
        if any("in French" in getattr(message, "text", "") for message in messages):
            return say("voila")
        return call("wait", seconds=0.3)

    async with serve(agent("steered", ScriptedModel("steered", turn))) as served:
        run = await served.start("steered")
        await until(run, "tool.wait")
        await run.steer("answer in French", by="ada")
        assert (await served.end(run)).output == "voila"


async def test_steering_that_comes_during_the_last_turn_is_not_lost(serve: Serve) -> None:
    def turn(messages: Any, tools: Any) -> Say:
        heard = [message.text for message in messages if message.role == "user"]
        return say(f"{len(heard)} heard", delay=1.0 if len(heard) == 1 else 0)

    async with serve(agent("late", ScriptedModel("late", turn))) as served:
        run = await served.start("late")
        await until(run, "model")
        await run.steer("one more thing")
        assert (await served.end(run)).output == "2 heard"


async def test_a_paused_run_makes_no_call_and_its_waiting_does_not_count(serve: Serve) -> None:
    async with serve(agent("pausing", looping("pausing"), limits=Limits(steps=4, seconds=60))) as served:
        began = time.monotonic()
        run = await served.interlock.start({"agent": "pausing", "input": "go"})
        await run.pause("lunch", by="ada")
        await asyncio.sleep(0.5)
        before = len(await activities(served.client, run.id))
        await asyncio.sleep(1.5)
        assert len(await activities(served.client, run.id)) == before
        status = await run.status()
        assert (status.state, status.reason) == ("paused", "lunch")
        await run.resume()
        assert (await served.end(run)).outcome == "degraded"
        assert float((await run.status()).spent["seconds"]) < time.monotonic() - began - 1.5


async def test_a_pause_during_a_turn_holds_back_the_tools_it_asks_for(serve: Serve) -> None:
    slow = ScriptedModel("slow-turn", [Say(calls=(("look", "{}"), ("look", "{}")), delay=1.0), say("done")])
    async with serve(agent("holding", slow)) as served:
        run = await served.start("holding")
        await until(run, "model")
        await run.pause("wait", by="ada")
        await asyncio.sleep(1.5)
        assert await activities(served.client, run.id) == ["resolve_agent", "model"]
        assert (await run.status()).state == "paused"
        await run.resume()
        assert (await served.end(run)).output == "done"


async def test_a_cancellation_that_comes_after_the_answer_does_not_take_it(serve: Serve) -> None:
    quick = agent("quick", ScriptedModel("quick", [say("done", delay=0.2)]))
    async with serve(quick) as served:
        outcomes = set()
        for wait in (0.21, 0.22, 0.23, 0.24, 0.25, 0.26):
            run = await served.start("quick")
            await asyncio.sleep(wait)
            with contextlib.suppress(BadRequest):  # it has ended already
                await run.cancel()
            result = await served.end(run)
            outcomes.add((result.outcome, result.output))
        assert outcomes <= {("completed", "done"), ("cancelled", "")}


async def test_extend_raises_a_limit_of_a_run_under_way(serve: Serve) -> None:
    async with serve(agent("longer", looping("longer"), limits=Limits(steps=50))) as served:
        run = await served.start("longer", limits=Limits(steps=2))
        await run.pause()
        await until(run, "resolve_agent")
        while (await run.status()).state == "starting":
            await asyncio.sleep(0.02)
        for wrong, said in (
            ({"limits": {"steps": 1}}, "does not raise"),
            ({"limits": {}}, "at least one"),
            ({"limits": {"usd": "NaN"}}, "limits.usd"),
            ({"limit": {}}, "limit: unknown field"),
            ({"limits": {"usd": "1"}}, "no such limit"),
        ):
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await run.handle.execute_update("extend", wrong)
            assert said in str(refused.value.cause)
        status = await run.extend(Limits(steps=5))
        assert status.limits.steps == 5
        await run.resume()
        assert (await served.end(run)).steps == 5


async def test_a_decision_nobody_waits_for_is_rejected_without_a_trace(serve: Serve) -> None:
    waiting = agent("undecided", ScriptedModel("undecided", [call("wait", seconds=5), say("done")]))
    async with serve(waiting) as served:
        run = await served.start("undecided")
        await until(run, "tool.wait")
        with pytest.raises(BadRequest, match="no call 's1c1' waits"):
            await run.decide("s1c1", approve=True)
        await run.kill()
        await run.result()
        events = [event.event_type for event in (await run.handle.fetch_history()).events]
        assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED not in events


async def test_plan_makes_one_planning_call_first(serve: Serve) -> None:
    planned = ScriptedModel("planned", [say("1. look"), call("look", number=1), say("done")])
    async with serve(agent("planner", planned, plan=True)) as served:
        run = await served.start("planner")
        assert (await served.end(run)).output == "done"
        texts = [getattr(m, "text", "") for m in (await served.interlock.transcript(run.id)).messages]
        assert texts[2] == "1. look"


async def malformed(run: Run) -> None:
    payloads: list[list[Any]] = [[1], ["x"], [None], [{"unknown": 1}], [[]], [raw(b"{")], [raw(b"x", b"odd")], [{}, 2]]
    for name in ("kill", "pause", "resume", "steer", "nonsense"):
        for args in payloads:
            await run.handle.signal(name, args=args)


async def test_no_malformed_signal_wedges_a_run(serve: Serve) -> None:
    waiting = agent("fuzzed", ScriptedModel("fuzzed", [call("wait", seconds=2), say("done")]))
    async with serve(waiting) as served:
        run = await served.start("fuzzed")
        await until(run, "tool.wait")
        await malformed(run)
        assert (await run.status()).ignored_signals > 10
        assert (await served.end(run)).output == "done"
