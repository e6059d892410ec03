"""The three wire formats: what arrives becomes a `Request`, and an `Outcome` becomes a body."""

from __future__ import annotations

import json
import time
from typing import Any, assert_never
from uuid import uuid4

from tests.billing import Finish, Message, Outcome, Reply, Request, Role, Wire

PATHS: dict[str, Wire] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "anthropic",
}
_ANTHROPIC_FINISH: dict[Finish, str] = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}
_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_ERRORS: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class Malformed(ValueError):
    """A request that a provider would refuse before any model saw it."""


def parse(wire: Wire, raw: bytes, headers: dict[str, str], at: float) -> Request:
    try:
        body: dict[str, Any] = json.loads(raw)
        if body.get("stream"):
            raise Malformed("this server does not stream")
        request = Request(wire, body["model"], "", [], [], None, raw, headers, at)
        match wire:
            case "chat":
                _parse_chat(body, request)
            case "responses":
                _parse_responses(body, request)
            case "anthropic":
                _parse_anthropic(body, request)
            case _:
                assert_never(wire)
    except Malformed:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"invalid request body: {error!r}") from error
    return request


def _parse_chat(body: dict[str, Any], request: Request) -> None:
    limit = body.get("max_completion_tokens")
    request.max_tokens = limit if limit is not None else body.get("max_tokens")
    request.tools = [tool["function"]["name"] for tool in body.get("tools") or []]
    for message in body["messages"]:
        text = _text(message.get("content"))
        match message["role"]:
            case "system" | "developer":
                _system(request, text)
            case "user":
                _turn(request, "user").say(text)
            case "assistant":
                turn = _turn(request, "assistant")
                turn.say(text)
                for call in message.get("tool_calls") or []:
                    turn.tool_calls.append((call["id"], call["function"]["name"], call["function"]["arguments"]))
            case "tool":
                _turn(request, "tool").tool_results.append((message["tool_call_id"], text))
            case role:
                raise Malformed(f"unknown role {role!r}")


def _parse_responses(body: dict[str, Any], request: Request) -> None:
    request.max_tokens = body.get("max_output_tokens")
    request.tools = [tool.get("name", tool["type"]) for tool in body.get("tools") or []]
    _system(request, body.get("instructions") or "")
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        match item.get("type", "message"), item.get("role"):
            case "message", "system" | "developer":
                _system(request, _text(item["content"]))
            case "message", "user":
                _turn(request, "user").say(_text(item["content"]))
            case "message", "assistant":
                _turn(request, "assistant").say(_text(item["content"]))
            case "reasoning", _:
                thought = (_text(item.get("summary")), item.get("encrypted_content") or "")
                _turn(request, "assistant").thinking.append(thought)
            case "function_call", _:
                _turn(request, "assistant").tool_calls.append((item["call_id"], item["name"], item["arguments"]))
            case "function_call_output", _:
                _turn(request, "tool").tool_results.append((item["call_id"], _text(item["output"])))
            case kind, role:
                raise Malformed(f"unknown input item {kind!r} with the role {role!r}")


def _parse_anthropic(body: dict[str, Any], request: Request) -> None:
    if not isinstance(body.get("max_tokens"), int):
        raise Malformed("max_tokens: Field required")
    request.max_tokens = body["max_tokens"]
    request.tools = [tool["name"] for tool in body.get("tools") or []]
    _system(request, _text(body.get("system")))
    for message in body["messages"]:
        role: Role = message["role"]
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block["type"]:
                case "text":
                    _turn(request, role).say(block["text"])
                case "thinking":
                    _turn(request, role).thinking.append((block["thinking"], block["signature"]))
                case "tool_use":
                    call = (block["id"], block["name"], json.dumps(block["input"]))
                    _turn(request, role).tool_calls.append(call)
                case "tool_result":
                    result = (block["tool_use_id"], _text(block.get("content")))
                    _turn(request, "tool").tool_results.append(result)
                case kind:
                    raise Malformed(f"unknown content block {kind!r}")


def _turn(request: Request, role: Role) -> Message:
    if not request.messages or request.messages[-1].role != role:
        request.messages.append(Message(role))
    return request.messages[-1]


