"""What is told around a run and its stages: the lines that begin and end them, and their spans.

A span is begun again with the same id whenever the run is replayed, and ends once, when what it stands for ends.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from opentelemetry import context, trace
from opentelemetry.trace import INVALID_SPAN, Span
from opentelemetry.util.types import Attributes
from temporalio import workflow

from interlock.policies.limit import left
from interlock.policies.low import crossed
from interlock.telemetry import names, traces
from workflows.run_state import Run
from workflows.seen import agent_of, tell, warn

R = TypeVar("R")
S = TypeVar("S", bound="OfRun")
Method = Callable[[S], Coroutine[Any, Any, R]]


class OfRun(Protocol):
    """A workflow that is one run of an agent."""

    _run: Run


def a_run(method: Callable[..., Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
    """Around the whole run: ``agent.start``, the span that holds all others, how it ended."""

    @functools.wraps(method)
    async def watched(self: Any, *args: Any) -> R:
        run: Run = self._run
        continued = workflow.info().continued_run_id is not None
        with stage(names.span_run(run.task.agent), _about(run, continued=continued)) as span:
            run.told.span, run.told.spent = span, run.spent
            run.begun = run.begun or workflow.info().start_time
            if not continued:
                tell(names.AGENT_START)
            try:
                result = await method(self, *args)
            except workflow.ContinueAsNewError:
                raise
            except (Exception, asyncio.CancelledError) as error:
                if not isinstance(error, Exception) or workflow.is_failure_exception(error):
                    _ended(run, span, error)
                raise
            _ended(run, span, None)
            return result

    return watched


def a_plan(method: Method[S, R]) -> Method[S, R]:
    @functools.wraps(method)
    async def watched(self: S) -> R:
        with stage(names.SPAN_PLAN, {names.OPERATION: "plan"}):
            tell(names.AGENT_PLAN)
            return await method(self)

    return watched


def a_step(method: Method[S, R]) -> Method[S, R]:
    @functools.wraps(method)
    async def watched(self: S) -> R:
        run = self._run
        number = run.step + 1
        with stage(names.span_step(number), {names.STEP: number}):
            workflow.logger.info(names.AGENT_STEP_START, extra={"step": number})
            result = await method(self)
        if run.step == number:
            run.told.instruments.add(names.STEPS, agent=agent_of(run))
        _tell_low(run)
        return result

    return watched


@contextmanager
def stage(name: str, attributes: Attributes = None) -> Iterator[Span]:
    """A span of the run. It does not end with a task of the workflow that failed and will be tried again, nor when
    the run is dropped from a worker's memory: that counts as replay. Nor with a task that the SDK interrupts for having
    taken too long, by an exception that is neither an error nor a cancellation."""
    tracer = traces.workflow_tracer()
    if tracer is None:
        yield INVALID_SPAN
        return
    span = tracer.start_span(name, attributes=attributes)
    token = context.attach(trace.set_span_in_context(span))
    try:
        yield span
    except workflow.ContinueAsNewError:
        span.end()
        raise
    except (Exception, asyncio.CancelledError) as error:  # anything else: thrown away with its run, nothing has ended
        traces.failed(span, error)
        span.end()
        raise
    else:
        span.end()
    finally:
        with suppress(ValueError):  # thrown away: the token belongs to another context
            token.var.reset(token)


def _about(run: Run, *, continued: bool) -> dict[str, str | bool]:
    return {
        names.OPERATION: "invoke_agent",
        names.AGENT_NAME: run.task.agent,
        names.CONVERSATION_ID: workflow.info().workflow_id,
        **({names.CONTINUED: True} if continued else {}),
    }


def _ended(run: Run, span: Span, error: BaseException | None) -> None:
    usage, outcome = run.usage, run.outcome or "failed"
    if run.killed is not None and outcome == "killed":
        warn(names.RUN_KILLED, reason=run.killed.reason, by=run.killed.by)
    _tell_low(run)
    why = run.reason or (str(error) if error is not None else None)
    tell(
        names.AGENT_COMPLETE,
        outcome=outcome,
        steps=run.step,
        tool_calls=run.tool_calls,
        total_tokens=usage.tokens,
        total_cost=str(usage.usd),
        **({"reason": why} if why else {}),
    )
    seconds = (workflow.now() - (run.begun or workflow.info().start_time)).total_seconds()
    run.told.instruments.add(names.RUNS, agent=agent_of(run), outcome=outcome)
    run.told.instruments.observe(names.RUN_SECONDS, seconds, agent=agent_of(run))
    span.set_attributes(
        {
            names.OUTCOME: outcome,
            names.STEP: run.step,
            names.INPUT_TOKENS: usage.input_tokens,
            names.OUTPUT_TOKENS: usage.output_tokens,
            names.CACHED_TOKENS: usage.cached_tokens,
            names.COST_USD: float(usage.usd),
        }
    )


def _tell_low(run: Run) -> None:
    before, run.told.spent = run.told.spent, run.spent
    for name in crossed(run.limits, before, run.told.spent):
        warn(
            names.BUDGET_LOW,
            limit=name,
            left=str(left(run.limits, run.told.spent)[name]),
            of=str(getattr(run.limits, name)),
        )
