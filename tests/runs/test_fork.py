"""A run that goes on from another's conversation, as it stood before one of its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from interlock import Account, Agent, AgentTask, Interlock, Limits, Models, Price, tool
from interlock.contracts import Carried, Message, size
from interlock.errors import BadRequest, RunFailed, RunNotFound
from interlock.forking import carried_to
from interlock.history import started_with
from interlock.policies.budget import sent_bytes
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.conftest import Serve, activities
from tests.runs.recording import Recording

PRICE = Price(input="1.00", output="10.00")


@tool(effect="read")
async def look(number: int = 0) -> str:
    """Look at something."""
    return f"seen {number}"


async def glance(number: int = 0) -> str:
    """Look at something that changes."""
    return f"seen {number}"


def looking(name: str, turns: int = 3, **options: object) -> Agent:
    """Looks so often, then answers with what it was asked and what it was told."""

    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        seen = sum(message.role == "tool" for message in messages)
        if seen < turns:
            return call("look", number=seen)
        return say("; ".join(message.text for message in messages if message.role == "user"))

    model = ScriptedModel(f"fork-{name}", turn, PRICE)
    return Agent(name=name, instructions="Look.", models=model.model, tools=[look], **options)  # type: ignore[arg-type]


def texts(messages: Sequence[Message]) -> list[str]:
    return [message.content if message.role == "tool" else message.text for message in messages]


async def test_a_fork_goes_on_from_before_a_step_with_spending_and_limits_of_its_own(serve: Serve) -> None:
    recording = Recording()
    async with serve(looking("looker", limits=Limits(steps=4)), providers=recording.providers) as served:
        run = await served.start("looker", "How many?", user_id="ada", limits={"usd": "0.90"})
        original = await served.end(run)
        recording.sent.clear()
        forked = await served.interlock.fork(run.id, 3, "Look twice as hard.")
        result = await served.end(forked)
        assert forked.id != run.id
        assert (result.output, result.outcome) == ("How many?; Look twice as hard.", "completed")
        # Steps 3 and 4 were taken anew; the calls before them were neither made nor paid for again.
        assert (result.steps, result.tool_calls, result.usage.calls) == (4, 1, 2)
        assert Decimal(0) < result.usage.usd < original.usage.usd
        assert (await activities(served.client, forked.id)) == ["model", "tool.look", "model"]
        status = await forked.status()
        assert (status.user_id, status.limits.usd, status.limits.steps) == ("ada", Decimal("0.90"), 6)
        assert texts((await served.interlock.transcript(forked.id)).messages)[-1] == result.output
        # The run that was forked is as it was.
        assert (await run.result()) == original


async def test_a_worker_without_a_cache_sends_a_fork_what_the_run_had_said(serve: Serve) -> None:
    recording = Recording()
    forgetful = {"providers": recording.providers, "transcript_bytes": 0, "max_cached_workflows": 0}
    async with serve(looking("forgetful"), **forgetful) as served:
        run = await served.start("forgetful", "How many?")
        await served.end(run)
        whole = list(recording.sent)
        recording.sent.clear()
        await served.end(await served.interlock.fork(run.id, 2))
    assert recording.sent == whole[1:]


async def test_a_fork_of_the_first_step_is_asked_the_same_again(serve: Serve) -> None:
    async with serve(looking("again", turns=1)) as served:
        run = await served.start("again", "Once?")
        await served.end(run)
        result = await served.end(await served.interlock.fork(run.id, 1))
        assert (result.output, result.steps, result.tool_calls) == ("Once?", 2, 1)


async def test_a_run_that_has_answered_is_asked_more_and_a_fork_is_forked(serve: Serve) -> None:
    async with serve(looking("asked", turns=1)) as served:
        run = await served.start("asked", "One?")
        await served.end(run)
        second = await served.interlock.fork(run.id, 3, "Two?")
        assert (await served.end(second)).output == "One?; Two?"
        third = await served.interlock.fork(second.id, 4, "Three?")
        assert (await served.end(third)).output == "One?; Two?; Three?"
        with pytest.raises(BadRequest, match="its history begins with step 3"):
            await served.interlock.fork(second.id, 2)


async def test_a_live_run_is_forked_while_it_works_and_a_planned_one_keeps_its_plan(serve: Serve) -> None:
    told = asyncio.Event()

    @tool(effect="read")
    async def hold() -> str:
        """Wait."""
        await told.wait()
        return "held"

    model = ScriptedModel("fork-live", [say("1. hold"), call("hold"), say("done")])
    live = Agent(name="live", instructions="-", models=model.model, tools=[hold], plan=True)
    async with serve(live) as served:
        run = await served.start("live", "go")
        while "tool.hold" not in await activities(served.client, run.id):
            await asyncio.sleep(0.05)
        forked = await served.interlock.fork(run.id, 1)
        with pytest.raises(BadRequest, match="it has 1 step; what its last calls came to was told to no model yet"):
            await served.interlock.fork(run.id, 2, "and?")
        told.set()
        assert (await served.end(forked)).output == (await served.end(run)).output == "done"
        said = texts((await served.interlock.transcript(forked.id)).messages)
        assert said == texts((await served.interlock.transcript(run.id)).messages)
        assert said[2] == "1. hold"


async def test_call_ids_of_a_fork_are_not_those_of_the_conversation_it_goes_on_from(serve: Serve) -> None:
    script = [calls(call("look", number=1), call("look", number=2)), call("look"), say("x")]
    model = ScriptedModel("fork-ids", script, PRICE)
    windowed = tool(name="look", effect="read", valid_for=600)(glance)
    agent = Agent(
        name="ids", instructions="-", models=model.model, tools=[windowed], accounts=[Account("fork", usd="9")]
    )
    async with serve(agent) as served:
        run = await served.start("ids")
        await served.end(run)
        forked = await served.interlock.fork(run.id, 2)
        await served.end(forked)
        messages = (await served.interlock.transcript(forked.id)).messages
        asked = [call.call_id for message in messages if message.role == "assistant" for call in message.calls]
        assert asked == ["s1c1", "s1c2", "s2c1"]
        # It leases for itself: what the run before it held is not its own.
        assert (await activities(served.client, forked.id))[0] == "lease"
        first = await anext(forked.handle.fetch_history_events())
        given = await started_with(first, served.client.data_converter)
        assert isinstance(given, Carried)
        assert [(leased.account.name, leased.usd) for leased in given.progress.leases] == [("fork", Decimal(0))]
        # What the windows of earlier results may add to a request is reckoned with, as that run did.
        given = await carried_to(served.client, run.id, 3)
        spec, told = given.progress.spec, given.transcript.messages
        assert len(given.progress.open_windows) == sum(message.role == "tool" for message in told) == 2
        said = len(spec.instructions) + spec.schema_bytes + sum(sent_bytes(spec.bounds, message) for message in told)
        assert given.progress.bytes == said > sum(size(message) for message in told) + spec.schema_bytes + 200


async def test_a_task_that_was_judged_is_not_judged_again(serve: Serve) -> None:
    judge = ScriptedModel("fork-judge", [say("complex")], PRICE)
    model = ScriptedModel("fork-judged", [call("look"), say("done")], PRICE)
    models = Models(simple=judge.model, medium=judge.model, complex=model.model)
    agent = Agent(name="judged", instructions="-", models=models, tools=[look])
    async with serve(agent) as served:
        run = await served.start("judged", "Hard?", complexity="auto")
        await served.end(run)
        forked = await served.interlock.fork(run.id, 2)
        await served.end(forked)
        assert await activities(served.client, forked.id) == ["model"]
        assert (await forked.status()).routing[0].reason == "complex task"


@pytest.mark.parametrize(
    ("step", "message", "said"),
    [
        (0, "", "steps are counted from 1"),
        (-3, "", "steps are counted from 1"),
        (4, "and?", "it has 2 steps$"),
        (3, "", "it has 2 steps; it has answered, and goes on when it is given a message"),
    ],
)
async def test_a_step_that_there_is_not_is_refused_and_nothing_is_started(
    serve: Serve, step: int, message: str, said: str
) -> None:
    async with serve(looking("short", turns=1)) as served:
        run = await served.start("short", user_id=f"user-{step}")
        await served.end(run)
        with pytest.raises(BadRequest, match=said):
            await served.interlock.fork(run.id, step, message)


async def test_a_run_that_there_is_not_or_that_never_began_cannot_be_forked(serve: Serve) -> None:
    async with serve(looking("there")) as served:
        with pytest.raises(RunNotFound, match="there is no run 'no-such-run'"):
            await served.interlock.fork("no-such-run", 1)
        unknown = await served.start("not-there")
        with pytest.raises(RunFailed, match="not-there"):
            await unknown.result()
        with pytest.raises(BadRequest, match="it has not begun one yet"):
            await served.interlock.fork(unknown.id, 1)
        run = await served.start("there")
        await served.end(run)
        waiting = await Interlock(served.client, "nobody-here").start(AgentTask(agent="there", input="x"))
        with pytest.raises(BadRequest, match="already under way"):
            await served.interlock.fork(run.id, 1, new_id=waiting.id)
        await waiting.handle.terminate()
