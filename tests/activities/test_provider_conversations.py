"""Conversations with each provider: what it sent comes back to it whole, and nobody else is sent it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.providers import Answer, Request
from activities.providers.pydantic_ai import PydanticAI
from interlock.contracts import (
    AssistantMessage,
    Message,
    ModelReply,
    OpaquePart,
    ToolMessage,
    ToolSpec,
    Transcript,
    UserMessage,
)
from tests.billing import Reply, Wire
from tests.billing.behaviours import always, script
from tests.billing.environment import MODELS, billing, every_wire

LOOK = ToolSpec(
    name="look",
    description="Look.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}, "additionalProperties": False},
)
TALK = [
    Reply(thinking=("ponder", "signed-1"), text="looking", tool_calls=[("look", {"at": "a"}), ("look", {"at": "ö"})]),
    Reply(thinking=("again", "signed-2"), tool_calls=[("look", {})]),
    Reply(thinking=("at last", "signed-3"), text="seen"),
]


@pytest.fixture
async def provider() -> AsyncIterator[PydanticAI]:
    made = PydanticAI()
    yield made
    await made.close()


async def ask(provider: PydanticAI, model: str, messages: list[Message], step: int = 1, **options: Any) -> Answer:
    given: dict[str, Any] = {"tools": (LOOK,), "max_tokens": 100, "most_input": 1000, "timeout": 5.0, **options}
    return await provider.ask(Request(model=model, instructions="be brief", messages=messages, step=step, **given))


def stored(message: AssistantMessage) -> AssistantMessage:
    """A reply as it comes out of a history: through the JSON of a reply, and of a transcript that is carried."""
    reply = ModelReply(reply_id="r", message=message, finish="stop", model="m")
    again = ModelReply.model_validate_json(reply.model_dump_json()).message
    spec: dict[str, Any] = {"name": "a", "instructions": "", "models": {"simple": "m", "medium": "m", "complex": "m"}}
    carried = Transcript.model_validate({"spec": spec, "messages": [again.model_dump()]})
    [out] = Transcript.model_validate_json(carried.model_dump_json()).messages
    assert isinstance(out, AssistantMessage)
    return out


async def talk(provider: PydanticAI, model: str) -> list[Message]:
    """Three turns; every call is answered with an error or a result."""
    messages: list[Message] = [UserMessage(text="hello")]
    for step in (1, 2, 3):
        message = stored((await ask(provider, model, messages, step)).message)
        messages.append(message)
        messages += [
            ToolMessage(
                call_id=call.call_id, tool=call.tool, content=f"saw {call.call_id}", is_error=call.arguments == "{}"
            )
            for call in message.calls
        ]
    return messages


def replies_in(wire: Wire, raw: bytes) -> list[dict[str, Any]]:
    """What a request tells the provider that it had said itself, piece by piece."""
    body = json.loads(raw)
    match wire:
        case "chat":
            return [message for message in body["messages"] if message["role"] == "assistant"]
        case "responses":
            kinds = ("reasoning", "function_call")
            return [item for item in body["input"] if item.get("type") in kinds or item.get("role") == "assistant"]
        case "anthropic":
            said = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
            return [block for content in said for block in content]


def pieces(wire: Wire, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What a reply of the server is made of, without what only replies have."""
    match wire:
        case "chat":
            return [{key: value for key, value in body["choices"][0]["message"].items() if key != "refusal"}]
        case "responses":
            return [{key: value for key, value in item.items() if key != "status"} for item in body["output"]]
        case "anthropic":
            return list(body["content"])


def parsed(value: Any) -> Any:
    """With arguments as what they say: their spaces are the client library's."""
    match value:
        case dict():
            return {key: json.loads(each) if key == "arguments" else parsed(each) for key, each in value.items()}
        case list():
            return [parsed(each) for each in value]
        case _:
            return value


