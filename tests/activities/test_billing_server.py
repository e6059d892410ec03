"""The billing server against the real clients: its books must agree with what they report."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import exceptions
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from tests.billing import Bill, Reply, Request, Wire
from tests.billing.behaviours import always, failing, script, sequence, tool_loop
from tests.billing.server import BillingServer

GPT, CLAUDE = "gpt-5", "claude-sonnet-5"
PRICES = {
    GPT: (Decimal("2.50"), Decimal(10), Decimal("1.25")),
    CLAUDE: (Decimal(3), Decimal(15), Decimal("0.30")),
}
WIRES: tuple[Wire, ...] = ("chat", "responses", "anthropic")
every_wire = pytest.mark.parametrize("wire", WIRES)
LOOK = ToolDefinition(name="look", parameters_json_schema={"type": "object", "properties": {"at": {"type": "string"}}})


# The clients are imported where they are used: every process imports every file of tests, and these take as long as all
# the others.


def chat_model(url: str) -> Model[Any]:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel(GPT, provider=OpenAIProvider(base_url=url, api_key="test"))


def model_for(wire: Wire, server: BillingServer) -> Model[Any]:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    match wire:
        case "chat":
            return chat_model(server.openai_url)
        case "responses":
            return OpenAIResponsesModel(GPT, provider=OpenAIProvider(base_url=server.openai_url, api_key="test"))
        case "anthropic":
            return AnthropicModel(CLAUDE, provider=AnthropicProvider(base_url=server.anthropic_url, api_key="test"))


def ask(text: str = "hello") -> list[ModelMessage]:
    return [ModelRequest(parts=[SystemPromptPart("be brief"), UserPromptPart(text)])]


async def send(
    model: Model[Any], messages: Sequence[ModelMessage], *, max_tokens: int = 1000, timeout: float = 10
) -> ModelResponse:
    settings = ModelSettings(max_tokens=max_tokens, max_retries=0, timeout=timeout)
    parameters = ModelRequestParameters(function_tools=[LOOK])
    async with model:  # Closes the connections with the last call.
        return await model_request(model, messages, model_settings=settings, model_request_parameters=parameters)


@every_wire
async def test_text_and_usage_come_back_as_billed(wire: Wire) -> None:
    reply = Reply(text="hi there", input_tokens=1000, output_tokens=20, cached_tokens=400)
    async with BillingServer(always(reply), prices=PRICES) as server:
        response = await send(model_for(wire, server), ask())

    assert (response.text, response.finish_reason) == ("hi there", "stop")
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (1000, 20, 400)
    [entry], [request] = server.bill.entries, server.requests
    assert (entry.wire, entry.input_tokens, entry.output_tokens, entry.cached_tokens) == (wire, 1000, 20, 400)
    assert (entry.billed, entry.status, entry.turn) == (True, 200, 0)
    fresh, out, cached = PRICES[request.model]
    assert server.bill.usd == (600 * fresh + 20 * out + 400 * cached) / 1_000_000
    assert (server.bill.tokens, server.bill.requests, server.bill.billed) == (1020, 1, 1)
    assert (request.system, request.tools, request.max_tokens) == ("be brief", ["look"], 1000)
    assert [(message.role, message.text) for message in request.messages] == [("user", "hello")]
    assert request.closed_at is None


@every_wire
async def test_default_counts_come_from_the_bytes(wire: Wire) -> None:
    async with BillingServer(always(Reply(text="x" * 41))) as server:
        response = await send(model_for(wire, server), ask())
    assert response.usage.input_tokens == len(server.requests[0].raw) // 4
    assert response.usage.output_tokens == 11
    assert server.bill.tokens == response.usage.total_tokens


@every_wire
async def test_tool_results_arrive_with_the_next_turn(wire: Wire) -> None:
    behaviour = tool_loop("look", 2, lambda turn: {"at": f"place {turn}"}, final="seen")
    async with BillingServer(behaviour) as server:
        messages = ask()
        for turn in range(2):
            response = await send(model_for(wire, server), messages)
            [call] = response.tool_calls
            assert (call.tool_name, call.args_as_dict()) == ("look", {"at": f"place {turn}"})
            result = ToolReturnPart("look", f"result {turn}", tool_call_id=call.tool_call_id)
            messages += [response, ModelRequest(parts=[result])]
        final = await send(model_for(wire, server), messages)

    assert final.text == "seen"
    assert [entry.turn for entry in server.bill.entries] == [0, 1, 2]
    said = server.requests[2].messages
    assert [message.role for message in said] == ["user", "assistant", "tool", "assistant", "tool"]
    [(call_id, name, arguments)] = said[3].tool_calls
    assert (name, json.loads(arguments)) == ("look", {"at": "place 1"})
    assert said[4].tool_results == [(call_id, "result 1")]


@every_wire
async def test_text_beside_several_calls_is_one_turn(wire: Wire) -> None:
    calls: list[tuple[str, Any]] = [("look", {"at": "a"}), ("look", {"at": "b"})]
    async with BillingServer(script([Reply(text="wait", tool_calls=calls), Reply(text="done")])) as server:
        model = model_for(wire, server)
        response = await send(model, ask())
        results = [ToolReturnPart("look", "r", tool_call_id=call.tool_call_id) for call in response.tool_calls]
        messages: list[ModelMessage] = [*ask(), response, ModelRequest(parts=results)]
        first, again = await send(model, messages), await send(model, messages)
    assert (first.text, again.text) == ("done", "done")
    assert server.requests[2].turns == 1
    assert len(server.requests[2].messages[2].tool_results) == 2


@every_wire
async def test_max_tokens_bounds_what_is_billed(wire: Wire) -> None:
    replies = [Reply(text="word " * 100), Reply(text="word " * 100, ignore_max_tokens=True)]
    async with BillingServer(sequence(replies)) as server:
        model = model_for(wire, server)
        clipped = await send(model, ask(), max_tokens=10)
        excessive = await send(model, ask(), max_tokens=10)
    assert (clipped.finish_reason, clipped.usage.output_tokens, len(clipped.text or "")) == ("length", 10, 39)
    assert (excessive.finish_reason, excessive.usage.output_tokens) == ("stop", 126)
    assert [entry.output_tokens for entry in server.bill.entries] == [10, 126]


@every_wire
async def test_rate_limit_says_when_to_come_back(wire: Wire) -> None:
    behaviour = failing(429, 1, Reply(text="ok"), headers={"retry-after": "2"})
    async with BillingServer(behaviour, prices=PRICES) as server:
        model = model_for(wire, server)
        with pytest.raises(exceptions.ModelRateLimitError) as caught:
            await send(model, ask())
        assert caught.value.retry_after == 2
        assert (await send(model, ask())).text == "ok"
    refused, answered = server.bill.entries
    assert (refused.status, refused.billed, refused.usd, refused.input_tokens) == (429, False, Decimal(0), 0)
    assert answered.billed
    assert server.bill.usd == answered.usd > 0
    assert (server.bill.requests, server.bill.billed) == (2, 1)


@every_wire
@pytest.mark.parametrize(
    ("reply", "category"),
    [
        (Reply(status=429, headers={"retry-after-ms": "250"}), exceptions.ModelRateLimitError),
        (Reply(status=500), exceptions.ModelServerError),
        (Reply(status=529, error="overloaded"), exceptions.ModelOverloadedError),
        (Reply(status=401), exceptions.ModelAuthenticationError),
        (Reply(status=400, error={"message": "no"}), exceptions.ModelRequestRejectedError),
        (Reply(drop="before"), exceptions.ModelConnectionError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_failures_are_told_apart_and_not_billed(
    wire: Wire, reply: Reply, category: type[exceptions.ModelAPIError]
) -> None:
    async with BillingServer(always(reply)) as server:
        with pytest.raises(category) as caught:
            await send(model_for(wire, server), ask())
    assert caught.value.retry_after == (0.25 if reply.status == 429 else None)
    assert (server.bill.requests, server.bill.billed, server.bill.tokens) == (1, 0, 0)


@every_wire
async def test_client_that_gives_up_is_billed_all_the_same(wire: Wire) -> None:
    async with BillingServer(always(Reply(text="late", hang=True)), prices=PRICES) as server:
        with pytest.raises(exceptions.ModelTimeoutError):
            await send(model_for(wire, server), ask(), timeout=2.0)
        await server.until(lambda s: s.requests[0].closed_at is not None)
    [entry], [request] = server.bill.entries, server.requests
    assert entry.billed
    assert entry.usd > 0
    assert request.closed_at is not None
    assert 0.1 < request.closed_at - request.at < 25


@pytest.mark.parametrize("after", [False, True])
async def test_cancelled_call_during_a_delay_is_noticed_at_once(after: bool) -> None:
    async with BillingServer(always(Reply(text="late", delay=30, bill_after_delay=after))) as server:
        call = asyncio.create_task(send(model_for("chat", server), ask()))
        await server.until(lambda s: len(s.requests) == 1)
        call.cancel()
        await asyncio.wait({call})
        await server.until(lambda s: s.bill.requests == 1 and s.requests[0].closed_at is not None)
    assert server.bill.billed == (0 if after else 1)


@every_wire
@pytest.mark.parametrize("reply", [Reply(text="lost", drop="after_billing"), Reply(text="torn " * 50, truncate=True)])
async def test_lost_replies_are_billed(wire: Wire, reply: Reply) -> None:
    async with BillingServer(always(reply)) as server:
        with pytest.raises(exceptions.ModelConnectionError):
            await send(model_for(wire, server), ask())
    assert server.bill.billed == 1
    assert server.bill.tokens > 0


@pytest.mark.parametrize("wire", ["responses", "anthropic"])
async def test_thinking_keeps_its_signature(wire: Wire) -> None:
    thinking = ("let me see", "c2lnbmF0dXJl")
    calls: list[tuple[str, Any]] = [("look", {})]
    async with BillingServer(script([Reply(thinking=thinking, tool_calls=calls), Reply(text="done")])) as server:
        model = model_for(wire, server)
        response = await send(model, ask())
        [thought] = [part for part in response.parts if isinstance(part, ThinkingPart)]
        assert (thought.content, thought.signature) == thinking
        [call] = [part for part in response.parts if isinstance(part, ToolCallPart)]
        result = ModelRequest(parts=[ToolReturnPart("look", "r", tool_call_id=call.tool_call_id)])
        assert (await send(model, [*ask(), response, result])).text == "done"
    assert server.requests[1].messages[1].thinking == [thinking]


async def test_hundreds_of_calls_at_once() -> None:
    async def slowly(request: Request, n: int) -> Reply:
        await server.until(lambda s: len(s.requests) == 200, timeout=60)
        return Reply(text=request.messages[0].text)

    async with BillingServer(slowly) as server:
        model = model_for("chat", server)
        replies = await asyncio.gather(*(send(model, ask(str(i)), timeout=60) for i in range(200)))
    assert [reply.text for reply in replies] == [str(i) for i in range(200)]
    assert sorted(entry.n for entry in server.bill.entries) == list(range(200))


async def test_connections_are_kept_and_chunked_bodies_read() -> None:
    body = json.dumps({"model": GPT, "messages": [{"role": "user", "content": "hello"}]}).encode()
    path = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    async with BillingServer(always(Reply(text="ok"))) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for message in (
            b"content-length: %d\r\n\r\n%s" % (len(body), body),
            b"transfer-encoding: chunked\r\n\r\n" + chunks,
        ):
            writer.write(path + message)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
        writer.close()
    assert [request.raw for request in server.requests] == [body, body]


async def test_broken_behaviour_cannot_pass_for_a_provider() -> None:
    server = BillingServer(sequence([]))

    async def one_call() -> None:
        async with server:
            with pytest.raises(exceptions.ModelServerError):
                await send(model_for("chat", server), ask())

    with pytest.raises(ExceptionGroup) as caught:
        await one_call()
    assert caught.group_contains(LookupError)
    assert (server.bill.requests, server.bill.billed) == (1, 0)


async def test_own_process_keeps_a_log(tmp_path: Path) -> None:
    log = tmp_path / "ledger.jsonl"
    plan = {"behaviour": "tool_loop", "tool": "look", "times": 1, "prices": {GPT: ["2.50", "10", "1.25"]}}
    arguments = ("-m", "tests.billing", "--log", str(log), "--plan", json.dumps(plan))
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=root, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        urls = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        model = chat_model(urls["openai_url"])
        assert (await send(model, ask())).tool_calls[0].tool_name == "look"
        reader, writer = await asyncio.open_connection("127.0.0.1", urls["port"])
        writer.write(b"GET /ledger HTTP/1.1\r\nconnection: close\r\n\r\n")
        shown = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        writer.close()
    finally:
        process.kill()
        await process.wait()
    bill = Bill.read(log.read_text().splitlines())
    assert bill.billed == 1
    assert bill.usd > 0
    assert (shown["usd"], shown["entries"][0]["closed_at"]) == (str(bill.usd), None)
