"""How attempts are seen from outside: one interceptor for the lines, the span and the metrics of each.

What an attempt writes while it runs, in our words, a tool's or the SDK's, says whose it is: that is bound here, to the
task that the attempt runs in, and is gone with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind
from opentelemetry.util.types import AttributeValue
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from interlock.contracts import Attempt, Message, ModelCall, ModelReply, ToolCall, ToolResult
from interlock.policies.prices import cost
from interlock.telemetry import names, traces
from interlock.telemetry.logs import content
from interlock.telemetry.metrics import Instruments

model_log = structlog.get_logger("interlock.model")
tool_log = structlog.get_logger("interlock.tools")


_made: ContextVar[list[bool] | None] = ContextVar("made", default=None)
"""Whether the attempt of a tool that this task is about was made: one that was refused before counts nowhere."""


def made() -> None:
    """The tool is about to run."""
    if (told := _made.get()) is not None:
        told.append(True)


class SeenAttempts(Interceptor):
    """For one worker."""

    def __init__(self) -> None:
        self._made: dict[str, Instruments] = {}

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Watched(next, self._made)


class _Watched(ActivityInboundInterceptor):
    """``made``: the instruments of each activity type, which the SDK's labels tell apart."""

    def __init__(self, next: ActivityInboundInterceptor, made: dict[str, Instruments]) -> None:
        super().__init__(next)
        self._made = made

    def _instruments(self) -> Instruments:
        kind = activity.info().activity_type
        if kind not in self._made:
            self._made[kind] = Instruments(activity.metric_meter())
        return self._made[kind]

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        asked = input.args[0] if input.args else None
        _bind(asked)
        match asked:
            case ModelCall():
                return await self._model(asked, input)
            case ToolCall():
                return await self._tool(asked, input)
            case _:
                return await self.next.execute_activity(input)

    async def _model(self, call: ModelCall, input: ExecuteActivityInput) -> ModelReply:
        began = time.monotonic()
        with _span(names.span_model(names.plain_model(call.model)), _of_model(call)) as span:
            try:
                reply: ModelReply = await self.next.execute_activity(input)
            except BaseException as error:
                model_log.warning(names.LLM_FAILED, model=call.model, **_why(error), latency_ms=_since(began))
                raise
            _answered(call, reply, span, began)
        self._instruments().observe(names.MODEL_SECONDS, time.monotonic() - began, model=call.model)
        return reply

    async def _tool(self, call: ToolCall, input: ExecuteActivityInput) -> ToolResult:
        began, done = time.monotonic(), False
        admitted: list[bool] = []
        token = _made.set(admitted)
        with _span(names.span_tool(call.tool), _of_tool(call)) as span:
            try:
                result: ToolResult = await self.next.execute_activity(input)
                done = not result.is_error
            except BaseException as error:
                said = {"tool": call.tool, "call_id": call.call_id, **_why(error)}
                tool_log.warning(names.TOOL_FAILED, **said, latency_ms=_since(began))
                raise
            finally:
                if admitted:
                    instruments = self._instruments()
                    instruments.add(names.TOOL_CALLS, tool=call.tool, success=str(done).lower())
                    instruments.observe(names.TOOL_SECONDS, time.monotonic() - began, tool=call.tool)
                _made.reset(token)
            span.set_attribute(names.TOOL_IS_ERROR, result.is_error)
        tool_log.info(
            names.TOOL_EXECUTED,
            tool=call.tool,
            call_id=call.call_id,
            success=done,
            latency_ms=_since(began),
            **content(arguments=call.arguments, output=result.content),
        )
        return result


def _bind(asked: object) -> None:
    """Say whose lines these are, for as long as the attempt's task lives: the SDK's own about it come last."""
    info = activity.info()
    said: dict[str, object] = {"attempt": info.attempt}
    if info.workflow_id is not None:
        said["run_id" if info.workflow_type == "AgentRun" else "workflow_id"] = info.workflow_id
    for name in ("user_id", "agent", "step"):
        if (value := getattr(asked, name, None)) not in (None, ""):
            said[name] = value
    if (traced := traces.trace_id()) is not None:
        said["trace_id"] = traced
    structlog.contextvars.bind_contextvars(**said)


@contextmanager
def _span(name: str, attributes: Mapping[str, AttributeValue]) -> Iterator[Span]:
    """One attempt, inside its run's trace; none where the run has none."""
    if not trace.get_current_span().get_span_context().is_valid:
        yield INVALID_SPAN
        return
    said = {**attributes, names.ATTEMPT: activity.info().attempt}
    with traces.tracer().start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes=said, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            traces.failed(span, error)
            raise


def _of_model(call: ModelCall) -> dict[str, AttributeValue]:
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


def _of_tool(call: ToolCall) -> dict[str, AttributeValue]:
    return {
        names.OPERATION: "execute_tool",
        names.TOOL_NAME: call.tool,
        names.TOOL_CALL_ID: call.call_id,
        names.CONVERSATION_ID: activity.info().workflow_id or "",
        names.AGENT_NAME: call.agent,
        names.STEP: call.step,
    }


def _answered(call: ModelCall, reply: ModelReply, span: Span, began: float) -> None:
    """What this attempt used: nothing, when the answer was paid for by an earlier one and found in the journal."""
    number = activity.info().attempt
    made = [each for each in reply.attempts if each.number == number and each.fate == "billed"]
    used = made[-1] if made else Attempt(number=number, fate="unbilled")
    usd = cost(call.price, used)
    span.set_attributes(
        {
            names.RESPONSE_MODEL: reply.response_model or names.plain_model(call.model),
            names.FINISH_REASONS: (reply.finish,),
            names.INPUT_TOKENS: used.input_tokens,
            names.OUTPUT_TOKENS: used.output_tokens,
            names.CACHED_TOKENS: used.cached_tokens,
            names.COST_USD: float(usd),
            **({} if made else {names.JOURNALED: True}),
        }
    )
    model_log.info(
        names.LLM_RESPONSE,
        model=call.model,
        tokens_in=used.input_tokens,
        tokens_out=used.output_tokens,
        cached=used.cached_tokens,
        usd=f"{usd:f}",
        latency_ms=_since(began),
        **({} if made else {"journaled": True}),
        **content(prompt="\n".join(map(_text, call.delta)), output=_text(reply.message)),
    )


def _text(message: Message) -> str:
    """A message as a person reads it in a log."""
    said = [message.content if message.role == "tool" else message.text]
    if message.role == "assistant":
        said += [f"{call.tool}({call.arguments})" for call in message.calls]
    return "\n".join(part for part in said if part)


def _why(error: BaseException) -> dict[str, str]:
    kind = error.type if isinstance(error, ApplicationError) else None
    return {"error": kind or type(error).__name__, "message": getattr(error, "message", str(error))}


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
