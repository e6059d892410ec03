"""Tools in runs: side by side, tried again as their effect allows, and none of their ways to fail ends a run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from interlock import Agent, AgentResult, Limits, Retry, ToolContext, ToolError, tool
from interlock.contracts import ToolMessage
from interlock.policies.outcomes import TRIED, UNKNOWN
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.conftest import Serve, activities

QUICK = Retry(attempts=3, initial=0.02, maximum=0.05)


@dataclass
class Told:
    """What became of a run's calls: what the model was told of each, and the activities of the run."""

    result: AgentResult
    messages: list[ToolMessage]
    activities: list[str]
    errors: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.errors = [message.content for message in self.messages if message.is_error]


async def play(serve: Serve, turns: list[Say], tools: list[Any], task: dict[str, Any] | None = None, **of: Any) -> Told:
    """A run of an agent whose model takes ``turns`` and then answers; replayed, and it must have completed."""
    model = ScriptedModel("tools", [*turns, say("done")])
    agent = Agent(**{"name": "a", "instructions": "", "models": model.model, "tools": tools, "retry": QUICK, **of})
    async with serve(agent) as served:
        run = await served.start("a", **(task or {}))
        result = await served.end(run)
        messages = (await served.interlock.transcript(run.id)).messages
        assert (result.outcome, result.output) == ("completed", "done")
        told = [message for message in messages if isinstance(message, ToolMessage)]
        return Told(result, told, await activities(served.client, run.id))


