"""Results know how long they are true: what the model is shown, and what is used again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.testing import WorkflowEnvironment

from interlock import ToolError, tool
from interlock.contracts import Message, ToolMessage
from interlock.policies.freshness import STALE
from interlock.testing import Say, call, calls, say
from tests.conftest import Serve, activities
from tests.runs.world import World, agent, told, waits


def shown_to(seen: list[list[str]], turns: Sequence[Say]) -> Any:
    """A script that keeps what its model is shown of its calls, turn by turn."""

    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        seen.append([message.content for message in messages if isinstance(message, ToolMessage)])
        return (*turns, say("done"))[sum(message.role == "assistant" for message in messages)]

    return turn


async def test_the_model_is_shown_the_window_and_what_is_past_it(serve: Serve, skipping: WorkflowEnvironment) -> None:
    world, seen = World(), list[list[str]]()
    quote = world.quote(valid_for=3600)
    turns = [call("quote", symbol="A"), call("send_email", to="ada"), call("send_email", to="bob")]
    async with serve(agent("shown", shown_to(seen, turns), [quote, world.send()]), client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("shown")
        for number, hours in ((2, 0.5), (3, 2.0)):
            await waits(run, f"s{number}c1")
            await skipping.fast_forward(run.handle, timedelta(hours=hours))
            await run.decide(f"s{number}c1", approve=True)
        await served.end(run)
        [message] = [each for each in await told(served, run) if each.tool == "quote"]
    assert message.observed_at is not None
    assert message.valid_until == message.observed_at + timedelta(hours=1)
    assert message.content == '{"symbol":"A","price":10}'
    first, fresh, stale = (shown[0] for shown in seen[1:])
    window = (
        f"observed {message.observed_at:%Y-%m-%d %H:%M:%S} UTC, valid until {message.valid_until:%Y-%m-%d %H:%M:%S}"
    )
    assert first == fresh == f"{message.content}\n[{window} UTC]"
    assert stale == f"{fresh}\n{STALE}"
    assert seen[3][1] == "sent to ada"


async def test_a_worker_that_rebuilds_shows_the_same(serve: Serve, skipping: WorkflowEnvironment) -> None:
    world, seen = World(), list[list[str]]()
    turns = [call("quote", symbol="A"), call("send_email", to="ada")]
    tools = [world.quote(), world.send()]
    model = agent("rebuilt", shown_to(seen, turns), tools)
    async with serve(model, client=skipping.client, transcript_bytes=0, max_cached_workflows=0) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("rebuilt")
        await waits(run, "s2c1")
        await skipping.fast_forward(run.handle, timedelta(hours=2))
        await run.decide("s2c1", approve=True)
        await served.end(run)
    assert [len(shown) for shown in seen] == [0, 1, 2]
    assert STALE not in seen[1][0]
    assert STALE in seen[2][0]


async def test_a_cached_result_is_used_again_inside_its_window_and_never_outside(
    serve: Serve, skipping: WorkflowEnvironment
) -> None:
    world, seen = World(), list[list[str]]()
    quote = world.quote(valid_for=3600, cache=True)
    same = Say(calls=(("quote", '{ "symbol" :  "A" }'),))
    turns = [
        *(calls(call("quote", symbol="A"), call("quote", symbol="B")), same),
        *(call("send_email", to="ada"), same, call("send_email", to="bob"), same),
    ]
    async with serve(agent("cached", shown_to(seen, turns), [quote, world.send()]), client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("cached")
        for number, minutes in ((3, 58), (5, 3)):
            await waits(run, f"s{number}c1")
            world.price += 1
            await skipping.fast_forward(run.handle, timedelta(minutes=minutes))
            await run.decide(f"s{number}c1", approve=True)
        result = await served.end(run)
        quotes = [each for each in await told(served, run) if each.tool == "quote"]
        assert (await activities(served.client, run.id)).count("tool.quote") == 3
    assert sorted(world.quoted) == ["A", "A", "B"]
    assert [each.cached for each in quotes] == [False, False, True, True, False]
    first, _, second, third, fourth = quotes
    assert first.content == second.content == third.content == '{"symbol":"A","price":10}'
    assert first.observed_at == second.observed_at == third.observed_at
    assert fourth.content == '{"symbol":"A","price":12}'
    assert f"\n[used again, observed {first.observed_at:%Y-%m-%d %H:%M:%S} UTC" in seen[2][2]
    assert result.by_tool == {"quote": 3, "send_email": 2}


async def test_equal_calls_of_one_reply_share_one_result(serve: Serve) -> None:
    world = World()
    same = Say(calls=(("quote", '{ "symbol" :  "A" }'),))
    turn = calls(call("quote", symbol="A"), call("quote", symbol="B"), same, call("quote", symbol="A"))
    async with serve(agent("shared", [turn], [world.quote(cache=True)])) as served:
        run = await served.start("shared")
        result = await served.end(run)
        messages = await told(served, run)
    assert sorted(world.quoted) == ["A", "B"]
    assert [each.cached for each in messages] == [False, False, True, True]
    assert messages[0].content == messages[2].content == messages[3].content
    assert result.by_tool == {"quote": 2}


async def test_what_failed_or_is_too_long_is_not_used_again(serve: Serve) -> None:
    ran: list[int] = []

    @tool(effect="read", valid_for=60, cache=True, max_result_bytes=200_000)
    def long(number: int) -> str:
        """Much, or an error."""
        ran.append(number)
        if number == 2:
            raise ToolError("not today")
        return "x" * 100_000

    turns = [call("long", number=number) for number in (1, 1, 2, 2)]
    async with serve(agent("not-cached", turns, [long])) as served:
        await served.run("not-cached")
    assert ran == [1, 1, 2, 2]


async def test_a_run_that_only_asks_for_what_it_knows_ends_by_its_limit(serve: Serve) -> None:
    world = World()

    def turn(messages: Any, tools: Any) -> Say:
        return call("quote", symbol="A") if tools else say("done")

    asks = agent("asks-again", turn, [world.quote(cache=True)])
    async with serve(asks) as served:
        result = await served.run("asks-again", limits={"tool_calls": 5})
        assert (result.outcome, result.tool_calls, world.quoted) == ("killed", 1, ["A"])