def _system(request: Request, text: str) -> None:
    request.system = "\n".join(filter(None, (request.system, text)))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or [] if "text" in part)


def render(request: Request, outcome: Outcome) -> dict[str, Any]:
    match request.wire:
        case "chat":
            return _render_chat(request, outcome)
        case "responses":
            return _render_responses(request, outcome)
        case "anthropic":
            return _render_anthropic(request, outcome)


def _render_chat(request: Request, outcome: Outcome) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": outcome.text, "refusal": None}
    if outcome.tool_calls:
        message["tool_calls"] = [
            {"id": _call_id(outcome, "call_"), "type": "function", "function": {"name": name, "arguments": arguments}}
            for name, arguments in outcome.tool_calls
        ]
    return {
        "id": _id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": outcome.finish}],
        "usage": {
            "prompt_tokens": outcome.input_tokens,
            "completion_tokens": outcome.output_tokens,
            "total_tokens": outcome.input_tokens + outcome.output_tokens,
            "prompt_tokens_details": {"cached_tokens": outcome.cached_tokens},
        },
    }


def _render_responses(request: Request, outcome: Outcome) -> dict[str, Any]:
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(outcome.finish)
    status = "incomplete" if reason else "completed"
    output: list[dict[str, Any]] = []
    if outcome.thinking is not None:
        text, signature = outcome.thinking
        summary = [{"type": "summary_text", "text": text}]
        output.append({"type": "reasoning", "id": _id("rs_"), "summary": summary, "encrypted_content": signature})
    if outcome.text is not None:
        content = [{"type": "output_text", "text": outcome.text, "annotations": []}]
        output.append({"type": "message", "id": _id("msg_"), "role": "assistant", "status": status, "content": content})
    for name, arguments in outcome.tool_calls:
        call = {"type": "function_call", "id": _id("fc_"), "call_id": _call_id(outcome, "call_"), "status": status}
        output.append({**call, "name": name, "arguments": arguments})
    return {
        "id": _id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": request.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": outcome.input_tokens,
            "input_tokens_details": {"cached_tokens": outcome.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": outcome.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": outcome.input_tokens + outcome.output_tokens,
        },
    }


def _render_anthropic(request: Request, outcome: Outcome) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if outcome.thinking is not None:
        text, signature = outcome.thinking
        content.append({"type": "thinking", "thinking": text, "signature": signature})
    if outcome.text is not None:
        content.append({"type": "text", "text": outcome.text})
    for name, arguments in outcome.tool_calls:
        content.append(
            {"type": "tool_use", "id": _call_id(outcome, "toolu_"), "name": name, "input": _object(arguments)}
        )
    return {
        "id": _id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": _ANTHROPIC_FINISH[outcome.finish],
        "stop_sequence": None,
        "usage": {
            # Unlike the others, this wire counts the cached tokens apart from the input.
            "input_tokens": outcome.input_tokens - outcome.cached_tokens,
            "cache_read_input_tokens": outcome.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": outcome.output_tokens,
        },
    }


def render_error(wire: Wire, reply: Reply) -> dict[str, Any]:
    fields: dict[str, Any] = {"message": f"status {reply.status}"}
    match reply.error:
        case str():
            fields["message"] = reply.error
        case None:
            pass
        case body if "error" in body:
            return dict(body)
        case given:
            fields |= given
    if wire == "anthropic":
        default = "invalid_request_error" if reply.status < 500 else "api_error"
        kind = _ANTHROPIC_ERRORS.get(reply.status, default)
        return {"type": "error", "error": {"type": kind, **fields}, "request_id": _id("req_")}
    default = "invalid_request_error" if reply.status < 500 else "server_error"
    kind, code = _OPENAI_ERRORS.get(reply.status, (default, None))
    return {"error": {"type": kind, "code": code, "param": None, **fields}}


def _object(arguments: str) -> dict[str, Any]:
    """This wire carries arguments as an object, so cut off ones arrive as an empty object and not as broken JSON."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _call_id(outcome: Outcome, prefix: str) -> str:
    return _id(prefix) if outcome.call_id is None else outcome.call_id


def _id(prefix: str) -> str:
    # Random, as a counter would repeat itself when the server is started again during one conversation.
    return prefix + uuid4().hex
