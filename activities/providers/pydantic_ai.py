"""Every real provider, by pydantic-ai's direct interface: one HTTP request a try, no retries of its own.

pydantic-ai is imported here and nowhere else: it releases often, and what is in histories must outlive it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai import exceptions as theirs
from pydantic_ai import messages as pm
from pydantic_ai.direct import model_request
from pydantic_ai.models import Model, ModelRequestParameters, infer_model, parse_model_id
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from activities.providers import Answer, Request, Tokens
from interlock.contracts import (
    AssistantMessage,
    CallPart,
    Finish,
    Message,
    OpaquePart,
    Part,
    Price,
    TextPart,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from interlock.errors import Failure, Fate, Kind, kind_of_status

_RESPONSE_PART: TypeAdapter[pm.ModelResponsePart] = TypeAdapter(pm.ModelResponsePart)

_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "tool_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}

# What each class of pydantic-ai's errors is to us, most specific first; the rest goes by HTTP status.
_KINDS: tuple[tuple[type[Exception], Kind], ...] = (
    (theirs.ModelQuotaExceededError, "ModelRejected"),
    (theirs.ModelRateLimitError, "ModelRateLimited"),
    (theirs.ModelOverloadedError, "ModelOverloaded"),
    (theirs.ModelUnavailableError, "ModelUnavailable"),
    (theirs.ModelTimeoutError, "ModelTimeout"),
    (theirs.ModelRequestTimeout, "ModelTimeout"),
    (theirs.ModelConnectionError, "ModelUnavailable"),
    (theirs.ModelRequestRejectedError, "ModelRejected"),
)

_KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "openai-chat": "OPENAI_API_KEY"}


class PydanticAI:
    """Calls models through pydantic-ai. One client a model, kept for the worker's life."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}

    def check(self, model: str) -> None:
        provider, _ = parse_model_id(model)
        try:
            infer_provider_class(provider or "")
        except (ValueError, ImportError) as error:
            said = str(error).splitlines()[0]
            raise ValueError(
                f"model {model!r}: {said}. Known are openai:, openai-chat:, anthropic:, scripted:, and what pydantic-ai knows"
            ) from None

    def price(self, model: str) -> Price | None:
        return None

    async def ask(self, request: Request) -> Answer:
        model = self._model(request.model)
        provider = request.model.partition(":")[0]
        settings = ModelSettings(max_tokens=request.max_tokens, timeout=request.timeout, max_retries=0)
        parameters = ModelRequestParameters(function_tools=[_tool(tool) for tool in request.tools])
        try:
            response = await model_request(
                model,
                outgoing(request.instructions, request.messages, provider),
                model_settings=settings,
                model_request_parameters=parameters,
            )
        except theirs.ModelAPIError as error:
            raise _failure(request.model, error) from error
        except theirs.UnexpectedModelBehavior as error:
            # It answered and very likely billed; what it said is no answer in its own format.
            raise Failure("ModelReplyInvalid", f"{request.model}: {_line(error)}", fate="unknown") from error
        except theirs.UserError as error:
            raise Failure("ModelRejected", f"{request.model}: {_line(error)}") from error
        usage = response.usage
        return Answer(
            message=AssistantMessage(provider=provider, parts=incoming(response.parts, request.step)),
            finish=_FINISH.get(response.finish_reason or "", "other"),
            tokens=Tokens(
                input=usage.input_tokens,
                output=usage.output_tokens,
                cached=usage.cache_read_tokens,
                cache_write=usage.cache_write_tokens,
            ),
            response_model=response.model_name,
        )

    def _model(self, name: str) -> Model:
        if name not in self._models:
            try:
                self._models[name] = infer_model(name)
            except (theirs.UserError, ValueError, ImportError) as error:
                raise Failure("ModelRejected", f"{name}: {_line(error)}{_mend(name, 401)}") from error
        return self._models[name]


def _tool(tool: ToolSpec) -> ToolDefinition:
    # Not strict: strict mode would rewrite a schema whose optional parameters have defaults.
    return ToolDefinition(
        name=tool.name, description=tool.description, parameters_json_schema=tool.parameters, strict=False
    )


# -- their messages and ours -----------------------------------------------------------------------------


def incoming(parts: Sequence[pm.ModelResponsePart], step: int) -> tuple[Part, ...]:
    """A reply's parts as ours. What only the provider understands stays in ``extra`` and in opaque parts."""
    found: list[Part] = []
    calls = 0
    for part in parts:
        match part:
            case pm.TextPart():
                if part.content:
                    found.append(TextPart(text=part.content, extra=_extra(part, "content")))
            case pm.ToolCallPart():
                calls += 1
                found.append(
                    CallPart(
                        call_id=f"s{step}c{calls}",
                        tool=part.tool_name,
                        arguments=part.args_as_json_str(),
                        extra=_extra(part, "tool_name", "args"),
                    )
                )
            case _:
                found.append(OpaquePart(data=_dump(part)))
    return tuple(found)


