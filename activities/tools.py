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

from activities import seen
from activities.faults import application_error
from activities.gate import Asker, Gate
from activities.heartbeat import Heartbeating, asked_for
from activities.invoking import invoke
from activities.results import fitting
from activities.tool_failures import (
    OF_A_TOOL,
    abandoned,
    broken_off,
    given_up,
    in_a_line,
    known,
    raised,
    timed_out,
    unfit,
    worker_ends,
)
from interlock import options, ports
from interlock.agent_tools import AgentTool, ToolContext
from interlock.beside import Beside
from interlock.contracts import ToolCall, ToolResult, Verdict
from interlock.errors import Failure, ToolError
from interlock.policies import freshness
from interlock.secrets import redacted

log = structlog.get_logger("interlock.tools")


def tool_activity(tool: AgentTool, gate: Gate) -> Callable[..., Any]:
    """The activity that runs ``tool``, each attempt past the ``gate``."""

    @activity.defn(name=f"{ports.TOOL_PREFIX}{tool.name}")
    async def run(call: ToolCall) -> ToolResult:
        began = time.monotonic()
        try:
            arguments = tool.bind(call.arguments)
        except ValueError as error:
            raise application_error(Failure("ToolArgumentsInvalid", unfit(tool, error)), call.retry) from None
        _check_inputs(tool, call)
        context = _context(call)
        asked: AgentTool | Beside = tool
        if call.verify:
            asked, arguments = _verifier(tool, call), {**tool.defaults, **arguments}
        left = _patience()
        let_in = activity.info().attempt > 1  # an earlier attempt may have been
        try:
            async with (
                Heartbeating(),
                gate.admit(tool.dependency, Asker.of_activity(call.user_id, call.begun), seconds=left) as admission,
            ):
                let_in = True
                seen.made()
                left = max(0.01, left - (time.monotonic() - began))
                value = await _attempt(
                    tool,
                    call,
                    arguments,
                    context,
                    asked=asked,
                    seconds=left,
                    killed=lambda: admission.killed is not None,
                )
        except ToolError as error:
            return await _result(call, str(error), began, is_error=True)
        except asyncio.CancelledError:
            if activity.is_worker_shutdown():
                if let_in and call.effect == "write" and worker_ends():
                    raise application_error(abandoned(tool, call), call.retry, {"began": "True"}) from None
                raise
            if not asked_for():
                raise application_error(broken_off(tool, call), call.retry, {"began": str(let_in)}) from None
            # A failure and not a cancellation, of which the SDK drops the details: whether it had begun.
            stopped = Failure("CallStopped", f"{tool.name} was stopped in flight", fate="unknown")
            raise application_error(stopped, call.retry, {"began": str(let_in)}) from None
        except Failure as failure:
            # Not `from failure`: one of megabytes could not be reported, and would hold the call until its time-out.
            raise application_error(
                given_up(failure, call), call.retry, {**failure.told, "began": str(let_in)}
            ) from None
        try:
            if call.verify:
                return await _verdict(tool, call, value, began)
            return await _result(call, tool.render(value), began)
        except Exception as error:  # noqa: BLE001  # the tool has run: it is not run again
            log.warning("tool.unshowable", tool=tool.name, call_id=call.call_id, error=in_a_line(error))
            said = f"{tool.name} was run, but what it returned cannot be shown: {in_a_line(error)}"
            return await _result(call, said, began, is_error=True)

    return run


async def _attempt(
    tool: AgentTool,
    call: ToolCall,
    arguments: dict[str, Any],
    context: ToolContext,
    *,
    asked: AgentTool | Beside,
    seconds: float,
    killed: Callable[[], bool],
) -> Any:
    """Run the tool once. Raises ``ToolError``, ``Failure``, or the cancellation of this call."""
    began = time.monotonic()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await invoke(asked, arguments, context)
    except asyncio.CancelledError as error:
        context.cancelled.set()
        if activity.is_cancelled() or killed():
            raise
        raise raised(tool, call, error) from None  # its own: nobody has cancelled the call
    except ToolError:
        raise
    except Failure as failure:
        # No tool may say that its run is killed, or its budget spent: that is an exception like any other.
        raise (known(failure, call) if failure.kind in OF_A_TOOL else raised(tool, call, failure)) from None
    except Exception as error:  # noqa: BLE001  # raised again, as one of ours
        context.cancelled.set()
        raise (timed_out(tool, call, began) if limit.expired() else raised(tool, call, error)) from None


def _check_inputs(tool: AgentTool, call: ToolCall) -> None:
    """No attempt begins after what it relies on is past its window, however long the call waited for a worker, or
    for its next attempt: the run checks again first."""
    if call.fresh_until is not None and datetime.now(UTC) > call.fresh_until:
        earlier = "" if activity.info().attempt == 1 else " An earlier attempt failed, and may have taken effect."
        said = f"{tool.name} was not run: what it relies on is past its window.{earlier}"
        raise application_error(
            Failure("ToolInputStale", said), call.retry, {"began": str(activity.info().attempt > 1)}
        )


def _verifier(tool: AgentTool, call: ToolCall) -> Beside:
    if tool.verify is None:
        said = f"this worker's {tool.name} has no verify function"
        raise application_error(Failure("UnknownTool", said), call.retry)
    return tool.verify


async def _verdict(tool: AgentTool, call: ToolCall, value: Any, began: float) -> ToolResult:
    """What a verify function found: True or a result, False, or None."""
    verdict: Verdict = "unknown" if value is None else "did_not_happen" if value is False else "happened"
    found = "" if value is None or isinstance(value, bool) else tool.render(value)
    result = await _result(call, found, began)
    return result.model_copy(update={"verdict": verdict})


async def _result(call: ToolCall, content: str, began: float, *, is_error: bool = False) -> ToolResult:
    seconds = round(time.monotonic() - began, 3)
    until = None if call.at is None or call.valid_for is None else freshness.window(call.at, call.valid_for)
    return ToolResult(
        content=await fitting(redacted(content), call.max_result_bytes),
        is_error=is_error,
        seconds=seconds,
        observed_at=None if until is None else call.at,
        valid_until=until,
    )


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