class Busy:
    """How many are at it at once, and how many were at most. Each stays until ``wanted`` have come, however busy the
    machine is, and then long enough for one more to be seen."""

    def __init__(self, wanted: int) -> None:
        self.now = self.most = 0
        self._wanted = wanted
        self._lock = threading.Lock()
        self._complete = threading.Event()

    def one(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.most >= self._wanted:
                self._complete.set()
        self._complete.wait(30)
        time.sleep(0.1)
        with self._lock:
            self.now -= 1


@pytest.mark.parametrize(("most", "seen"), [(1, 1), (3, 3), (8, 6)])
async def test_calls_of_one_reply_run_side_by_side_as_many_as_the_agent_allows(
    most: int, seen: int, serve: Serve
) -> None:
    busy = Busy(seen)

    @tool(effect="read")
    def plain(n: int) -> int:
        """Wait in a thread."""
        busy.one()
        return n

    @tool(effect="read")
    async def loops(n: int) -> int:
        """Wait on the loop."""
        await asyncio.to_thread(busy.one)
        return n

    turn = calls(*(call(("plain", "loops")[n % 2], n=n) for n in range(6)))
    told = await play(serve, [turn], [plain, loops], max_parallel_tools=most)
    assert [message.content for message in told.messages] == [str(n) for n in range(6)]
    assert busy.most == seen


async def test_a_tool_knows_of_its_call_and_its_key_stays_the_same(serve: Serve) -> None:
    seen: list[ToolContext] = []

    @tool(effect="idempotent")
    async def book(seat: str, context: ToolContext) -> str:
        """Book a seat."""
        seen.append(context)
        if context.attempt < 3:
            raise RuntimeError("try again")  # of its own: what it calls is not down, and no breaker's business
        return f"{seat} is yours"

    assert list(book.spec().parameters["properties"]) == ["seat"]
    task = {"user_id": "ann", "metadata": {"trip": "7"}}
    turns = [calls(call("book", seat="1A"), call("book", seat="1A")), call("book", seat="1A")]
    for _ in ("one run", "another"):
        told = await play(serve, turns, [book], task)
        assert [message.content for message in told.messages] == ["1A is yours"] * 3
        assert told.result.by_tool == {"book": 3}
    by_key = Counter(context.idempotency_key for context in seen)
    assert sorted(by_key.values()) == [3] * 6
    for context in seen:
        assert (context.user_id, context.agent, dict(context.metadata)) == ("ann", "a", {"trip": "7"})
    assert {(context.call_id, context.attempt) for context in seen} == {
        (call_id, attempt) for call_id in ("s1c1", "s1c2", "s2c1") for attempt in (1, 2, 3)
    }


@tool(effect="read")
def find(text: str, limit: int = 10, anything: dict[str, Any] | None = None) -> str:
    """Find text."""
    return f"{text!r} {limit}"


async def test_a_call_that_does_not_fit_is_answered_and_nothing_runs(serve: Serve) -> None:
    bad = [
        *("", "null", "[]", '"x"', "{", "{text: x}", '{"text": 5}', '{"text": "x", "limit": "5"}', '{"more": 1}'),
        *('{"text": "x", "limit": NaN}', '{"text": "x", "limit": 1e999}', '{"text": "x", "text": "y"}'),
        *('{"text": "\\ud800"}', '{"text": "\x00"}', '{"text": "x", "limit": ' + "9" * 5000 + "}"),
        *("[" * 5000, '{"text": "x", "anything": ' + '{"a":' * 3000 + "1" + "}" * 3001, "{" + " " * 100_000),
    ]
    turn = Say(calls=(*(("find", arguments) for arguments in bad), ("fnd", "{}"), ("", "{}"), ("../rm -rf", "{}")))
    told = await play(serve, [turn, call("find", text="x")], [find])
    assert told.activities == ["resolve_agent", "model", "model", "tool.find", "model"]
    assert len(told.errors) == len(bad) + 3
    assert {error.partition(":")[0] for error in told.errors[:-3]} == {"ToolArgumentsInvalid"}
    assert {error.partition(":")[0] for error in told.errors[-3:]} == {"UnknownTool"}
    assert told.messages[-1].content == "'x' 10"
    assert (told.result.tool_calls, told.result.by_tool) == (1, {"find": 1})


async def test_strange_arguments_that_fit_are_run(serve: Serve) -> None:
    strange = [
        '{"text": "nul \\u0000, \\ud83d\\ude00, \u202e"}',
        '{"text": "x", "limit": ' + "9" * 4000 + "}",
        '{"text": "x", "anything": ' + '{"a":' * 90 + "1" + "}" * 91,
        '{"text": "' + "y" * 300_000 + '"}',
    ]
    told = await play(serve, [Say(calls=tuple(("find", arguments) for arguments in strange))], [find])
    assert told.errors == []
    assert told.messages[0].content == r"'nul \x00, 😀, \u202e' 10"
    assert told.messages[3].content.startswith("'yyy")


@pytest.mark.parametrize(
    ("effect", "kind", "runs", "answer"),
    [
        ("read", ConnectionError, 3, "there"),
        ("idempotent", ConnectionError, 3, "there"),
        ("write", ConnectionError, 1, f"ToolOutcomeUnknown: act failed: ConnectionError: not now. {UNKNOWN}"),
        ("write", ValueError, 1, "ToolFailed: act failed: ValueError: not now"),
        ("read", ToolError, 1, "not now"),
        ("write", ToolError, 1, "not now"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
async def test_what_raised_is_tried_again_as_its_effect_allows(
    effect: Any, kind: type[Exception], runs: int, answer: str, *, plain: bool, serve: Serve
) -> None:
    began: list[float] = []

    def work() -> str:
        began.append(time.monotonic())
        if len(began) < 3:
            raise kind("not now\nand a second line" if kind is not ToolError else "not now")
        return "there"

    @tool(effect=effect, name="act")
    def act() -> str:
        """Act."""
        return work()

    @tool(effect=effect, name="act")
    async def act_async() -> str:
        """Act."""
        return work()

    told = await play(serve, [call("act")], [act if plain else act_async])
    [message] = told.messages
    assert (message.content, message.is_error, len(began)) == (answer, runs == 1, runs)
    assert told.activities.count("tool.act") == 1


@pytest.mark.parametrize("plain", [True, False])
async def test_a_tool_that_takes_too_long_is_given_up_and_a_write_may_have_taken_effect(
    serve: Serve, *, plain: bool
) -> None:
    stopped = threading.Event()

    def waits(context: ToolContext) -> str:
        if context.cancelled.wait(5):
            stopped.set()
        return "late"

    @tool(effect="write", timeout=0.4)
    def write(context: ToolContext) -> str:
        """Write slowly."""
        return waits(context)

    @tool(effect="write", timeout=0.4, name="write")
    async def write_async(context: ToolContext) -> str:
        """Write slowly."""
        return await asyncio.to_thread(waits, context)

    @tool(effect="read", timeout=0.3)
    async def read() -> str:
        """Read slowly."""
        await asyncio.sleep(5)
        return "late"

    @tool(effect="idempotent", timeout=0.3, retry=Retry(attempts=1))
    async def book() -> str:
        """Book slowly."""
        await asyncio.sleep(5)
        return "late"

    turn = calls(call("write"), call("read"), call("book"))
    told = await play(serve, [turn], [write if plain else write_async, read, book])
    written, was_read, booked = told.errors  # as the worker says it, or on a busy machine the server
    assert written.startswith("ToolOutcomeUnknown: write did not ")
    assert "may or may not have taken effect" in written
    assert was_read.startswith("ToolFailed: read did not ")
    assert TRIED not in was_read
    assert booked.startswith("ToolFailed: book did not ")
    assert booked.endswith(TRIED)
    assert stopped.wait(2)


async def test_step_seconds_bounds_a_tool_without_a_time_out_of_its_own(serve: Serve) -> None:
    @tool(effect="write")
    async def forever() -> None:
        """Never end."""
        await asyncio.sleep(60)

    told = await play(serve, [call("forever")], [forever], limits=Limits(step_seconds=0.5))
    assert told.errors[0].startswith("ToolOutcomeUnknown")
