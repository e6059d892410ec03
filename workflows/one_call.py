"""One call of a tool: made when nothing is against it any more, not before, and not a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from interlock import options, ports
from interlock.contracts import CallPart, Seen, ToolCall, ToolMessage, ToolResult, ToolSpec
from interlock.policies import backoff, limit
from workflows import child_runs, circuits, fates, pausing, relying
from workflows.answers import DESCRIBED, answer, describe, refused
from workflows.call_report import certainly_not
from workflows.fates import Unknown
from workflows.killed import stopped
from workflows.run_state import Run

FAILED_BEFORE = "An attempt before that had failed."


async def make(run: Run, spec: ToolSpec, call: CallPart, basis: Sequence[Seen]) -> ToolMessage | Unknown:
    """Make a call, when nothing is against it any more: not before, and not a moment later."""
    rounds, asked, tried = 0, 0, False

    def not_made(why: str) -> ToolMessage | Unknown:
        """Once an attempt of it may have taken effect, nobody can say that nothing was done."""
        if not tried:
            return refused(run, call, why)
        return Unknown(
            spec, call, describe(call, DESCRIBED), f"{why.removeprefix('ToolInputStale: ')}\n{FAILED_BEFORE}"
        )

    while rounds < run.spec.keeping.rounds:
        await pausing.unpaused(run)
        if (earlier := relying.used_again(run, spec, call)) is not None:
            return earlier
        go = await relying.ready(
            run, spec, call, basis, lambda need, what: attempt(run, need, what), asked=asked, tried=tried
        )
        asked += 1
        if isinstance(go, str):
            return not_made(go)
        if run.paused is not None:
            continue
        run.go_on()
        if (left := _seconds_left(run)) is not None and left <= run.spec.bounds.least_seconds:
            return not_made("Not run: the time budget is spent.")
        rounds += 1
        run.tool_calls += 1
        run.by_tool[call.tool] = run.by_tool.get(call.tool, 0) + 1
        run.report.sent(call.call_id, call.tool, spec.effect)
        run.show()
        try:
            result = await _execute(run, spec, call, left, fresh_until=go.until)
        except ActivityError as error:
            _cut_off(run, call.call_id, error)
            if isinstance(error.cause, ApplicationError) and error.cause.type == "ToolInputStale":
                tried = tried or not certainly_not(spec.effect, error)
                if not tried:
                    run.report.over(call.call_id)
                continue
            if spec.effect == "write" and fates.never_taken(error) and rounds < run.spec.keeping.rounds:
                await _another_worker(run, spec, call, rounds)
                continue
            return _failed(run, spec, call, error)
        run.report.returned(call.call_id)
        relying.remember(run, spec, call.arguments, result)
        return answer(call, result.content, is_error=result.is_error, result=result)
    return not_made(f"ToolInputStale: {spec.name} was not made: what it relies on was past its window.")


def _failed(run: Run, spec: ToolSpec, call: CallPart, error: ActivityError) -> ToolMessage | Unknown:
    known = fates.explain(spec, error)
    if fates.is_unknown(spec, error):
        return Unknown(spec, call, describe(call, DESCRIBED), known)
    run.report.over(call.call_id)
    return answer(call, known, is_error=True)


async def _another_worker(run: Run, spec: ToolSpec, call: CallPart, asked: int) -> None:
    """Wait before the call is made anew, which Temporal does not do for a write: while workers are replaced, some have
    the tool and some have not. It counts as a call when one has it."""
    run.report.over(call.call_id)
    run.tool_calls -= 1
    run.by_tool = {name: times - (name == call.tool) for name, times in run.by_tool.items()}
    seconds = backoff.backoff(spec.retry or run.spec.retry, asked, workflow.random().random())
    await workflow.sleep(seconds, summary=f"waiting for a worker that has {call.tool}")


def _seconds_left(run: Run) -> float | None:
    return limit.seconds_left(run.limits, run.spent, limit.seconds_held_back(run.limits, begun=True))


async def attempt(run: Run, spec: ToolSpec, call: CallPart, *, verify: bool = False) -> ToolResult:
    """A call that the model did not ask for. One that fails gives a result that says so."""
    run.go_on()
    if (left := _seconds_left(run)) is not None and left <= run.spec.bounds.least_seconds:
        return ToolResult(content="the time budget is spent", is_error=True)
    name = f"{call.call_id}-verify" if verify else call.call_id
    run.report.sent(name, call.tool, spec.effect)
    try:
        result = await _execute(run, spec, call, left, verify=verify)
    except ActivityError as error:
        _cut_off(run, name, error)
        run.report.over(name)
        return ToolResult(content=fates.explain(spec, error), is_error=True)
    # That somebody looked is no effect of the tool, which a kill would have to tell of.
    (run.report.over if verify else run.report.returned)(name)
    return result


def _cut_off(run: Run, call_id: str, error: ActivityError) -> None:
    """Go no further where a kill or a cancellation ended the call."""
    if stopped(run, error):
        run.report.cut_off(call_id, error)
        raise asyncio.CancelledError from error


async def _execute(
    run: Run,
    spec: ToolSpec,
    call: CallPart,
    left: float | None,
    *,
    fresh_until: datetime | None = None,
    verify: bool = False,
) -> ToolResult:
    if spec.agent is not None:
        return await child_runs.perform(run, spec, call)
    retry = spec.retry or run.spec.retry
    work = workflow.execute_activity(
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
            verify=verify,
            at=workflow.now(),
            valid_for=spec.valid_for,
            fresh_until=fresh_until,
            begun=run.first_begun,
        ),
        result_type=ToolResult,
        **options.tool(
            run.task,
            spec,
            retry,
            seconds=limit.call_seconds(run.limits, left, spec.timeout),
            left=left,
            summary=f"did it take effect? {describe(call)}" if verify else describe(call),
        ),
    )
    breaker = f"tool:{spec.name}"
    try:
        result: ToolResult = await work
    except ActivityError as error:
        circuits.met(run, breaker, error)
        raise
    run.circuits.pop(breaker, None)
    return result
