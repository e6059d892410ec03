"""Predicates are asked side by side, and none of their ways to fail says that a call may be made."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from activities.predicates import Predicates
from interlock import Agent
from interlock.contracts import AssistantMessage, CallPart, ModelReply
from interlock.tools import Tool


def act(number: int) -> str:
    """Act."""
    return str(number)


async def said(predicate: Callable[..., Any], count: int = 1, *, seconds: float = 20) -> list[str]:
    """What a predicate says of so many calls of one reply."""
    tool = Tool(act, approval=predicate)
    spec = Agent(name="a", instructions="", models="p:m", tools=[tool]).spec()
    calls = tuple(CallPart(call_id=f"s1c{n}", tool="act", arguments=f'{{"number": {n}}}') for n in range(count))
    reply = ModelReply(
        reply_id="r", message=AssistantMessage(provider="p", parts=calls), finish="tool_calls", model="p:m"
    )
    asked = await Predicates([tool]).asked(reply, spec, seconds=seconds)
    assert list(asked.approvals) == [call.call_id for call in calls]
    return list(asked.approvals.values())


@pytest.mark.parametrize("plain", [True, False])
async def test_they_are_asked_side_by_side(*, plain: bool) -> None:
    together = asyncio.Barrier(4)
    in_threads = threading.Barrier(4)

    async def meets(number: int) -> str:
        await together.wait()
        return f"about {number}"

    def meets_in_threads(number: int) -> str:
        in_threads.wait(20)
        return f"about {number}"

    found = await said(meets_in_threads if plain else meets, 4)
    assert found == ["about 0", "about 1", "about 2", "about 3"]


async def never(number: int) -> bool:
    await asyncio.sleep(60)
    return False


def never_in_a_thread(number: int) -> bool:
    time.sleep(2)
    return False


async def leaves(number: int) -> bool:
    sys.exit(3)


async def cancels(number: int) -> bool:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("predicate", "why"),
    [
        (never, "TimeoutError"),
        (never_in_a_thread, "TimeoutError"),
        (leaves, "SystemExit"),
        (cancels, "CancelledError"),
    ],
)
async def test_one_that_does_not_answer_leaves_the_call_to_a_person(predicate: Callable[..., Any], why: str) -> None:
    assert await said(predicate, 3, seconds=0.1) == [f"act could not say whether it needs approval: {why}"] * 3


async def test_a_cancellation_of_the_call_of_the_model_is_none_of_theirs() -> None:
    asking = asyncio.create_task(said(never, 2))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_an_async_predicate_behind_a_plain_decorator_is_asked() -> None:
    async def large(number: int) -> str:
        return f"{number} is large"

    def audited(number: int) -> Any:
        return large(number)

    assert await said(audited) == ["0 is large"]


async def test_what_it_says_never_spoils_the_reply_that_it_is_said_of() -> None:
    [why] = await said(lambda number: "half \ud800")
    assert why.encode() == b"half ?"


async def test_a_parameter_may_have_any_name() -> None:
    def call_function(function: str) -> str:
        """Call a function by its name."""
        return function

    tool = Tool(call_function, approval=lambda function: f"{function} is called")
    spec = Agent(name="a", instructions="", models="p:m", tools=[tool]).spec()
    part = CallPart(call_id="s1c1", tool="call_function", arguments='{"function": "f"}')
    reply = ModelReply(
        reply_id="r", message=AssistantMessage(provider="p", parts=(part,)), finish="tool_calls", model="p:m"
    )
    assert (await Predicates([tool]).asked(reply, spec, seconds=20)).approvals == {"s1c1": "f is called"}
