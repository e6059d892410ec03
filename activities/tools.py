"""``tool.<name>``: one call of a tool. Plain functions run in threads, async ones on the worker's loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from temporalio import activity

from activities.faults import application_error
from activities.heartbeat import heartbeating
from activities.threads import in_thread
from interlock import options, ports
from interlock.agents import Tool, ToolContext
from interlock.contracts import ToolCall, ToolResult
from interlock.errors import Failure, ToolError

log = structlog.get_logger("interlock.tools")


def tool_activity(tool: Tool) -> Callable[..., Any]:
    """The activity that runs ``tool``."""

    @activity.defn(name=f"{ports.TOOL_PREFIX}{tool.name}")
    async def run(call: ToolCall) -> ToolResult:
        began = time.monotonic()
        try:
            arguments = tool.bind(call.arguments)
        except ValueError as error:
            failure = Failure(
                "ToolArgumentsInvalid", f"the arguments of {tool.name} do not fit: {error}. Nothing was run."
            )
            raise application_error(failure, call.retry) from error
        context = _context(call)
        if tool.context_parameter is not None:
            arguments[tool.context_parameter] = context
        try:
            async with heartbeating(), asyncio.timeout(_patience()):
                content = tool.render(await _invoke(tool, arguments))
        except asyncio.CancelledError:
            context.cancelled.set()
            raise
        except ToolError as error:
            return ToolResult(content=str(error), is_error=True, seconds=round(time.monotonic() - began, 3))
        except Exception as error:
            context.cancelled.set()
            raise application_error(_failure(tool, call, error, time.monotonic() - began), call.retry) from error
        return ToolResult(content=_cut(content, call.max_result_bytes), seconds=round(time.monotonic() - began, 3))

    return run


async def _invoke(tool: Tool, arguments: dict[str, Any]) -> Any:
    if tool.is_async:
        return await tool.function(**arguments)
    return await in_thread(tool.function, **arguments)


def _failure(tool: Tool, call: ToolCall, error: Exception, seconds: float) -> Failure:
    """The whole error goes to the log; the model is told what kind it was and what it said, in a line."""
    log.warning("tool.failed", tool=tool.name, call_id=call.call_id, exc_info=error)
    if isinstance(error, TimeoutError) and not str(error):
        return Failure("ToolFailed", f"{tool.name} did not finish within {seconds:.1f} s", fate="unknown")
    return Failure("ToolFailed", f"{tool.name} failed: {type(error).__name__}: {_line(error)}", fate="unknown")


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else "no message"


def _cut(content: str, most: int) -> str:
    data = content.encode()
    if len(data) <= most:
        return content
    kept = data[:most].decode(errors="ignore")
    return f"{kept}\n[cut: {len(data)} bytes in all, the first {most} are above; ask for less at a time]"


def _context(call: ToolCall) -> ToolContext:
    info = activity.info()
    allowed = timedelta(seconds=_patience())
    return ToolContext(
        idempotency_key=call.key,
        run_id=info.workflow_id or "",
        user_id=call.user_id,
        agent=call.agent,
        call_id=call.call_id,
        attempt=info.attempt,
        deadline=datetime.now(UTC) + allowed,
        metadata=call.metadata,
        cancelled=threading.Event(),
    )


def _patience() -> float:
    return options.patience(activity.info().start_to_close_timeout or options.HEARTBEAT_TIMEOUT)
