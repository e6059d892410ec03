"""pydantic-ai's messages and ours. What goes back to the provider that wrote it goes back whole; what another
wrote goes as plain text and calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic_ai import messages as pm

from activities.validation import read_arguments
from interlock.contracts import (
    AssistantMessage,
    CallPart,
    Message,
    OpaquePart,
    Part,
    TextPart,
    ToolMessage,
    UserMessage,
)

_RESPONSE_PART: TypeAdapter[pm.ModelResponsePart] = TypeAdapter(pm.ModelResponsePart)

J = TypeVar("J")

EMPTY = "(empty)"
"""Stands for a text that holds nothing to be seen, which a provider may refuse. Its few bytes are within what a run
reckons with for each message."""


def incoming(parts: Sequence[pm.ModelResponsePart], step: int) -> tuple[Part, ...]:
    """A reply's parts as ours. What only the provider understands stays in ``extra`` and in opaque parts."""
    found: list[Part] = []
    calls = 0
    for part in parts:
        match part:
            case pm.TextPart() if part.content:
                found.append(TextPart(text=_clean(part.content), extra=_extra(part, "content")))
            case pm.TextPart() if not _extra(part, "content"):
                pass
            case pm.ToolCallPart():
                calls += 1
                found.append(
                    CallPart(
                        call_id=f"s{step}c{calls}",
                        tool=_clean(part.tool_name),
                        arguments=_arguments(part.args),
                        extra=_extra(part, "tool_name", "args"),
                    )
                )
            case _:
                found.append(OpaquePart(data=_dump(part)))
    return tuple(found)


def outgoing(instructions: str, messages: Sequence[Message], provider: str) -> list[pm.ModelMessage]:
    """A conversation as theirs. Opaque data goes back to the provider that wrote it and to nobody else."""
    ids, taken = dict[str, str](), set[str]()
    sent: list[pm.ModelMessage] = []
    for message in messages:
        match message:
            case AssistantMessage():
                own = message.provider == provider
                parts = [_sent(part, ids, taken, own=own) for part in _visible(message.parts, own=own)]
                sent.append(pm.ModelResponse(parts=parts, provider_name=_provider_name(parts)))
            case UserMessage(text=text):
                _request(sent, instructions).append(pm.UserPromptPart(text if text.strip() else EMPTY))
            case ToolMessage():
                _request(sent, instructions).append(
                    pm.ToolReturnPart(
                        tool_name=_name(message.tool),
                        content=message.content if message.content.strip() else EMPTY,
                        tool_call_id=ids.get(message.call_id, message.call_id),
                        outcome="failed" if message.is_error else "success",
                    )
                )
    return sent


def _visible(parts: Sequence[Part], *, own: bool) -> list[Part]:
    """Without what another provider would not understand, and without text that says nothing where there is something
    else: models write blank lines before a call, and refuse to be shown them again."""
    kept = [part for part in parts if own or not isinstance(part, OpaquePart)]
    said = [part for part in kept if not isinstance(part, TextPart) or part.text.strip() or (own and part.extra)]
    return said or kept


def _request(sent: list[pm.ModelMessage], instructions: str) -> list[Any]:
    """The parts of the request at the end of ``sent``; a new one after a reply."""
    if not sent or not isinstance(sent[-1], pm.ModelRequest):
        sent.append(pm.ModelRequest(parts=[], instructions=instructions or None))
    last = sent[-1]
    if not isinstance(last.parts, list):
        raise TypeError("pydantic-ai no longer keeps a request's parts in a list")
    return last.parts


def _sent(part: Part, ids: dict[str, str], taken: set[str], *, own: bool) -> pm.ModelResponsePart:
    """``ids``: under which id each call is sent; ``taken``: those ids."""
    match part:
        case TextPart():
            return _load({"part_kind": "text", "content": part.text, **((part.extra or {}) if own else {})})
        case CallPart():
            extra = (part.extra or {}) if own else {}
            given = str(extra.get("tool_call_id") or "")
            if not given or given in taken:  # none, or one that another call has: ours tells them apart
                extra = {**extra, "tool_call_id": part.call_id}
            ids[part.call_id] = str(extra["tool_call_id"])
            taken.add(ids[part.call_id])
            base = {
                "part_kind": "tool-call",
                "tool_name": _name(part.tool),
                "args": _sendable(part.arguments),
            }
            return _load({**base, **extra})
        case OpaquePart():
            return _load(part.data)


def _name(tool: str) -> str:
    """A tool's name as every provider takes it: one that a model made up may be refused when it comes back."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", tool)[:64] or "unnamed"


def _arguments(args: object) -> str:
    """The JSON text as the model wrote it, or of the object that its provider made of it."""
    if args is None or isinstance(args, str):
        return _clean(args or "")
    return _clean(json.dumps(args, ensure_ascii=False))


def _sendable(arguments: str) -> str:
    """Arguments that were no JSON object are told back as text inside one: providers refuse the conversation
    otherwise, and the model has been told what was wrong with them."""
    try:
        if isinstance(read_arguments(arguments), dict):
            return arguments
    except ValueError:
        pass
    # As it was written: escaped, it would be more bytes than the run has reckoned with.
    return json.dumps({"INVALID_JSON": arguments}, ensure_ascii=False)


def _provider_name(parts: Sequence[pm.ModelResponsePart]) -> str | None:
    return next((name for part in parts if (name := getattr(part, "provider_name", None))), None)


def _dump(part: pm.ModelResponsePart) -> dict[str, Any]:
    dumped: dict[str, Any] = _RESPONSE_PART.dump_python(part, mode="json")
    return {name: _clean(value) for name, value in dumped.items() if value is not None}


def _extra(part: pm.ModelResponsePart, *told: str) -> dict[str, Any] | None:
    kept = {name: value for name, value in _dump(part).items() if name not in (*told, "part_kind")}
    return kept or None


def _load(data: Any) -> pm.ModelResponsePart:
    return _RESPONSE_PART.validate_python(data)


def _clean(value: J) -> J:
    """``value`` without lone surrogates, which no JSON text in a history can hold."""
    match value:
        case str() if value.isascii():
            return value
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # type: ignore[return-value]
        case dict():
            return {_clean(key): _clean(each) for key, each in value.items()}  # type: ignore[return-value]
        case list():
            return [_clean(each) for each in value]  # type: ignore[return-value]
        case _:
            return value
