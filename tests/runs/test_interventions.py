"""What people can do to a run under way."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError

from interlock import Limits
from interlock.client import Run
from interlock.errors import BadRequest
from interlock.testing import Say, ScriptedModel, call, say
from tests.conftest import Serve, activities
from tests.fleet.environment import in_state
from tests.runs.loops import agent, looping, raw, until


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
        return say(f"{len(heard)} heard", delay=3.0 if len(heard) == 1 else 0)

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
        await in_state(run, "paused")
        before = len(await activities(served.client, run.id))
        await asyncio.sleep(1.5)
        assert len(await activities(served.client, run.id)) == before
        status = await run.status()
        assert (status.state, status.reason) == ("paused", "lunch")
        await run.resume()
        assert (await served.end(run)).outcome == "degraded"
        assert float((await run.status()).spent["seconds"]) < time.monotonic() - began - 1.5


async def test_a_pause_during_a_turn_holds_back_the_tools_it_asks_for(serve: Serve) -> None:
    slow = ScriptedModel("slow-turn", [Say(calls=(("look", "{}"), ("look", "{}")), delay=3.0), say("done")])
    async with serve(agent("holding", slow)) as served:
        run = await served.start("holding")
        await until(run, "model")
        await run.pause("wait", by="ada")
        await in_state(run, "paused")
        assert await activities(served.client, run.id) == ["resolve_agent", "model"]
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
    payloads: list[list[Any]] = [[1], ["x"], [0], [{"unknown": 1}], [[]], [raw(b"{")], [raw(b"x", b"odd")], [{}, 2]]
    for name in ("kill", "pause", "resume", "steer", "nonsense"):
        for args in payloads:
            await run.handle.signal(name, args=args)


async def test_no_malformed_signal_wedges_a_run(serve: Serve) -> None:
    waiting = agent("fuzzed", ScriptedModel("fuzzed", [call("wait", seconds=6), say("done")]))
    async with serve(waiting) as served:
        run = await served.start("fuzzed")
        await until(run, "tool.wait")
        await malformed(run)
        assert (await run.status()).ignored_signals > 10
        assert (await served.end(run)).output == "done"


async def test_a_run_that_begins_paused_asks_no_model_not_even_how_hard_its_task_is(serve: Serve) -> None:
    async with serve(agent("judged", ScriptedModel("judged", [say("simple")]))) as served:
        task = {"agent": "judged", "input": "go", "complexity": "auto"}
        handle = await served.client.start_workflow(
            "AgentRun",
            task,
            id=f"judged-{uuid.uuid4().hex[:8]}",
            task_queue=served.interlock.queue,
            start_signal="pause",
            start_signal_args=[{"reason": "wait", "by": "ada"}],
        )
        run = served.interlock.get(handle.id)
        await in_state(run, "paused")
        await asyncio.sleep(1)
        assert (await activities(served.client, run.id), (await run.status()).state) == (["resolve_agent"], "paused")
        await run.resume()
        assert (await served.end(run)).outcome == "completed"
        assert await activities(served.client, run.id) == ["resolve_agent", "model", "model"]


@pytest.mark.parametrize("args", [[], [None], [{}]], ids=["nothing", "null", "an empty object"])
async def test_a_signal_without_a_payload_is_heard(args: list[Any], serve: Serve) -> None:
    async with serve(agent("null", looping("null", delay=0.2))) as served:
        run = await served.start("null")
        for name in ("pause", "resume", "kill"):
            await run.handle.signal(name, args=args)
        result = await served.end(run)
    assert (result.outcome, result.reason) == ("killed", "killed (by unknown)")