@every_wire
async def test_what_a_provider_sent_comes_back_to_it_in_every_later_turn(wire: Wire, provider: PydanticAI) -> None:
    async with billing(script(TALK)) as server:
        messages = await talk(provider, MODELS[wire])
    assert isinstance(messages[-1], AssistantMessage)
    assert messages[-1].text == "seen"
    for turn in (1, 2):
        had = [parsed(piece) for n in range(turn) for piece in pieces(wire, server.sent[n])]
        told = [parsed(piece) for piece in replies_in(wire, server.requests[turn].raw)]
        assert len(had) == len(told)
        for one, other in zip(had, told, strict=True):
            assert {key: other.get(key) for key in one} == one
    results = [result for message in server.requests[2].messages for result in message.tool_results]
    asked = [call for message in server.requests[2].messages for call in message.tool_calls]
    assert [call_id for call_id, _ in results] == [call_id for call_id, _, _ in asked]
    assert ["saw s1c1" in results[0][1], "saw s1c2" in results[1][1], "saw s2c1" in results[2][1]] == [True] * 3
    assert {request.system for request in server.requests} == {"be brief"}
    assert {request.max_tokens for request in server.requests} == {100}


async def test_a_failed_call_is_marked_as_one(provider: PydanticAI) -> None:
    async with billing(script(TALK)) as server:
        await talk(provider, MODELS["anthropic"])
    blocks = [
        block
        for message in json.loads(server.requests[2].raw)["messages"]
        if message["role"] == "user"
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
    assert [bool(block.get("is_error")) for block in blocks] == [False, False, True]


@pytest.mark.parametrize(
    ("first", "wire"),
    [("responses", "anthropic"), ("responses", "chat"), ("anthropic", "responses"), ("anthropic", "chat")],
)
async def test_another_provider_is_sent_the_words_and_calls_and_nothing_else(
    first: Wire, wire: Wire, provider: PydanticAI
) -> None:
    async with billing(script(TALK)) as server:
        messages = await talk(provider, MODELS[first])
    own = {*re.findall(r"[a-z]+_[0-9a-f]{32}|signed-.", json.dumps(server.sent)), "ponder", "again"}
    assert len(own) > 8
    assert any(isinstance(part, OpaquePart) for part in getattr(messages[1], "parts", ()))
    async with billing(always(Reply(text="mine"))) as server:
        await provider.close()  # the address is another one now
        await ask(provider, MODELS[wire], [*messages, UserMessage(text="go on")])
    [request] = server.requests
    raw = request.raw.decode()
    assert not [each for each in own if each in raw]
    calls = [call_id for message in request.messages for call_id, _, _ in message.tool_calls]
    results = [call_id for message in request.messages for call_id, _ in message.tool_results]
    assert calls == results == ["s1c1", "s1c2", "s2c1"]
    assert [message.text for message in request.messages if message.role == "assistant"] == ["looking", "", "seen"]


@pytest.mark.parametrize("wire", ["chat", "responses"])  # the other's carries objects only
async def test_arguments_that_are_no_object_are_kept_as_written_and_told_back_inside_one(
    wire: Wire, provider: PydanticAI
) -> None:
    bad = [
        '{"at": "cu',
        '{"at": "' + "привет мир " * 400,
        "[]",
        "null",
        '{"at": NaN}',
        '{"at": "\\ud800"}',
        "",
        '{"a":' * 3000 + "1" + "}" * 3000,
    ]
    async with billing(script([Reply(tool_calls=[("look", text) for text in bad]), Reply(text="sorry")])) as server:
        message = stored((await ask(provider, MODELS[wire], [UserMessage(text="go")])).message)
        assert [call.arguments for call in message.calls] == bad
        results = [
            ToolMessage(call_id=call.call_id, tool="look", content="no", is_error=True) for call in message.calls
        ]
        await ask(provider, MODELS[wire], [UserMessage(text="go"), message, *results])
        await provider.close()
        other = next(model for model in MODELS if model != wire)
        await ask(provider, MODELS[other], [UserMessage(text="go"), message, *results])
    for request in server.requests[1:]:
        told = [arguments for each in request.messages for _, _, arguments in each.tool_calls]
        assert len(told) == len(bad)
        assert all(isinstance(json.loads(arguments), dict) for arguments in told)
        # Never more than was counted of it.
        counted = [len(call.model_dump_json().encode()) for call in message.calls]
        assert all(len(arguments.encode()) <= most for arguments, most in zip(told, counted, strict=True))


@every_wire
async def test_text_that_no_history_can_hold_is_mended(wire: Wire, provider: PydanticAI) -> None:
    async with billing(always(Reply(text="half \ud83d and \x00", tool_calls=[("lo\udc00ok", {"at": "\ud800"})]))):
        message = stored((await ask(provider, MODELS[wire], [UserMessage(text="go")])).message)
    assert message.text == "half � and \x00"
    assert message.calls[0].tool == "lo�ok"


@every_wire
async def test_a_reply_without_usage_counts_as_all_that_was_granted(wire: Wire, provider: PydanticAI) -> None:
    async with billing(always(Reply(text="hi", input_tokens=0, output_tokens=0))):
        answer = await ask(provider, MODELS[wire], [UserMessage(text="x" * 5000)], most_input=5200)
    assert (answer.tokens.input, answer.tokens.output) == (5200, 100)


@every_wire
async def test_tokens_are_those_that_were_billed(wire: Wire, provider: PydanticAI) -> None:
    async with billing(always(Reply(text="hi", input_tokens=900, output_tokens=7, cached_tokens=300))):
        tokens = (await ask(provider, MODELS[wire], [UserMessage(text="go")])).tokens
    assert (tokens.input, tokens.output, tokens.cached) == (900, 7, 300)


def blank_texts(value: Any) -> list[str]:
    """Every text of a request that holds nothing to be seen."""
    match value:
        case dict():
            texts = [each for name, each in value.items() if name in ("text", "content") and isinstance(each, str)]
            return [each for each in texts if not each.strip()] + blank_texts(list(value.values()))
        case list():
            return [blank for each in value for blank in blank_texts(each)]
        case _:
            return []


@every_wire
async def test_a_provider_is_shown_no_text_that_holds_nothing(wire: Wire, provider: PydanticAI) -> None:
    """Models write blank lines before a call, tools return nothing, and people press the space bar; some providers
    refuse the whole conversation for it."""
    async with billing(script([Reply(text="\n\n", tool_calls=[("look", {})]), Reply(text="seen")])) as server:
        messages: list[Message] = [UserMessage(text=" ")]
        reply = stored((await ask(provider, MODELS[wire], messages)).message)
        messages += [reply, ToolMessage(call_id=reply.calls[0].call_id, tool="look", content="")]
        assert (await ask(provider, MODELS[wire], messages, 2)).message.text == "seen"
    # One with an id goes back whole: its author keeps account of them, and takes it as it was.
    own = ["\n\n"] if wire == "responses" else []
    assert [blank_texts(json.loads(request.raw)) for request in server.requests] == [[], own]


@every_wire
@pytest.mark.parametrize("given", ["", "same"])
async def test_calls_without_ids_of_their_own_are_given_some(wire: Wire, given: str, provider: PydanticAI) -> None:
    """A provider, or what stands in for one, may give none, or one twice: each result still belongs to one call."""
    looks = Reply(tool_calls=[("look", {"at": "a"}), ("look", {"at": "b"})], call_id=given)
    async with billing(script([looks, Reply(text="seen")])) as server:
        messages: list[Message] = [UserMessage(text="hello")]
        reply = stored((await ask(provider, MODELS[wire], messages)).message)
        messages += [reply, *(ToolMessage(call_id=call.call_id, tool="look", content="seen") for call in reply.calls)]
        for _ in range(2):
            assert (await ask(provider, MODELS[wire], messages, 2)).message.text == "seen"
    first, second = (request for request in server.requests if request.turns)
    turn = next(message for message in first.messages if message.tool_calls)
    asked = [call_id for call_id, _, _ in turn.tool_calls]
    told = [call_id for message in first.messages for call_id, _ in message.tool_results]
    assert len(set(asked)) == 2
    assert asked == told
    assert first.raw == second.raw
