"""Kill: a run, a user, everything. What is in flight is dropped, what is open ends, what is new is refused."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.providers import Answer, Providers, Request
from activities.providers.scripted import Scripted
from interlock import Agent, Interlock, ToolContext, tool
from interlock.contracts import AgentTask, Kill, KilledCall, KillReport, Limits, Transcript
from interlock.errors import BadRequest, NoWorker, RunNotFound
from interlock.killing import SIGNAL_PATIENCE
from interlock.testing import ScriptedModel, call, calls, say
from tests.conftest import Serve, activities
from tests.fleet.environment import act, asked, in_flight, only_signalled, replay_fleet, waiting
from tests.sizes import sized
from tests.until import until
from worker import serving
from workflows.call_report import CallReport
from workflows.carrying import carried, carry
from workflows.run_state import Run


async def test_a_signal_by_a_plain_client_ends_a_run_whose_model_is_in_flight(serve: Serve) -> None:
    async with serve(waiting("a")) as served:
        run = await served.start("a")
        await asked("a", 1)
        await served.client.get_workflow_handle(run.id).signal("kill", {"reason": "enough", "by": "ada"})
        result = await served.end(run)
        assert (result.outcome, result.reason) == ("killed", "enough (by ada)")
        assert result.kill_report is not None
        assert [each.tool for each in result.kill_report.unknown] == ["model"]
        with pytest.raises(WorkflowFailureError) as failed:
            await run.handle.result()
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "RunKilled"
        await until(lambda: _known(served.interlock, f"run:{run.id}"))
        await replay_fleet(served)


async def _known(interlock: Interlock, kill: str) -> bool:
    return kill in (await interlock.fleet.view()).kills


async def test_an_id_may_be_used_again_after_a_kill(serve: Serve) -> None:
    turns = [say("late", delay=60)]
    async with serve(waiting("a", turns), waiting("b", [say("done")])) as served:
        name = f"again-{uuid.uuid4().hex[:6]}"
        run = await served.interlock.start({"agent": "a", "input": "x"}, id=name)
        await in_flight(run, "model")
        await run.kill("stop")
        await until(lambda: _known(served.interlock, f"run:{name}"))
        again = await served.interlock.start({"agent": "b", "input": "y"}, id=name)
        assert (await served.end(again)).outcome == "completed"


async def test_a_run_that_only_the_fleet_is_told_of_ends_too(serve: Serve) -> None:
    """Also one that has nothing in flight, which no gate could stop."""
    async with serve(waiting("a")) as served:
        run = await served.start("a")
        await run.pause()
        await served.interlock.fleet.kill("run", run.id, "stop", by="ops")
        assert (await served.end(run)).reason == "stop (by ops)"
        await replay_fleet(served)


async def test_a_kill_says_what_was_stopped_what_was_done_and_what_nobody_knows(serve: Serve) -> None:
    @tool(effect="write")
    async def quick() -> str:
        """Be done at once."""
        return "done"

    acting, looking = asyncio.Event(), asyncio.Event()

    @tool(effect="write")
    async def act() -> str:
        """Act for long."""
        acting.set()
        await asyncio.sleep(60)
        return "acted"

    @tool(effect="read")
    async def look() -> str:
        """Look for long."""
        looking.set()
        await asyncio.sleep(60)
        return "seen"

    # One at a time: the last one is still queued when the kill comes.
    turns = [call("quick"), calls(call("act"), call("look"), call("act"))]
    async with serve(waiting("a", turns, tools=[quick, look, act], max_parallel_tools=2)) as served:
        run = await served.start("a")
        await asyncio.gather(acting.wait(), looking.wait())
        began = time.monotonic()
        rung = await run.kill("stop", by="ada")
        assert rung == "signal" or time.monotonic() - began > SIGNAL_PATIENCE
        report = (await served.end(run)).kill_report
        assert report is not None
        assert report.completed == (KilledCall(call_id="s1c1", tool="quick"),)
        assert report.unknown == (KilledCall(call_id="s2c1", tool="act"),)
        assert report.stopped == (KilledCall(call_id="s2c2", tool="look"),)
        assert await activities(served.client, run.id) == [
            "resolve_agent", "model", "tool.quick", "model", "tool.act", "tool.look"
        ]  # fmt: skip


class Stubborn(Scripted):
    """Answers, whatever is asked of it meanwhile."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def ask(self, request: Request) -> Answer:
        self.asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return await super().ask(request)


