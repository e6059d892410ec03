"""How attempts are seen from outside: one interceptor for the lines, the span and the metrics of each. What the lines
and the spans say of a call is in ``activities.seen_calls``.

What an attempt writes while it runs, in our words, a tool's or the SDK's, says whose it is: that is bound here, to the
task that the attempt runs in, and is gone with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVarTuple, Unpack

import structlog
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind
from opentelemetry.util.types import AttributeValue
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.seen_calls import (
    model_answered,
    model_failed,
    of_model,
    of_reply,
    of_tool,
    since,
    tool_executed,
    tool_failed,
    used_by,
)
from interlock.contracts import ModelCall, ModelReply, ToolCall, ToolResult
from interlock.telemetry import names, traces
from interlock.telemetry.metrics import Instruments

Ts = TypeVarTuple("Ts")

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
        with _span(names.span_model(names.plain_model(call.model)), of_model(call)) as span:
            try:
                reply: ModelReply = await self.next.execute_activity(input)
            except BaseException as error:
                model_failed(call, error, since(began))
                raise
            used = used_by(reply)
            span.set_attributes(of_reply(call, reply, used))
        _soon(model_answered, call, reply, used, since(began))
        self._instruments().observe(names.MODEL_SECONDS, time.monotonic() - began, model=call.model)
        return reply

    async def _tool(self, call: ToolCall, input: ExecuteActivityInput) -> ToolResult:
        began, done = time.monotonic(), False
        admitted: list[bool] = []
        token = _made.set(admitted)
        with _span(names.span_tool(call.tool), of_tool(call)) as span:
            try:
                result: ToolResult = await self.next.execute_activity(input)
                done = not result.is_error
            except BaseException as error:
                tool_failed(call, error, since(began))
                raise
            finally:
                if admitted:
                    instruments = self._instruments()
                    instruments.add(names.TOOL_CALLS, tool=call.tool, success=str(done).lower())
                    instruments.observe(names.TOOL_SECONDS, time.monotonic() - began, tool=call.tool)
                _made.reset(token)
            span.set_attribute(names.TOOL_IS_ERROR, result.is_error)
        _soon(tool_executed, call, result, since(began))
        return result


def _soon(tell: Callable[[Unpack[Ts]], None], *of: *Ts) -> None:
    """Write a line once the attempt is on its way to the server: it takes a fifth of the time that all of ours takes,
    and nobody has to wait for it. Whose it is goes along."""
    asyncio.get_running_loop().call_soon(tell, *of)


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
