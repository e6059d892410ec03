"""A model calls tools its agent does not have, and with arguments that do not fit: all is refused, nothing runs."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field
from temporalio.client import Client

from interlock import Limits, ToolContext, tool
from tests.hostile.corpus import CALLS, FLOODS, Call, Flood
from tests.hostile.play import Played, of, play

RAN: list[str] = []


@tool(effect="write")
def find(text: str, limit: int = 10, anything: dict[str, Any] | None = None) -> str:
    """Find text."""
    RAN.append(text)
    return f"{text!r} {limit}"


@tool(effect="write")
def book(seat: str, context: ToolContext) -> str:
    """Book a seat."""
    RAN.append(seat)
    return seat


@tool(effect="write")
def rename(name: Annotated[str, Field(pattern=r"^\p{L}+$")]) -> str:
    """Give it a name."""
    RAN.append(name)
    return name


@pytest.fixture(scope="module")
async def played(temporal: Client) -> Played:
    """One run in which the model makes every call of the corpus in one reply, and then a good one."""
    return await play(
        temporal, [find, book], [of([(case.tool, case.arguments) for case in CALLS]), of([("find", '{"text": "x"}')])]
    )


@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.id)
async def test_the_call_is_refused_by_name(case: Call, played: Played) -> None:
    message = played.told[CALLS.index(case)]
    kind, _, said = message.content.partition(": ")
    assert (kind, message.is_error) == (case.kind, True)
    assert case.said in said
    assert len(message.content) < 2500


async def test_nothing_ran_but_the_call_that_was_good(played: Played) -> None:
    assert (played.result.outcome, played.result.output) == ("completed", "done")
    assert list(played.activities) == ["resolve_agent", "model", "model", "tool.find", "model"]
    assert [message.call_id for message in played.told] == [f"s1c{n}" for n in range(1, len(CALLS) + 1)] + ["s2c1"]
    assert (played.told[-1].content, played.result.by_tool) == ("'x' 10", {"find": 1})


@pytest.mark.parametrize("case", FLOODS, ids=lambda case: case.id)
async def test_a_flood_of_calls_ends_the_run_and_none_is_made(case: Flood, temporal: Client) -> None:
    RAN.clear()
    played = await play(temporal, [find, book], [of(case.calls)], limits=Limits(tool_calls=100))
    assert (played.result.outcome, RAN) == ("killed", [])
    assert case.reason in (played.result.reason or "")
    assert list(played.activities) == ["resolve_agent", "model"]


async def test_what_breaks_a_pattern_is_refused_by_the_tool_itself_and_nothing_ran(temporal: Client) -> None:
    """In its own language, which is not the one that schemas are checked in when the reply arrives."""
    RAN.clear()
    tried = [("rename", '{"name": "a b"}'), ("rename", '{"name": "é"}')]
    played = await play(temporal, [rename], [of(tried)])
    refused, renamed = played.told
    assert refused.content.startswith("ToolArgumentsInvalid: the arguments of rename do not fit: ")
    assert refused.content.endswith("Nothing was run.")
    assert (refused.is_error, renamed.content, RAN) == (True, "é", ["é"])
    assert played.result.outcome == "completed"
