"""The conversations that a worker keeps: as many as fit, counted with all that they hold."""

from __future__ import annotations

import tracemalloc
from typing import cast

from temporalio.client import Client

from activities.transcripts import Transcripts
from interlock.contracts import (
    AgentSpec,
    AssistantMessage,
    CallPart,
    Message,
    Models,
    TextPart,
    ToolMessage,
    ToolSpec,
    Transcript,
    UserMessage,
)

MEGABYTE = 1024 * 1024

SAID: tuple[Message, ...] = (
    UserMessage(text="hello " * 50),
    AssistantMessage(provider="s", parts=(TextPart(text="hi"), CallPart(call_id="s1c1", tool="t", arguments="{}"))),
    ToolMessage(call_id="s1c1", tool="t", content="x" * 500),
)


def spec(name: str) -> AgentSpec:
    """Of an agent with ten tools, about 10 KB as JSON."""
    said = {f"p{n}": {"type": "string", "description": "a parameter, said in a sentence"} for n in range(10)}
    tool = ToolSpec(name="t", description="Does something useful. " * 10, parameters={"properties": said})
    tools = tuple(tool.model_copy(update={"name": f"tool_{n}"}) for n in range(10))
    return AgentSpec(name=name, instructions="", models=Models.one("s:x"), tools=tools)


def decoded(spec: AgentSpec, messages: tuple[Message, ...] = SAID) -> Transcript:
    """As a worker reads it from a run's history: nothing in it is shared with another run's."""
    return Transcript.model_validate_json(Transcript(spec=spec, messages=messages).model_dump_json())


def kept(max_bytes: int) -> Transcripts:
    return Transcripts(cast("Client", None), max_bytes)


def test_runs_of_many_agents_take_no_more_memory_than_they_may() -> None:
    transcripts = kept(2 * MEGABYTE)
    decoded(spec("a"))  # what is built at first use is not theirs
    tracemalloc.start()
    try:
        for number in range(100):
            transcripts._keep(f"run-{number}", decoded(spec(f"agent-{number}")))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(transcripts._entries) >= 10
    assert held < 3 * MEGABYTE


def test_runs_of_one_agent_share_its_spec_and_it_goes_with_the_last_of_them() -> None:
    transcripts, one = kept(2 * MEGABYTE), spec("a")
    for number in range(300):
        transcripts._keep(f"run-{number}", decoded(one))
    entries = list(transcripts._entries.values())
    assert len(entries) == 300
    assert {id(entry.transcript.spec) for entry in entries} == {id(entries[0].transcript.spec)}
    assert entries[-1].transcript == decoded(one)
    for run in list(transcripts._entries):
        transcripts._drop(run)
    assert (transcripts._bytes, transcripts._specs) == (0, {})


def test_a_run_that_goes_on_is_counted_once_and_one_that_was_rebuilt_anew() -> None:
    transcripts = kept(MEGABYTE)
    transcripts._keep("run", decoded(spec("a"), SAID[:1]))
    known = transcripts._entries["run"].transcript
    transcripts._keep("run", known.model_copy(update={"messages": (*known.messages, *SAID[1:])}))
    grown = transcripts._bytes
    for read in (decoded(spec("a")), decoded(spec("a"), SAID * 3), decoded(spec("a"))):
        transcripts._keep("run", read)
    assert transcripts._bytes == grown
    assert len(transcripts._specs) == 1


def test_one_that_is_larger_than_all_may_be_is_not_kept() -> None:
    transcripts = kept(20_000)
    transcripts._keep("run", decoded(spec("a")))
    assert (transcripts._entries, transcripts._specs, transcripts._bytes) == ({}, {}, 0)
