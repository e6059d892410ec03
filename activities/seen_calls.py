"""What the log lines and the spans of one attempt say of its call: of a model, or of a tool."""

from __future__ import annotations

import time

import structlog
from opentelemetry.util.types import AttributeValue
from temporalio import activity
from temporalio.exceptions import ApplicationError

from interlock.contracts import Attempt, Message, ModelCall, ModelReply, ToolCall, ToolResult
from interlock.policies.prices import cost
from interlock.telemetry import names
from interlock.telemetry.logs import content

model_log = structlog.get_logger("interlock.model")
tool_log = structlog.get_logger("interlock.tools")


def of_model(call: ModelCall) -> dict[str, AttributeValue]:
    return {
        names.OPERATION: "chat",
        names.PROVIDER: names.provider_of(call.model),
        names.REQUEST_MODEL: names.plain_model(call.model),
        names.REQUEST_MAX_TOKENS: call.grant.max_tokens,
        names.CONVERSATION_ID: activity.info().workflow_id or "",
        names.AGENT_NAME: call.agent,
        names.STEP: call.step,
        names.PURPOSE: call.purpose,
    }


def of_tool(call: ToolCall) -> dict[str, AttributeValue]:
    return {
        names.OPERATION: "execute_tool",
        names.TOOL_NAME: call.tool,
        names.TOOL_CALL_ID: call.call_id,
        names.CONVERSATION_ID: activity.info().workflow_id or "",
        names.AGENT_NAME: call.agent,
        names.STEP: call.step,
    }


def used_by(reply: ModelReply) -> Attempt:
    """What this attempt used: nothing, when the answer was paid for by an earlier one and found in the journal."""
    number = activity.info().attempt
    made = [each for each in reply.attempts if each.number == number and each.fate == "billed"]
    return made[-1] if made else Attempt(number=number, fate="unbilled")


def of_reply(call: ModelCall, reply: ModelReply, used: Attempt) -> dict[str, AttributeValue]:
    return {
        names.RESPONSE_MODEL: reply.response_model or names.plain_model(call.model),
        names.FINISH_REASONS: (reply.finish,),
        names.INPUT_TOKENS: used.input_tokens,
        names.OUTPUT_TOKENS: used.output_tokens,
        names.CACHED_TOKENS: used.cached_tokens,
        names.COST_USD: float(cost(call.price, used)),
        **_journaled(used, names.JOURNALED),
    }


def model_answered(call: ModelCall, reply: ModelReply, used: Attempt, latency_ms: float) -> None:
    model_log.info(
        names.LLM_RESPONSE,
        model=call.model,
        tokens_in=used.input_tokens,
        tokens_out=used.output_tokens,
        cached=used.cached_tokens,
        usd=f"{cost(call.price, used):f}",
        latency_ms=latency_ms,
        **_journaled(used, "journaled"),
        **content(prompt="\n".join(map(_text, call.delta)), output=_text(reply.message)),
    )


def model_failed(call: ModelCall, error: BaseException, latency_ms: float) -> None:
    model_log.warning(names.LLM_FAILED, model=call.model, **_why(error), latency_ms=latency_ms)


def tool_executed(call: ToolCall, result: ToolResult, latency_ms: float) -> None:
    tool_log.info(
        names.TOOL_EXECUTED,
        tool=call.tool,
        call_id=call.call_id,
        success=not result.is_error,
        latency_ms=latency_ms,
        **content(arguments=call.arguments, output=result.content),
    )


def tool_failed(call: ToolCall, error: BaseException, latency_ms: float) -> None:
    said = {"tool": call.tool, "call_id": call.call_id, **_why(error)}
    tool_log.warning(names.TOOL_FAILED, **said, latency_ms=latency_ms)


def _text(message: Message) -> str:
    """A message as a person reads it in a log."""
    said = [message.content if message.role == "tool" else message.text]
    if message.role == "assistant":
        said += [f"{call.tool}({call.arguments})" for call in message.calls]
    return "\n".join(part for part in said if part)


def _why(error: BaseException) -> dict[str, str]:
    kind = error.type if isinstance(error, ApplicationError) else None
    return {"error": kind or type(error).__name__, "message": getattr(error, "message", str(error))}


def _journaled(used: Attempt, name: str) -> dict[str, bool]:
    return {} if used.fate == "billed" else {name: True}


def since(began: float) -> float:
    """Milliseconds since ``began``, by the clock that only goes forward."""
    return round((time.monotonic() - began) * 1000, 1)
