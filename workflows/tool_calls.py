"""The calls of one reply: each is checked, run side by side with the others, and told to the model in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as TimedOut

from interlock import options, ports
from interlock.contracts import (
    CallPart,
    ModelReply,
    Note,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
)
from interlock.policies import budget
from interlock.policies.anomaly import REPEATED_PROMPT, fingerprint, repeated, too_many_calls
from workflows.killed import stopped
from workflows.run_state import Run


async def perform(run: Run, reply: ModelReply) -> None:
    """Run what a reply asks for; its results are what the model is told next. Kills a run that asks too much."""
    calls = reply.message.calls
    why = too_many_calls(run.limits, run.tool_calls + run.refused_calls, len(calls))
    if why is not None:
        run.killed = run.killed or Note(reason=why, by="interlock")
        return
    side_by_side = asyncio.Semaphore(run.spec.max_parallel_tools)

    async def one(call: CallPart) -> ToolMessage:
        async with side_by_side:
            return await _result(run, call, reply.problems.get(call.call_id))

    # All are waited for, whatever becomes of one: a kill has to know how each of them ended.
    ended = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    told = [each for each in ended if isinstance(each, ToolMessage)]
    run.delta += told
    _watch(run, calls, told)


def _watch(run: Run, calls: Sequence[CallPart], told: Sequence[ToolMessage]) -> None:
    """A run that makes the same call with the same result again and again is warned, and then killed."""
    limit, warned_now = run.spec.repeat_limit, False
    for call, message in zip(calls, told, strict=True):
        name = fingerprint(call.tool, call.arguments, message.content)
        # Side by side with the one that it is warned of, nobody could have heeded the warning.
        run.repeats, verdict = repeated(run.repeats, limit, name, hold=warned_now)
        match verdict:
            case "warn":
                warned_now = True
                run.delta.append(UserMessage(text=REPEATED_PROMPT.format(tool=call.tool, times=run.repeats.times)))
            case "kill":
                why = f"{call.tool} was called {run.repeats.times} times in a row with the same arguments and result"
                run.killed = run.killed or Note(reason=why, by="interlock")
                return
            case "go on":
                pass


def refuse(run: Run, reply: ModelReply, why: str) -> None:
    """Answer the calls of a reply that are not run at all: a conversation with an unanswered call is refused."""
    run.refused_calls += len(reply.message.calls)
    run.delta += [_told(call, why, is_error=True) for call in reply.message.calls]


async def _result(run: Run, call: CallPart, problem: str | None) -> ToolMessage:
    spec = run.spec.tool(call.tool)
    if problem is not None or spec is None:
        run.refused_calls += 1
        return _told(call, problem or f"UnknownTool: there is no tool named {call.tool!r}.", is_error=True)
    await run.unpaused()
    held_back = budget.seconds_held_back(run.limits, begun=True)
    left = budget.seconds_left(run.limits, run.spent, held_back)
    if left is not None and left <= run.spec.bounds.least_seconds:
        run.refused_calls += 1
        return _told(call, "Not run: the time budget is spent.", is_error=True)
    run.tool_calls += 1
    run.by_tool[call.tool] = run.by_tool.get(call.tool, 0) + 1
    run.report.sent(call.call_id, call.tool, spec.effect)
    run.show()
    try:
        result = await _execute(run, spec, call, left)
    except ActivityError as error:
        if stopped(run, error):
            run.report.cut_off(call.call_id, error)
            raise asyncio.CancelledError from error
        run.report.over(call.call_id)
        return _told(call, _explain(spec, error), is_error=True)
    run.report.returned(call.call_id)
    return _told(call, result.content, is_error=result.is_error)


async def _execute(run: Run, spec: ToolSpec, call: CallPart, left: float | None) -> ToolResult:
    retry = spec.retry or run.spec.retry
    result: ToolResult = await workflow.execute_activity(
        f"{ports.TOOL_PREFIX}{spec.name}",
        ToolCall(
            call_id=call.call_id,
            key=run.key(call.call_id, call.tool, call.arguments),
            tool=call.tool,
            arguments=call.arguments,
            agent=run.spec.name,
            user_id=run.task.user_id,
            step=run.step,
            effect=spec.effect,
            retry=retry,
            max_result_bytes=spec.max_result_bytes,
            metadata=run.task.metadata,
        ),
        result_type=ToolResult,
        **options.tool(
            spec,
            retry,
            seconds=budget.call_seconds(run.limits, left, spec.timeout),
            left=left,
            summary=describe(call),
        ),
    )
    return result


def _explain(spec: ToolSpec, error: ActivityError) -> str:
    """What the model is told of a call that failed. A write whose fate nobody knows says so."""
    match error.cause:
        case ApplicationError(type=kind, message=message):
            return f"{kind or 'ToolFailed'}: {message}"
        case TimedOut() if spec.effect == "write":
            return (
                f"ToolOutcomeUnknown: {spec.name} did not report back in time. It may or may not have taken "
                "effect, and it will not be run again by itself."
            )
        case TimedOut():
            return f"ToolFailed: {spec.name} did not answer in time."
        case _:
            return f"ToolFailed: {error.cause or error}"


def _told(call: CallPart, content: str, *, is_error: bool) -> ToolMessage:
    return ToolMessage(call_id=call.call_id, tool=call.tool, content=content, is_error=is_error)


def describe(call: CallPart, most: int = 120) -> str:
    """A call in one line, as the Web UI shows it: ``search(pattern="ERROR")``."""
    try:
        arguments = json.loads(call.arguments or "{}")
        said = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    except (ValueError, AttributeError, RecursionError):
        said = call.arguments
    line = f"{call.tool}({said})".encode(errors="replace").decode()  # half a character fits no payload
    return line if len(line) <= most else f"{line[: most - 2]}…)"