def outgoing(instructions: str, messages: Sequence[Message], provider: str) -> list[pm.ModelMessage]:
    """A conversation as theirs. Opaque data goes back to the provider that wrote it and to nobody else."""
    ids: dict[str, str] = {}
    sent: list[pm.ModelMessage] = []
    for message in messages:
        match message:
            case AssistantMessage():
                own = message.provider == provider
                parts = [_sent(part, ids, own=own) for part in message.parts if own or not isinstance(part, OpaquePart)]
                sent.append(pm.ModelResponse(parts=parts, provider_name=_provider_name(parts)))
            case UserMessage(text=text):
                _request(sent, instructions).append(pm.UserPromptPart(text))
            case ToolMessage():
                _request(sent, instructions).append(
                    pm.ToolReturnPart(
                        tool_name=message.tool,
                        content=message.content,
                        tool_call_id=ids.get(message.call_id, message.call_id),
                        outcome="failed" if message.is_error else "success",
                    )
                )
    return sent


def _request(sent: list[pm.ModelMessage], instructions: str) -> list[Any]:
    """The parts of the request at the end of ``sent``; a new one after a reply."""
    if not sent or not isinstance(sent[-1], pm.ModelRequest):
        sent.append(pm.ModelRequest(parts=[], instructions=instructions or None))
    last = sent[-1]
    if not isinstance(last.parts, list):
        raise TypeError("pydantic-ai no longer keeps a request's parts in a list")
    return last.parts


def _sent(part: Part, ids: dict[str, str], *, own: bool) -> pm.ModelResponsePart:
    match part:
        case TextPart():
            return _load({"part_kind": "text", "content": part.text, **((part.extra or {}) if own else {})})
        case CallPart():
            extra = (part.extra or {}) if own else {}
            ids[part.call_id] = str(extra.get("tool_call_id", part.call_id))
            base = {
                "part_kind": "tool-call",
                "tool_name": part.tool,
                "args": part.arguments,
                "tool_call_id": part.call_id,
            }
            return _load({**base, **extra})
        case OpaquePart():
            return _load(part.data)


def _provider_name(parts: Sequence[pm.ModelResponsePart]) -> str | None:
    return next((name for part in parts if (name := getattr(part, "provider_name", None))), None)


def _dump(part: pm.ModelResponsePart) -> dict[str, Any]:
    dumped = _RESPONSE_PART.dump_python(part, mode="json")
    return {name: value for name, value in dumped.items() if value is not None}


def _extra(part: pm.ModelResponsePart, *told: str) -> dict[str, Any] | None:
    kept = {name: value for name, value in _dump(part).items() if name not in (*told, "part_kind")}
    return kept or None


def _load(data: Any) -> pm.ModelResponsePart:
    return _RESPONSE_PART.validate_python(data)


# -- their errors and ours ---------------------------------------------------------------------------------


def _failure(model: str, error: theirs.ModelAPIError) -> Failure:
    status = getattr(error, "status_code", None)
    said = _said(error)
    kind = next((ours for cls, ours in _KINDS if isinstance(error, cls)), None)
    if isinstance(status, int) and (kind is None or kind in ("ModelUnavailable", "ModelRejected", "ModelRateLimited")):
        kind = kind_of_status(status, said)
    if isinstance(error, theirs.ModelQuotaExceededError):
        kind = "ModelRejected"
    kind = kind or "ModelUnavailable"
    text = f"{model}: {f'HTTP {status}: ' if status else ''}{said}{_mend(model, status)}"
    return Failure(kind, text, retry_after=error.retry_after, fate=_fate(error, status))


def _fate(error: theirs.ModelAPIError, status: object) -> Fate:
    """Refused with a status, or never sent: not billed. Sent and then silence: nobody can tell."""
    if isinstance(status, int) and not error.in_stream:
        return "unbilled"
    if isinstance(error, theirs.ModelConnectionError) and error.phase in ("pool", "connect"):
        return "unbilled"
    return "unknown"


def _said(error: theirs.ModelAPIError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, dict) else inner
        return str(message)[:500] if message else json.dumps(body)[:500]
    return str(body)[:500] if body else _line(error)


def _mend(model: str, status: object) -> str:
    """Which variable or setting to mend, for the failures that no retry mends."""
    provider, _, name = model.partition(":")
    key = _KEYS.get(provider, f"the credentials of {provider}")
    match status:
        case 401 | 403:
            return f". Check {key} in the worker's environment: it is missing, wrong, or may not use this model"
        case 402:
            return f". The account behind {key} has no credit left"
        case 404:
            return f". Check the agent's models: {provider} knows no {name!r} (and OPENAI_BASE_URL, if it is set)"
        case 400 | 422:
            return ". Check the agent's models, tools and max_output_tokens: the provider refuses this request as it is"
        case _:
            return ""


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
