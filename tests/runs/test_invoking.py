"""What a tool's function may do to the worker it runs in: nothing, whatever it returns, starts and raises."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest

from interlock import ToolError, tool
from interlock.testing import call
from tests.conftest import Serve
from tests.runs.test_tools import QUICK, play
from tests.until import until

ASKED: list[str] = []


async def in_a_group(error: Exception) -> None:
    async def one() -> None:
        raise error

    async with asyncio.TaskGroup() as group:
        group.create_task(one())


def was_done(number: int) -> bool:
    ASKED.append(f"verify {number}")
    return True


async def test_a_generator_is_read_to_its_end_in_its_thread(serve: Serve) -> None:
    read_in: set[str] = set()

    @tool(effect="read")
    def lines(count: int) -> Iterable[str]:
        """Lines."""
        for number in range(count):
            read_in.add(threading.current_thread().name)
            yield f"line {number}"

    @tool(effect="read")
    async def later(count: int) -> Any:
        """Lines, later."""
        return (f"line {number}" for number in range(count))

    @tool(effect="read")
    def refused() -> Any:
        """Lines that may not be read."""
        yield "one"
        raise ToolError("the rest is secret")

    told = await play(serve, [call("lines", count=2), call("later", count=1), call("refused")], [lines, later, refused])
    assert [each.content for each in told.messages] == ['["line 0","line 1"]', '["line 0"]', "the rest is secret"]
    assert read_in
    assert threading.main_thread().name not in read_in


async def test_one_without_an_end_is_left_when_its_time_is_up(serve: Serve) -> None:
    yielded: list[int] = []

    @tool(effect="read", timeout=0.5)
    def endless() -> Any:
        """Count."""
        for number in itertools.count():
            yielded.append(number)
            time.sleep(0.01)
            yield number

    told = await play(serve, [call("endless")], [endless], retry=QUICK.model_copy(update={"attempts": 1}))
    assert told.messages[0].content.startswith("ToolFailed: endless did not ")  # finish; or on a busy machine: answer
    seen: list[int] = []

    async def has_stopped() -> bool:
        seen.append(len(yielded))
        return len(seen) > 2 and seen[-1] == seen[-2]

    await until(has_stopped)


@pytest.mark.parametrize("ending", [SystemExit(2), KeyboardInterrupt()], ids=lambda ending: type(ending).__name__)
async def test_a_task_of_a_tool_that_would_end_the_worker_is_an_error(serve: Serve, ending: BaseException) -> None:
    @tool(effect="read")
    async def poison() -> str:
        """Use a library that exits."""

        async def part() -> None:
            await asyncio.sleep(0)
            raise ending

        await asyncio.gather(part(), asyncio.sleep(0.1))
        return "never"

    told = await play(serve, [call("poison")], [poison])
    assert f"poison failed: RuntimeError: {type(ending).__name__}:" in told.messages[0].content


async def test_tasks_of_a_tool_are_cancelled_as_others_are(serve: Serve) -> None:
    @tool(effect="read")
    async def picky() -> str:
        """Start, and think again."""
        waiting = [asyncio.create_task(asyncio.sleep(60)) for _ in range(2)]
        waiting[0].cancel()  # before it has begun
        await asyncio.sleep(0)
        waiting[1].cancel()
        found = await asyncio.gather(*waiting, asyncio.to_thread(lambda: "done"), return_exceptions=True)
        return " ".join(type(each).__name__ if isinstance(each, BaseException) else str(each) for each in found)

    told = await play(serve, [call("picky")], [picky])
    assert told.messages[0].content == "CancelledError CancelledError done"


async def test_one_error_in_a_group_is_that_error(serve: Serve) -> None:
    @tool(effect="read")
    async def look() -> str:
        """Look."""
        ASKED.append("look")
        await in_a_group(ToolError("there is no order 7"))
        return ""

    @tool(effect="write", verify=was_done)
    async def order(number: int) -> str:
        """Order."""
        await in_a_group(ConnectionResetError("cut"))
        return ""

    ASKED.clear()
    told = await play(serve, [call("look"), call("order", number=7)], [look, order])
    assert told.messages[0].content == "there is no order 7"
    assert ASKED == ["look", "verify 7"]


def test_an_async_function_that_yields_is_refused() -> None:
    async def ticks() -> Any:
        """Tick."""
        yield 1

    with pytest.raises(TypeError, match="tool ticks: an async function that yields has no result; return a list"):
        tool(ticks)