@pytest.mark.parametrize("how", ["kill", "cancel"])
async def test_nothing_more_is_begun_though_the_call_in_flight_ends_by_itself(serve: Serve, how: str) -> None:
    """Its cancellation is used up by then, and the calls that its answer asks for may not follow."""
    stubborn = Stubborn()
    turns = [calls(call("act"), call("act"))]
    async with serve(waiting("a", turns, tools=[act]), providers=Providers({"scripted": stubborn}, stubborn)) as served:
        run = await served.start("a")
        await stubborn.asked.wait()
        await (run.kill("stop") if how == "kill" else run.cancel())
        result = await served.end(run)
        assert result.outcome == ("killed" if how == "kill" else "cancelled")
        assert await activities(served.client, run.id) == ["resolve_agent", "model"]
        if how == "kill":
            assert result.usage.attempts == 1
            assert result.kill_report == KillReport()


def test_what_a_kill_can_prove_is_carried_over_continue_as_new() -> None:
    run = Run.fresh(AgentTask(agent="a", input="x"))
    run.resolve(waiting("a").spec({}), Limits())
    run.report = CallReport(
        completed=[KilledCall(call_id="s1c1", tool="act")],
        stopped=[KilledCall(call_id="s1c2", tool="act")],
        unknown=[KilledCall(call_id="s1c3", tool="act")],
    )
    assert carried(carry(run, Transcript(spec=run.spec))).report == run.report


async def test_a_plain_function_hears_of_the_kill_and_its_late_result_is_dropped(serve: Serve) -> None:
    begun, heard, returned = threading.Event(), threading.Event(), threading.Event()

    @tool(effect="write")
    def work(context: ToolContext) -> str:
        """Work until told to stop."""
        begun.set()
        heard.set() if context.cancelled.wait(60) else None
        returned.set()
        return "late"

    async with serve(waiting("a", [call("work")], tools=[work])) as served:
        run = await served.start("a")
        assert await asyncio.to_thread(begun.wait, 30)
        await run.kill("stop")
        result = await served.end(run)
        assert await asyncio.to_thread(heard.wait, 30)
        assert await asyncio.to_thread(returned.wait, 30)
        assert result.kill_report is not None
        assert [each.tool for each in result.kill_report.unknown] == ["work"]


async def test_a_killed_user_loses_every_run_and_nobody_else_does(serve: Serve) -> None:
    ending = ScriptedModel("ending", [say("fine", delay=0.5)])
    other = Agent(name="other", instructions="-", models=ending.model)
    async with serve(waiting("a"), other) as served:
        fleet = served.interlock.fleet
        hers = [await served.start("a", user_id="ada 'the' one") for _ in range(4)]
        paused = await served.start("a", user_id="ada 'the' one")
        await paused.pause()
        for run in hers:
            await in_flight(run, "model")
        his = await served.start("a", user_id="bob")
        await asked("a", 5)
        await fleet.kill("user", "ada 'the' one", "fraud", by="ops")
        for run in [*hers, paused]:
            result = await served.end(run)
            assert (result.outcome, result.reason) == ("killed", "user ada 'the' one: fraud (by ops)")

        async def nothing_of_hers_begins() -> None:
            ended = await served.run("other", user_id="ada 'the' one")
            assert (ended.outcome, ended.steps, ended.usage.calls) == ("killed", 0, 0)

        await nothing_of_hers_begins()  # its gate refuses it, or the sweep is faster
        assert (await served.run("other", user_id="bob")).outcome == "completed"

        async def hers_are_killed() -> Kill:
            [kill] = [each for each in (await fleet.status()).kills if each.scope == "user"]
            return kill

        async def swept() -> bool:
            return (sweep := (await hers_are_killed()).sweep) is not None and sweep.done

        async def refused() -> bool:
            return (await hers_are_killed()).refused >= 1

        await until(swept)
        await nothing_of_hers_begins()
        await until(refused)
        kill = await hers_are_killed()
        assert kill.sweep is not None
        # The first one that did not begin came within two seconds of the kill, or it did not. And those that had a call
        # in flight, which a gate dropped, may have ended before the sweep looked.
        assert 1 <= kill.sweep.signalled <= 6
        assert kill.sweep.left == 0
        assert only_signalled(kill.sweep)
        assert kill.stopped in (4, 5)

        await fleet.release("user", "ada 'the' one")
        await until(lambda: _let_in(served.interlock))
        assert (await served.run("other", user_id="ada 'the' one")).outcome == "completed"
        assert (await hers[0].result()).outcome == "killed"  # nothing is revived
        await his.kill()
        await replay_fleet(served)


