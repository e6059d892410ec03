"""A person decides: on this very call, once, in time, and whatever else happens meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from interlock import Limits, tool
from interlock.client import Run
from interlock.errors import BadRequest
from interlock.history import decode
from interlock.testing import call, calls
from tests.conftest import Serve, activities
from tests.runs.world import World, agent, told, waits


async def timers(run: Run) -> list[str]:
    """The summaries of a run's timers."""
    history = await run.handle.fetch_history()
    return [
        await decode(run.handle._client.data_converter, Payloads(payloads=[event.user_metadata.summary]), str)
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED and event.user_metadata.HasField("summary")
    ]


async def test_a_call_waits_for_a_person_and_says_so_everywhere(serve: Serve) -> None:
    world = World()
    async with serve(agent("mailer", [call("send_email", to="ada")], [world.send()])) as served:
        run = await served.start("mailer")
        [pending] = await waits(run, "s1c1")
        assert (pending.tool, pending.kind, pending.summary) == ("send_email", "approval", 'send_email(to="ada")')
        assert pending.why == "every call of send_email needs approval"
        assert pending.expires == pending.since + timedelta(hours=24)
        assert (await run.status()).state == "waiting_approval"
        command = f"interlock approve {run.id} s1c1"
        assert await timers(run) == [f"waiting for approval of send_email · {command}"]
        details = await run.handle.query("__temporal_workflow_metadata")
        assert command in str(details)
        assert world.sent == []
        status = await run.decide("s1c1", approve=True, reason="fine", by="ann", arguments_hash=pending.arguments_hash)
        assert status.pending_approvals == ()
        result = await served.end(run)
        assert (result.outcome, world.sent, result.by_tool) == ("completed", ["ada"], {"send_email": 1})
        assert [message.content for message in await told(served, run)] == ["sent to ada"]
        after = await run.handle.query("__temporal_workflow_metadata")
        assert "interlock approve" not in str(after)


async def test_a_rejection_is_told_to_the_model_with_its_reason_and_nothing_runs(serve: Serve) -> None:
    world = World()
    async with serve(agent("refused", [call("send_email", to="all")], [world.send()])) as served:
        run = await served.start("refused")
        await waits(run, "s1c1")
        await run.decide("s1c1", approve=False, reason="too many people", by="ann")
        result = await served.end(run)
        [message] = await told(served, run)
        assert (message.content, message.is_error) == ("Not run: ann rejected send_email: too many people.", True)
        assert (result.outcome, result.tool_calls, world.sent) == ("completed", 0, [])
        assert "tool.send_email" not in await activities(served.client, run.id)


async def test_a_decision_is_for_these_arguments_once_and_the_second_decider_learns_who_was_first(serve: Serve) -> None:
    world = World()
    turns = [call("send_email", to="ada"), call("send_email", to="bob")]
    async with serve(agent("bound", turns, [world.send()])) as served:
        run = await served.start("bound")
        [pending] = await waits(run, "s1c1")
        for wrong, said in (
            ({"call_id": "s9c9", "approve": True}, "no call 's9c9' waits"),
            ({"call_id": "s9c9", "approve": True}, "waiting: s1c1 send_email"),
            ({"call_id": "s1c1", "approve": True, "arguments_hash": "0" * 16}, "is for other arguments"),
            ({"call_id": "s1c1"}, "approve: Field required"),
            ({"call_id": "s1c1", "approve": True, "resaon": "x"}, "resaon: unknown field"),
            ({"call_id": "s1c1", "approve": "of course"}, "approve"),
        ):
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await run.handle.execute_update("decide", wrong)
            assert said in str(refused.value.cause)
        decisions = await asyncio.gather(
            run.decide("s1c1", approve=True, reason="go", by="ann", arguments_hash=pending.arguments_hash),
            run.decide("s1c1", approve=False, reason="stop", by="bob"),
            return_exceptions=True,
        )
        [second] = [each for each in decisions if isinstance(each, BadRequest)]
        assert ("approved by ann" in str(second)) != ("rejected by bob" in str(second))
        # The next call is another one: what was decided of the first does not count for it.
        await waits(run, "s2c1")
        with pytest.raises(BadRequest, match=r"call 's1c1' was already (approved by ann|rejected by bob) at "):
            await run.decide("s1c1", approve=True, by="cleo")
        with pytest.raises(BadRequest, match="is for other arguments"):
            await run.decide("s2c1", approve=True, by="cleo", arguments_hash=pending.arguments_hash)
        await run.decide("s2c1", approve=True, by="cleo")
        await served.end(run)
        assert world.sent in (["ada", "bob"], ["bob"])
        assert (len(world.sent) == 2) == ("approved by ann" in str(second))


