"""What a call relies on is checked before it runs: still valid, or fetched again and unchanged."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from interlock import Retry, ToolContext, ToolError, tool
from interlock.client import Run
from interlock.policies.outcomes import UNKNOWN
from interlock.testing import Say, call, calls
from tests.conftest import Serve
from tests.runs.world import World, agent, told, waits


async def trade(serve: Serve, world: World, turns: list[Say], tools: list[Any], **options: Any) -> tuple[Run, Any, Any]:
    async with serve(agent("trade", turns, tools, **options)) as served:
        run = await served.start("trade")
        result = await served.end(run)
        return run, result, await told(served, run)


async def test_inside_the_window_nothing_is_fetched(serve: Serve) -> None:
    world = World()
    quote = world.quote()
    _, result, messages = await trade(
        serve, world, [call("quote", symbol="A"), call("buy", symbol="A")], [quote, world.buy(quote)]
    )
    assert [message.content for message in messages] == ['{"symbol":"A","price":10}', "bought 1 of A"]
    assert result.by_tool == {"quote": 1, "buy": 1}


@pytest.mark.parametrize("moved", [False, True])
async def test_past_the_window_it_is_fetched_again_and_a_change_stops_the_call(*, moved: bool, serve: Serve) -> None:
    world = World()
    quote = world.quote(valid_for=1.0)

    @tool(effect="read")
    async def ponder() -> str:
        """Take longer than the window."""
        await asyncio.sleep(1.3)
        world.price += moved
        return "hm"

    turns = [call("quote", symbol="A"), call("ponder"), call("buy", symbol="A")]
    _, result, messages = await trade(serve, world, turns, [quote, ponder, world.buy(quote)])
    assert result.by_tool["quote"] >= 2  # on a busy machine it may be too old again when the call is made
    assert world.bought == ([] if moved else [("A", 1)])
    if moved:
        assert messages[2].is_error
        assert '{"symbol":"A","price":10}' in messages[2].content
        assert '{"symbol":"A","price":11}' in messages[2].content


async def test_a_purchase_relies_on_the_price_of_what_is_bought_not_on_the_last_one(
    serve: Serve, skipping: WorkflowEnvironment
) -> None:
    world = World()
    quote = world.quote(valid_for=60)
    turns = [
        call("quote", symbol="A"),
        call("send_email", to="ada"),
        call("quote", symbol="B"),
        call("buy", symbol="A"),
    ]
    tools = [quote, world.send(), world.buy(quote)]
    async with serve(agent("two-prices", turns, tools), client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("two-prices")
        await waits(run, "s2c1")
        await skipping.fast_forward(run.handle, timedelta(hours=1))
        world.price = 11
        await run.decide("s2c1", approve=True)
        await served.end(run)
    assert world.quoted == ["A", "B", "A"]
    assert world.bought == []


async def test_what_was_never_called_is_called_or_asked_for_and_the_model_decides(serve: Serve) -> None:
    world = World()
    quote = world.quote()

    @tool(effect="read", valid_for=60)
    def market(day: str) -> str:
        """Whether the market is open."""
        return "open"

    @tool(effect="read", valid_for=60)
    def mood() -> str:
        """The mood of the market."""
        return "calm"

    buy = world.buy(quote, mood)
    _, result, messages = await trade(
        serve, world, [call("buy", symbol="A"), call("buy", symbol="A")], [quote, mood, buy]
    )
    assert messages[0].content.startswith("ToolInputStale: buy was not made: it relies on something that you had not")
    assert '"price":10' in messages[0].content
    assert "calm" in messages[0].content
    assert (messages[1].content, world.bought) == ("bought 1 of A", [("A", 1)])
    assert result.by_tool == {"quote": 1, "mood": 1, "buy": 1}
    _, result, messages = await trade(serve, world, [call("buy", symbol="A")], [market, world.buy(market)])
    assert messages[0].content == (
        "ToolInputStale: buy was not made: it relies on market, which was not called. Call it first."
    )
    assert result.by_tool == {}


async def test_what_the_model_has_not_read_yet_is_news_to_it(serve: Serve) -> None:
    """Asked for side by side: the purchase was decided before the price was known."""
    world = World()
    quote = world.quote()
    turn = calls(call("quote", symbol="A"), call("buy", symbol="A"))
    _, _, messages = await trade(serve, world, [turn, call("buy", symbol="A")], [quote, world.buy(quote)])
    assert messages[1].is_error
    assert (messages[2].content, world.bought) == ("bought 1 of A", [("A", 1)])


async def test_two_purchases_of_one_reply_are_both_stopped_by_one_change(
    serve: Serve, skipping: WorkflowEnvironment
) -> None:
    world = World()
    quote = world.quote(valid_for=60)
    both = calls(call("buy", symbol="A", amount=1), call("buy", symbol="A", amount=2))
    tools = [quote, world.buy(quote, approval=True)]
    stopped = agent("both", [call("quote", symbol="A"), both], tools, max_parallel_tools=1)
    async with serve(stopped, client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("both")
        await waits(run, "s2c1", "s2c2")
        await skipping.fast_forward(run.handle, timedelta(hours=1))
        world.price = 11
        for number in (1, 2):
            await run.decide(f"s2c{number}", approve=True)
        await served.end(run)
        assert world.bought == []
        assert all('"price":11' in message.content for message in (await told(served, run))[1:])


async def test_a_requirement_that_cannot_be_fetched_stops_the_call(serve: Serve) -> None:
    world, asked = World(), list[str]()

    @tool(effect="read", valid_for=0.5)
    async def quote(symbol: str) -> str:
        """A price, once."""
        asked.append(symbol)
        if len(asked) > 1:
            raise ToolError("closed for today")
        return "10"

    @tool(effect="read")
    async def ponder() -> str:
        """Take longer than the window."""
        await asyncio.sleep(0.8)
        return "hm"

    turns = [call("quote", symbol="A"), call("ponder"), call("buy", symbol="A")]
    _, _, messages = await trade(serve, world, turns, [quote, ponder, world.buy(quote)])
    assert messages[2].content == (
        "ToolInputStale: buy was not made: quote, which it relies on, was called again and gave no result: "
        "closed for today"
    )
    assert world.bought == []


async def test_a_result_that_is_always_late_stops_the_call(serve: Serve) -> None:
    world, asked = World(), list[str]()

    @tool(effect="read", valid_for=0.2)
    async def quote(symbol: str) -> str:
        """A price that is out of date when it arrives."""
        asked.append(symbol)
        await asyncio.sleep(0.4)
        return "10"

    _, _, messages = await trade(
        serve, world, [call("quote", symbol="A"), call("buy", symbol="A")], [quote, world.buy(quote)]
    )
    assert "was past its window each time it had been fetched" in messages[1].content
    assert (world.bought, asked) == ([], ["A"] * 4)


@pytest.mark.parametrize("moved", [False, True])
async def test_a_call_that_waited_for_its_next_attempt_is_checked_again(*, moved: bool, serve: Serve) -> None:
    """Its first attempt fails, and the window ends before the second one. Nobody says that nothing was done."""
    world, attempts = World(), list[str]()
    quote = world.quote(valid_for=1.0)

    @tool(effect="idempotent", requires_fresh=[quote])
    async def order(symbol: str, context: ToolContext) -> str:
        """Order, and say so at the second attempt."""
        attempts.append(context.idempotency_key)
        if len(attempts) == 1:
            world.price += moved
            await asyncio.sleep(1.3)
            raise RuntimeError("try again")
        return "ordered"

    _, result, messages = await trade(
        serve, world, [call("quote", symbol="A"), call("order", symbol="A")], [quote, order]
    )
    assert (
        result.by_tool["quote"] >= 2
    )  # a machine that takes a second to begin the first attempt checks before it, too
    if not moved:
        assert messages[1].content == "ordered"
        assert len(attempts) == 2
        assert len(set(attempts)) == 1
        return
    assert len(attempts) == 1
    assert messages[1].content.startswith(
        "ToolOutcomeUnknown: order was not tried again: what it relies on has changed."
    )
    assert '"price":11' in messages[1].content
    assert messages[1].content.endswith(f"An attempt before that had failed. {UNKNOWN}")
    assert "Nothing was done" not in messages[1].content


async def test_what_is_fetched_again_for_a_call_is_another_call_each_time(serve: Serve) -> None:
    """A service that honours keys would answer the same key with what it had answered before."""
    world, keys = World(), list[str]()

    @tool(effect="idempotent", valid_for=0.6)
    async def quote(symbol: str, context: ToolContext) -> int:
        """The price of something."""
        keys.append(context.idempotency_key)
        return world.price

    @tool(effect="idempotent", requires_fresh=[quote], retry=Retry(attempts=3, initial=0.8, jitter=0))
    async def order(symbol: str) -> str:
        """Order, in vain."""
        raise RuntimeError("try again")

    await trade(serve, world, [call("quote", symbol="A"), call("order", symbol="A")], [quote, order])
    assert len(keys) >= 3
    assert len(set(keys)) == len(keys)