async def test_a_release_right_after_a_kill_revives_nothing(serve: Serve) -> None:
    async with serve(waiting("a"), waiting("b", [say("done")])) as served:
        fleet = served.interlock.fleet
        paused = await served.start("a", user_id="ada")
        await paused.pause()
        running = await served.start("a", user_id="ada")
        await in_flight(running, "model")
        await fleet.kill("user", "ada", "fraud", by="ops")
        await fleet.release("user", "ada")

        async def released() -> bool:
            return bool((await fleet.view()).released)

        await until(released)
        assert (await served.run("b", user_id="ada")).outcome == "completed"
        for run in (paused, running):
            assert (await served.end(run)).reason == "user ada: fraud (by ops)"

        async def over() -> bool:
            return not (await fleet.status()).released

        await until(over)
        await replay_fleet(served)


async def _let_in(interlock: Interlock) -> bool:
    return not any(each.scope == "user" for each in (await interlock.fleet.view()).kills.values())


async def test_a_run_that_has_not_begun_is_killed_too(serve: Serve) -> None:
    async with serve(waiting("a")) as served:
        later = await served.client.start_workflow(
            "AgentRun",
            AgentTask(agent="a", input="later"),
            id=f"later-{uuid.uuid4().hex[:6]}",
            task_queue=served.interlock.queue,
            start_delay=timedelta(hours=1),
        )
        # A signal does not wake it; the cancellation after it does, and it finds both.
        assert await served.interlock.get(later.id).kill("never begun") in ("signal", "cancel")
        result = await served.interlock.get(later.id).result()
        assert (result.outcome, result.reason, result.steps) == ("killed", "never begun (by client)", 0)


async def test_a_sweep_ends_many_runs_and_leaves_those_of_others(serve: Serve) -> None:
    async with serve(waiting("a")) as served:
        runs = [await served.start("a", user_id="many") for _ in range(sized(60, 20))]
        other = await served.start("a", user_id="other")
        await in_flight(other, "model")
        await served.interlock.fleet.kill("user", "many", "stop", by="ops")
        results = await asyncio.gather(*(run.result() for run in runs))
        assert {result.outcome for result in results} == {"killed"}
        assert await served.interlock.fleet.open_runs("user", "other") == 1
        assert (await other.status()).state == "running"
        await other.kill()


async def test_a_sweep_that_loses_its_worker_is_begun_anew_by_another(serve: Serve, temporal: Client) -> None:
    queue, user = f"later-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    async with serve(waiting("a"), grace=timedelta(0)) as served:
        fleet = served.interlock.fleet
        run = await Interlock(temporal, queue, fleet.id).start(AgentTask(agent="a", input="x", user_id=user))
        await fleet.kill("user", user, "stop", by="ops")

        async def at_it() -> bool:
            pending = (await temporal.get_workflow_handle(fleet.id).describe()).raw_description.pending_activities
            return any(each.activity_type.name == "sweep" and each.last_worker_identity for each in pending)

        await until(at_it)
    async with serving(temporal, [waiting("a")], queue=queue, fleet=fleet.id):
        assert (await run.result()).reason == f"user {user}: stop (by ops)"

        async def swept() -> bool:
            [kill] = (await fleet.status()).kills
            return kill.sweep is not None and kill.sweep.done and kill.sweep.left == 0

        await until(swept)
        attempts = [
            event.activity_task_started_event_attributes.attempt
            async for event in temporal.get_workflow_handle(fleet.id).fetch_history_events()
            if event.HasField("activity_task_started_event_attributes")
        ]
        assert attempts == [2]
        await replay_fleet(served)


async def test_everything_is_nobodys_name(serve: Serve) -> None:
    """Somebody who means a user must not stop the fleet."""
    async with serve(waiting("a")) as served:
        for order in (served.interlock.fleet.kill, served.interlock.fleet.release):
            with pytest.raises(BadRequest, match="scope 'all' takes no subject, and 'ada' is one"):
                await order("all", "ada")
        assert not (await served.interlock.fleet.view()).kills


async def test_what_cannot_be_killed_says_so(serve: Serve) -> None:
    async with serve(waiting("a", [say("done")])) as served:
        run = await served.start("a")
        await served.end(run)
        with pytest.raises(BadRequest, match="has already ended: completed"):
            await run.kill()
        with pytest.raises(RunNotFound, match="there is no run 'nobody'"):
            await served.interlock.get("nobody").kill()
        with pytest.raises(BadRequest, match="needs a subject"):
            await served.interlock.fleet.kill("user", "")
        with pytest.raises(BadRequest, match="user 'ada' is not killed"):
            await served.interlock.fleet.release("user", "ada")
        with pytest.raises(NoWorker, match="no worker has served nowhere here yet"):
            await Interlock(served.client, fleet="nowhere").fleet.kill("all")
