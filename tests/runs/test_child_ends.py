"""Agents as tools: what reaches the runs that a run has started, and how they end."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from interlock import Limits, tool
from interlock.client import Run
from interlock.contracts import AgentResult, AgentTask
from interlock.errors import BadRequest, InterlockError
from interlock.policies.children import Ended
from interlock.testing import Say, call, calls, say
from tests.conftest import Serve
from tests.runs.families import agent, ask, boss, child_of, hold, holding, holds, paused, replayed, status_of
from tests.until import until
from workflows.child import Child
from workflows.child_runs import until_ended
from workflows.run_state import Run as RunState


async def test_a_kill_reaches_it_and_the_report_tells_of_its_calls(serve: Serve) -> None:
    async with serve(boss(holding())) as served:
        run = await served.start("boss")
        child = await holds(served, run)
        await run.kill("enough", by="ops")
        result, theirs = await served.end(run), await served.end(child)
        assert await status_of(child) == WorkflowExecutionStatus.FAILED
    assert (result.outcome, theirs.outcome) == ("killed", "killed")
    assert theirs.reason == "enough (by ops)"
    assert result.usage.usd > theirs.usage.usd > 0
    assert result.usage.usd_unsettled == 0
    report = result.kill_report
    assert report is not None
    assert [(each.call_id, each.tool) for each in report.stopped] == [("s1c1", "researcher")]
    assert [(each.call_id, each.tool) for each in report.unknown] == [("s1c1/s1c1", "hold")]


async def test_its_own_kill_is_an_error_to_the_model(serve: Serve) -> None:
    async with serve(boss(holding())) as served:
        run = await served.start("boss")
        child = await holds(served, run)
        with pytest.raises(BadRequest, match=f"part of what run {run.id} may use"):
            await child.extend(Limits(tool_calls=900))
        await child.kill("wrong", by="ops")
        result = await served.end(run)
        await replayed(served, child)
    assert (result.outcome, result.output) == ("completed", "ToolFailed: researcher was killed: wrong (by ops)")


async def test_a_kill_of_their_user_ends_both(serve: Serve) -> None:
    async with serve(boss(holding())) as served:
        run = await served.start("boss", user_id="mallory")
        child = await holds(served, run)
        await served.interlock.fleet.kill("user", "mallory", "enough", by="ops")
        assert [(await served.end(each)).outcome for each in (run, child)] == ["killed", "killed"]


async def test_a_cancellation_reaches_it_and_it_tells_what_it_used(serve: Serve) -> None:
    async with serve(boss(holding(), limits=Limits(usd="1"))) as served:
        run = await served.start("boss")
        child = await holds(served, run)
        await run.cancel()
        assert [(await served.end(each)).outcome for each in (run, child)] == ["cancelled", "cancelled"]
        ours, theirs = (await run.status()).usage, (await child.status()).usage
        assert await status_of(child) == WorkflowExecutionStatus.CANCELED
    assert ours.usd > theirs.usd > 0
    assert ours.usd_unsettled == 0


async def test_one_that_is_cancelled_by_itself_gives_back_what_it_did_not_use(serve: Serve) -> None:
    async with serve(boss(holding(), limits=Limits(usd="1"))) as served:
        run = await served.start("boss")
        child = await holds(served, run)
        await child.cancel()
        result = await served.end(run)
        await replayed(served, child)
    assert result.output.startswith("ToolFailed: researcher was cancelled")
    assert result.usage.usd < Decimal("0.2")


async def test_one_that_is_terminated_is_charged_all_that_it_was_given(serve: Serve) -> None:
    async with serve(boss(holding(limits=Limits(usd="0.25")), limits=Limits(usd="1"))) as served:
        run = await served.start("boss")
        child = await holds(served, run)
        await child.handle.terminate("gone")
        result = await served.end(run)
    assert result.output.startswith("ToolOutcomeUnknown: researcher ended without a result")
    assert result.by_model["agent:researcher"].usd == result.usage.usd_unsettled == Decimal("0.25")
    assert result.usage.usd <= 1


async def test_one_whose_parent_is_terminated_ends_with_it(serve: Serve) -> None:
    async with serve(boss(holding())) as served:
        run = await served.start("boss")
        child = await holds(served, run)
        await run.handle.terminate("gone")

        async def ended() -> bool:
            return await status_of(child) == WorkflowExecutionStatus.TERMINATED

        await until(ended)


async def test_a_pause_does_not_count_once_what_is_beside_it_has_ended(serve: Serve) -> None:
    beside = asyncio.Event()

    @tool(effect="read")
    async def slow() -> str:
        """Take long."""
        await beside.wait()
        return "seen"

    def turn(messages: Any, tools: Any) -> Say:
        return say("done") if any(each.role == "tool" for each in messages) else calls(call("slow"), ask("researcher"))

    async with serve(boss(holding(), slow, script=turn)) as served:
        run = await served.start("boss")
        child = await holds(served, run, "s1c2")
        await run.pause("lunch", by="ada")
        await until(lambda: _told(child, "pause"))
        assert not await paused(run)
        beside.set()
        await until(lambda: paused(run))
        await run.kill()
        await served.end(run)


async def _told(run: Run, signal: str) -> bool:
    events = (await run.handle.fetch_history()).events
    return signal in [event.workflow_execution_signaled_event_attributes.signal_name for event in events]


async def test_a_pause_reaches_it_and_does_not_count(serve: Serve) -> None:
    researcher = agent("researcher", [call("hold", seconds=3), say("found")], hold)
    async with serve(boss(researcher, limits=Limits(seconds=300))) as served:
        began = time.monotonic()
        run = await served.start("boss")
        child = await holds(served, run)
        await run.pause("lunch", by="ada")
        await until(lambda: paused(child))
        await until(lambda: paused(run))
        await asyncio.sleep(3)
        assert [(await each.status()).state for each in (run, child)] == ["paused", "paused"]
        await run.resume()
        result: AgentResult = await served.end(run)
        elapsed = time.monotonic() - began
        spent = [float((await each.status()).spent["seconds"]) for each in (run, child)]
        await replayed(served, child)
    assert (result.outcome, result.output) == ("completed", "found")
    assert all(each < elapsed - 2.5 for each in spent)


async def test_while_one_waits_for_a_person_no_clock_of_its_line_runs(serve: Serve) -> None:
    @tool(effect="write", approval=True)
    async def send() -> str:
        """Send it."""
        return "sent"

    clerk = agent("clerk", [call("send"), say("found")], send)
    researcher = agent("researcher", [ask("clerk"), say("found")], clerk)
    async with serve(boss(researcher, limits=Limits(seconds=300))) as served:
        began = time.monotonic()
        run = await served.start("boss")
        line = [run, child_of(served, run), served.interlock.get(f"{run.id}-s1c1-s1c1")]

        async def asked() -> bool:
            try:
                return bool((await line[-1].status()).pending_approvals)
            except InterlockError:
                return False  # it is not there yet

        await until(asked)
        for each in line[:-1]:
            await until(partial(_told, each, "child_waits"))
        await asyncio.sleep(3)
        await line[-1].decide("s1c1", approve=True, by="ada")
        result = await served.end(run)
        elapsed = time.monotonic() - began
        spent = [float((await each.status()).spent["seconds"]) for each in line]
        await replayed(served, *line[1:])
    assert (result.outcome, result.output) == ("completed", "found")
    assert all(each < elapsed - 2.5 for each in spent)


async def test_one_that_has_ended_when_its_parent_is_cancelled_is_charged_what_it_used() -> None:
    """Both come in one task: a result that is there is not thrown away, to charge all that was given instead."""
    run = RunState.fresh(AgentTask(agent="boss", input="go"))
    child = Child(id="boss-s1c1", agent="researcher", given=Limits())
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    async def work() -> Ended:
        return await ended

    waiting = asyncio.create_task(until_ended(run, child, asyncio.create_task(work())))
    await asyncio.sleep(0.01)
    ended.set_result(Ended("result"))
    waiting.cancel()
    assert await waiting == (Ended("result"), True)
