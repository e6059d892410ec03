"""What tools return, and how they may end: always a message to the model, never the end of a run or a worker."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from interlock import ToolError, tool
from interlock.testing import call, calls
from tests.conftest import Serve
from tests.runs.test_tools import play


def circular() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


async def later() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    "value",
    [
        lambda: b"\xff\xfe",
        object,
        circular,
        lambda: {"half": "\ud800"},
        later,
        lambda: {1: {2: b"\xff"}},
        lambda: print,
    ],
    ids=["bytes", "object", "circular", "surrogate", "async generator", "nested bytes", "function"],
)
async def test_a_result_that_cannot_be_shown_is_an_error_and_runs_once(value: Callable[[], Any], serve: Serve) -> None:
    ran: list[int] = []

    @tool(effect="read")
    def odd() -> Any:
        """Return something odd."""
        ran.append(1)
        return value()

    told = await play(serve, [call("odd")], [odd])
    assert told.errors[0].startswith("odd was run, but what it returned cannot be shown: ")
    assert ran == [1]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("half \ud800", "half ?"),
        ("nul \x00", "nul \x00"),
        (None, "null"),
        (b"text", '"text"'),
        ({"a": {1}}, '{"a":[1]}'),
        (float("nan"), "null"),
        ("", ""),
    ],
)
async def test_an_odd_result_is_shown_as_well_as_can_be(value: Any, shown: str, serve: Serve) -> None:
    @tool(effect="read")
    def odd() -> Any:
        """Return something odd."""
        return value

    told = await play(serve, [call("odd")], [odd])
    assert [(message.content, message.is_error) for message in told.messages] == [(shown, False)]


async def test_a_result_of_megabytes_is_cut_and_says_so(serve: Serve) -> None:
    @tool(effect="read")
    def plain() -> str:
        """Much."""
        return "é" * 2_500_000

    @tool(effect="read", max_result_bytes=1000)
    def listed() -> list[int]:
        """Many."""
        return list(range(500_000))

    @tool(effect="read")
    def complains() -> str:
        """Complain at length."""
        raise ToolError("no " * 2_000_000)

    @tool(effect="read")
    def raises() -> str:
        """Raise at length."""
        raise ValueError("no " * 2_000_000)

    told = await play(
        serve, [calls(*map(call, ("plain", "listed", "complains", "raises")))], [plain, listed, complains, raises]
    )
    first, second, third, fourth = (message.content for message in told.messages)
    assert first.startswith("é" * 32_768 + "\n[cut: 5000000 bytes in all, the first 65536 are above")
    assert second.startswith("[0,1,2,")
    assert 1000 < len(second) < 1200
    assert third.startswith("no no ")
    assert "[cut: 6000000 bytes" in third
    assert len(fourth) < 1000


async def test_many_long_results_of_one_reply_fit_into_the_next_call(serve: Serve) -> None:
    @tool(effect="read")
    def long() -> str:
        """As long as is allowed."""
        return "x" * 65_536

    told = await play(serve, [calls(*[call("long")] * 40)], [long])
    assert [len(message.content) for message in told.messages] == [65_536] * 40


def next_of_nothing() -> None:
    next(iter([]))


def ends_the_process() -> None:
    sys.exit(3)


def interrupts() -> None:
    raise KeyboardInterrupt


def cancels() -> None:
    raise asyncio.CancelledError


def times_out() -> None:
    raise TimeoutError


@pytest.mark.parametrize(
    ("ends", "kind", "said"),
    [
        (next_of_nothing, "ToolFailed", "StopIteration"),
        (ends_the_process, "ToolFailed", "SystemExit: 3"),
        (cancels, "ToolFailed", "CancelledError"),
        (times_out, "ToolOutcomeUnknown", "TimeoutError: no message. It may or may not have taken effect"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
async def test_however_a_tool_ends_the_model_is_told_at_once(
    ends: Callable[[], None], kind: str, said: str, *, plain: bool, serve: Serve
) -> None:
    @tool(effect="write", name="act")
    def act() -> None:
        """Act."""
        ends()

    @tool(effect="write", name="act")
    async def act_async() -> None:
        """Act."""
        ends()

    # One whose end nobody noticed would be told as a call that did not finish in time.
    told = await play(serve, [call("act")], [act if plain else act_async])
    assert told.errors[0].startswith(f"{kind}: act failed: ")
    assert said in told.errors[0]


async def test_an_async_function_behind_a_plain_decorator_runs(serve: Serve) -> None:
    ran: list[int] = []

    def audited(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @tool(effect="write")
    @audited
    async def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return f"paid {amount}"

    told = await play(serve, [call("pay", amount=5)], [pay])
    assert ([message.content for message in told.messages], ran) == (["paid 5"], [5])
