"""``tool.<name>``: one call of a tool. Plain functions run in threads, async ones on the worker's loop."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from temporalio import activity

from activities.faults import application_error
from activities.gate import Gate
from activities.heartbeat import asked_for, heartbeating
from activities.outages import tells_of_outage
from activities.threads import in_thread
from interlock import options, ports
from interlock.contracts import ToolCall, ToolResult
from interlock.errors import Failure, Kind, ToolError
from interlock.tools import Tool, ToolContext

log = structlog.get_logger("interlock.tools")


def tool_activity(tool: Tool, gate: Gate) -> Callable[..., Any]:
    """The activity that runs ``tool``, each attempt past the ``gate``."""

    @activity.defn(name=f"{ports.TOOL_PREFIX}{tool.name}")
    async def run(call: ToolCall) -> ToolResult:
        began = time.monotonic()
        try:
            arguments = tool.bind(call.arguments)
        except ValueError as error:
            said = str(error)[:2000].encode(errors="replace").decode()
            failure = Failure(
                "ToolArgumentsInvalid", f"the arguments of {tool.name} do not fit: {said}. Nothing was run."
            )
            raise application_error(failure, call.retry) from None
        context = _context(call)
        if tool.context_parameter is not None:
            arguments[tool.context_parameter] = context
        run_id, left = activity.info().workflow_id or "", _patience()
        let_in = False
        try:
            async with (
                heartbeating(),
                gate.admit(tool.dependency, run=run_id, user=call.user_id, seconds=left) as admission,
            ):
                let_in = True
                left = max(0.01, left - (time.monotonic() - began))
                value = await _attempt(
                    tool, call, arguments, context, seconds=left, killed=lambda: admission.killed is not None
                )
        except ToolError as error:
            return _result(call, str(error), began, is_error=True)
        except asyncio.CancelledError:
            if activity.is_worker_shutdown():
                raise
            if not asked_for():
                kind: Kind = "ToolOutcomeUnknown" if call.effect == "write" else "ToolFailed"
                broken_off = Failure(kind, f"{tool.name} was broken off; nobody asked for its end", fate="unknown")
                raise application_error(broken_off, call.retry, {"began": str(let_in)}) from None
            # A failure and not a cancellation, of which the SDK drops the details: whether it had begun.
            stopped = Failure("CallStopped", f"{tool.name} was stopped in flight", fate="unknown")
            raise application_error(stopped, call.retry, {"began": str(let_in)}) from None
        except Failure as failure:
            # Not `from failure`: one of megabytes could not be reported, and would hold the call until its time-out.
            raise application_error(failure, call.retry, {**failure.told, "began": str(let_in)}) from None
        try:
            return _result(call, tool.render(value), began)
        except Exception as error:  # noqa: BLE001  # the tool has run: it is not run again
            log.warning("tool.unshowable", tool=tool.name, call_id=call.call_id, error=_line(error))
            said = f"{tool.name} was run, but what it returned cannot be shown: {_line(error)}"
            return _result(call, said, began, is_error=True)

    return run


async def _attempt(
    tool: Tool,
    call: ToolCall,
    arguments: dict[str, Any],
    context: ToolContext,
    *,
    seconds: float,
    killed: Callable[[], bool],
) -> Any:
    """Run the tool once. Raises ``ToolError``, ``Failure``, or the cancellation of this call."""
    began = time.monotonic()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await _invoke(tool, arguments)
    except asyncio.CancelledError as error:
        context.cancelled.set()
        if activity.is_cancelled() or killed():
            raise
        raise _failure(tool, call, error) from None  # its own: nobody has cancelled the call
    except (ToolError, Failure):
        raise
    except Exception as error:  # noqa: BLE001  # raised again, as one of ours
        context.cancelled.set()
        raise (_timed_out(tool, call, began) if limit.expired() else _failure(tool, call, error)) from None


async def _invoke(tool: Tool, arguments: dict[str, Any]) -> Any:
    if tool.is_async:
        try:
            return await tool.function(**arguments)
        except SystemExit as error:  # it would end the worker
            raise RuntimeError(f"SystemExit: {error}") from error
    return await in_thread(tool.function, **arguments)


def _failure(tool: Tool, call: ToolCall, error: BaseException) -> Failure:
    """The model is told what kind of error it was and what it said, in a line; the log is told where as well.
    Not all of it: a log that renders an error of megabytes keeps the worker from everything else."""
    where = traceback.format_tb(error.__traceback__)[-5:]
    log.warning("tool.failed", tool=tool.name, call_id=call.call_id, error=_line(error), where="".join(where))
    said = f"{tool.name} failed: {_line(error)}"
    return Failure("ToolFailed", said, fate="unknown", outage=tells_of_outage(error))


def _timed_out(tool: Tool, call: ToolCall, began: float) -> Failure:
    """A write that was given up on may have taken effect all the same; the model is told so."""
    log.warning("tool.timed_out", tool=tool.name, call_id=call.call_id)
    said = f"{tool.name} did not finish within {time.monotonic() - began:.1f} s"
    if call.effect != "write":
        return Failure("ToolFailed", said, fate="unknown", outage=True)
    said += ". It may or may not have taken effect, and it will not be run again by itself."
    return Failure("ToolOutcomeUnknown", said, fate="unknown", outage=True)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    said = lines[0][:500].encode(errors="replace").decode() if lines else "no message"
    return f"{type(error).__name__}: {said}"


def _result(call: ToolCall, content: str, began: float, *, is_error: bool = False) -> ToolResult:
    seconds = round(time.monotonic() - began, 3)
    return ToolResult(content=_cut(content, call.max_result_bytes), is_error=is_error, seconds=seconds)


def _cut(content: str, most: int) -> str:
    data = content.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
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