async def test_nobody_decides_for_48_hours(serve: Serve, skipping: WorkflowEnvironment) -> None:
    world = World()
    waiting = agent("patient", [call("send_email", to="ada")], [world.send()], limits=Limits(seconds=60))
    async with serve(waiting, client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("patient")
        await waits(run, "s1c1")
        await skipping.fast_forward(run.handle, timedelta(hours=48))
        result = await served.end(run)
        assert (result.outcome, result.output, world.sent) == ("completed", "done", [])
        [message] = await told(served, run)
        assert message.content == "Not run: nobody approved send_email in time."
        with pytest.raises(BadRequest, match="already"):
            await run.decide("s1c1", approve=True, by="ann")


async def test_47_hours_of_waiting_are_not_working_time(serve: Serve, skipping: WorkflowEnvironment) -> None:
    world = World()
    patient = agent(
        "patient-2",
        [call("send_email", to="ada")],
        [world.send(approval_timeout=48 * 3600)],
        limits=Limits(seconds=60),
    )
    async with serve(patient, client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("patient-2")
        [pending] = await waits(run, "s1c1")
        assert pending.expires == pending.since + timedelta(hours=48)
        await skipping.fast_forward(run.handle, timedelta(hours=47))
        await run.decide("s1c1", approve=True, by="ann")
        result = await served.end(run)
        assert (result.outcome, result.output, world.sent) == ("completed", "done", ["ada"])
        assert float((await run.status()).spent["seconds"]) < 60


async def test_a_price_that_moved_while_a_person_thought_voids_the_approval(
    serve: Serve, skipping: WorkflowEnvironment
) -> None:
    world = World()
    quote = world.quote(valid_for=60)
    buys = [call("quote", symbol="A"), call("buy", symbol="A"), call("buy", symbol="A")]
    trader = agent("trader", buys, [quote, world.buy(quote, approval=True)])
    async with serve(trader, client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("trader")
        await waits(run, "s2c1")
        await skipping.fast_forward(run.handle, timedelta(hours=1))
        world.price = 12
        await run.decide("s2c1", approve=True, by="ann")
        # Not made: the model gets both prices, decides anew, and what it asks for now needs an approval of its own.
        await waits(run, "s3c1")
        assert world.bought == []
        with pytest.raises(BadRequest, match="already approved by ann"):
            await run.decide("s2c1", approve=True, by="ann")
        await skipping.fast_forward(run.handle, timedelta(hours=1))
        await run.decide("s3c1", approve=True, by="ann")
        result = await served.end(run)
        _, refused, bought = await told(served, run)
        assert refused.content.startswith("ToolInputStale: buy was not made: what it relies on has changed.")
        assert '{"symbol":"A","price":10}' in refused.content
        assert '{"symbol":"A","price":12}' in refused.content
        assert (bought.content, world.bought) == ("bought 1 of A", [("A", 1)])
        assert result.by_tool == {"quote": 3, "buy": 1}


@pytest.mark.parametrize("how", ["kill", "cancel"])
async def test_a_run_that_waits_ends_at_once_when_it_is_told_to(how: str, serve: Serve) -> None:
    world = World()
    async with serve(agent(f"ended-by-{how}", [call("send_email", to="ada")], [world.send()])) as served:
        run = await served.start(f"ended-by-{how}")
        await waits(run, "s1c1")
        await (run.kill("enough", by="ops") if how == "kill" else run.cancel())
        result = await asyncio.wait_for(served.end(run), 25)
        assert (result.outcome, world.sent) == ("killed" if how == "kill" else "cancelled", [])
        status = await run.status()
        assert (status.state, status.pending_approvals) == ("closed", ())
        with pytest.raises(BadRequest):
            await run.decide("s1c1", approve=True)


async def test_a_paused_run_takes_decisions_and_makes_the_call_when_it_goes_on(serve: Serve) -> None:
    world = World()
    async with serve(agent("paused", [call("send_email", to="ada")], [world.send()])) as served:
        run = await served.start("paused")
        await waits(run, "s1c1")
        await run.pause("lunch", by="ada")
        status = await run.decide("s1c1", approve=True, by="ann")
        for _ in range(200):
            if (status := await run.status()).state == "paused":
                break
            await asyncio.sleep(0.05)
        assert (status.state, world.sent) == ("paused", [])
        await run.resume()
        assert (await served.end(run)).outcome == "completed"
        assert world.sent == ["ada"]


async def test_several_calls_of_one_reply_wait_side_by_side_while_others_run(serve: Serve) -> None:
    world = World()
    looked: list[int] = []

    @tool(effect="read")
    async def look(number: int) -> str:
        """Look."""
        looked.append(number)
        return "seen"

    turn = calls(call("send_email", to="ada"), call("look", number=1), call("send_email", to="bob"))
    # One at a time: whoever waits for a person does not keep others from working.
    several = agent("several", [turn], [world.send(), look], max_parallel_tools=1)
    async with serve(several) as served:
        run = await served.start("several")
        await waits(run, "s1c1", "s1c3")
        for _ in range(200):
            if looked:
                break
            await asyncio.sleep(0.05)
        assert looked == [1]
        await run.decide("s1c3", approve=True, by="ann")
        await waits(run, "s1c1")
        assert (await run.status()).state == "waiting_approval"
        await run.decide("s1c1", approve=False, by="bob")
        await served.end(run)
        contents = [message.content for message in await told(served, run)]
        assert contents == ["Not run: bob rejected send_email.", "seen", "sent to bob"]
        assert world.sent == ["bob"]


async def test_the_clock_runs_while_a_call_runs_beside_one_that_waits(serve: Serve) -> None:
    world = World()

    @tool(effect="read", timeout=30)
    async def work() -> str:
        """Work."""
        await asyncio.sleep(2)
        return "worked"

    async with serve(
        agent("beside", [calls(call("send_email", to="ada"), call("work"))], [world.send(), work])
    ) as served:
        run = await served.start("beside")
        for _ in range(400):
            status = await run.status()
            if status.state == "waiting_approval" and float(status.spent["seconds"]) >= 2:
                break
            await asyncio.sleep(0.05)
        before = float((await run.status()).spent["seconds"])
        assert before >= 2
        await asyncio.sleep(1.5)
        assert float((await run.status()).spent["seconds"]) == before
        await run.decide("s1c1", approve=True)
        await served.end(run)


def broken(amount: int) -> bool:
    raise LookupError("no such limit")


async def slow(amount: int) -> bool:
    return amount > 100


@pytest.mark.parametrize(
    ("predicate", "amount", "why"),
    [
        (lambda amount: amount > 100, 5, None),
        (lambda amount: amount > 100, 500, "pay asks for approval of this call"),
        (lambda to, amount: f"{amount} to {to}" if amount > 100 else None, 500, "500 to bob"),
        (lambda **arguments: arguments == {"to": "bob", "amount": 7}, 7, "pay asks for approval of this call"),
        (slow, 500, "pay asks for approval of this call"),
        (slow, 5, None),
        (broken, 5, "pay could not say whether it needs approval: LookupError"),
    ],
)
async def test_a_predicate_on_the_arguments_says_which_calls_wait(
    predicate: Any, amount: int, why: str | None, serve: Serve
) -> None:
    paid: list[int] = []

    @tool(effect="write", approval=predicate)
    def pay(amount: int, to: str = "bob") -> str:
        """Pay."""
        paid.append(amount)
        return "paid"

    async with serve(agent("payer", [call("pay", amount=amount)], [pay])) as served:
        run = await served.start("payer")
        if why is not None:
            [pending] = await waits(run, "s1c1")
            assert (pending.why, paid) == (why, [])
            await run.decide("s1c1", approve=True)
        await served.end(run)
        assert paid == [amount]


async def test_a_predicate_is_asked_where_the_reply_arrives_and_never_on_replay(serve: Serve) -> None:
    asked: list[int] = []

    def ask(amount: int) -> bool:
        asked.append(amount)
        return False

    @tool(effect="write", approval=ask)
    def pay(amount: int) -> str:
        """Pay."""
        return "paid"

    async with serve(agent("asked-once", [call("pay", amount=1), call("pay", amount="x")], [pay])) as served:
        await served.run("asked-once")
    assert asked == [1]


async def test_a_run_whose_worker_changes_goes_on_waiting(serve: Serve) -> None:
    world = World()
    waiting = agent("handed-over", [call("send_email", to="ada")], [world.send()])
    async with serve(waiting, max_cached_workflows=0) as served:  # every task replays from the first event
        run = await served.start("handed-over")
        while not await timers(run):  # a task that is not in the history yet may be done again, at another time
            await asyncio.sleep(0.05)
        [first] = await waits(run, "s1c1")
        assert (await waits(run, "s1c1")) == [first]
        await run.decide("s1c1", approve=True)
        await served.end(run)
        assert world.sent == ["ada"]
