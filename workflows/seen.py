"""How a run is seen from outside: its lines, spans and counters.

It watches: nothing here changes what a run does, and nothing is told again on replay. The logger and the meter are
the SDK's, which are silent then; spans are begun again with the same ids, and end once, when what they
stand for really ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from opentelemetry import context, trace
from opentelemetry.trace import INVALID_SPAN, Span
from opentelemetry.util.types import Attributes
from temporalio import workflow

from interlock.contracts import Attempt, State, Usage
from interlock.policies.budget import Refusal, Spent, left
from interlock.policies.low import crossed
from interlock.telemetry import names, traces
from interlock.telemetry.metrics import Instruments

if TYPE_CHECKING:
    from workflows.run_state import Run

R = TypeVar("R")
S = TypeVar("S", bound="OfRun")
Method = Callable[[S], Coroutine[Any, Any, R]]

MILLION = 1_000_000


class OfRun(Protocol):
    """A workflow that is one run of an agent."""

    _run: Run


@dataclass
class Seen:
    """What was told of a run already. It begins anew with each execution, and needs nothing that is carried over."""

    span: Span = INVALID_SPAN
    spent: Spent = field(default_factory=Spent)
    state: State = "starting"
    _instruments: Instruments | None = None

    @property
    def instruments(self) -> Instruments:
        if self._instruments is None:
            self._instruments = Instruments(workflow.metric_meter())
        return self._instruments

    def entered(self, run: Run, state: State) -> None:
        """The run is in another state now."""
        before, self.state = self.state, state
        if state == "paused" and before != "paused":
            note = run.paused
            tell(names.RUN_PAUSED, reason=note.reason if note else "", by=note.by if note else "")
        elif before == "paused" and state == "running":
            tell(names.RUN_RESUMED)

    def charged(self, run: Run, model: str, usage: Usage) -> None:
        """A call's fate is known, and this is what it is charged."""
        add = self.instruments.add
        add(names.TOKENS, usage.input_tokens, model=model, direction="input")
        add(names.TOKENS, usage.output_tokens, model=model, direction="output")
        add(names.TOKENS, usage.cached_tokens, model=model, direction="cached")
        add(names.COST, round(usage.usd * MILLION), agent=_agent(run), model=model)

    def attempted(self, model: str, attempts: Iterable[Attempt], unreported: int = 0) -> None:
        """The attempts of a call, and how many more there may have been that nobody told of."""
        lost = unreported
        for attempt in attempts:
            self.instruments.add(names.ATTEMPTS, model=model, fate=attempt.fate)
            lost += attempt.fate == "unknown"
        if lost:
            self.instruments.add(names.ATTEMPTS_LOST, lost, model=model)

    def refused(self, run: Run, refusal: Refusal) -> None:
        """A limit did not afford a call of a model."""
        self.instruments.add(names.GRANTS_REFUSED, agent=_agent(run), limit=refusal.limit)


def tell(event: str, **fields: object) -> None:
    """A line of the run. Who it is about is added where lines are rendered."""
    workflow.logger.info(event, extra=fields)


def warn(event: str, **fields: object) -> None:
    workflow.logger.warning(event, extra=fields)


def fields_of(run: Run) -> dict[str, object]:
    """What each line of a run says: whose it is."""
    info = workflow.info()
    fields: dict[str, object] = {
        "run_id": info.workflow_id,
        "user_id": run.task.user_id,
        "agent": run.task.agent,
        "step": run.step,
        "attempt": info.attempt,
    }
    traced = traces.trace_id(run.seen.span) if run.seen.span is not INVALID_SPAN else None
    return fields if traced is None else {**fields, "trace_id": traced}


# -- around the methods of a run ----------------------------------------------------------------------------


def a_run(method: Callable[..., Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
    """Around the whole run: ``agent.start``, the span that holds all others, how it ended."""

    @functools.wraps(method)
    async def watched(self: Any, *args: Any) -> R:
        run: Run = self._run
        continued = run.resolved
        with _span(names.span_run(run.task.agent), _about(run, continued=continued)) as span:
            run.seen.span, run.seen.spent = span, run.spent
            run.begun = run.begun or workflow.info().start_time
            if not continued:
                tell(names.AGENT_START)
            try:
                result = await method(self, *args)
            except (workflow.ContinueAsNewError, GeneratorExit):
                raise
            except BaseException as error:
                if not isinstance(error, Exception) or workflow.is_failure_exception(error):
                    _ended(run, span, error)
                raise
            _ended(run, span, None)
            return result

    return watched


def a_plan(method: Method[S, R]) -> Method[S, R]:
    @functools.wraps(method)
    async def watched(self: S) -> R:
        with _span(names.SPAN_PLAN, {names.OPERATION: "plan"}):
            tell(names.AGENT_PLAN)
            return await method(self)

    return watched


def a_step(method: Method[S, R]) -> Method[S, R]:
    @functools.wraps(method)
    async def watched(self: S) -> R:
        run = self._run
        number = run.step + 1
        with _span(names.span_step(number), {names.STEP: number}):
            workflow.logger.info(names.AGENT_STEP_START, extra={"step": number})
            result = await method(self)
        if run.step == number:
            run.seen.instruments.add(names.STEPS, agent=_agent(run))
        _tell_low(run)
        return result

    return watched


# -- in between ---------------------------------------------------------------------------------------------


@contextmanager
def _span(name: str, attributes: Attributes) -> Iterator[Span]:
    """A span of the run. It does not end with a task of the workflow that failed and will be tried again, nor when
    the run is dropped from a worker's memory: that counts as replay."""
    tracer = traces.workflow_tracer()
    if tracer is None:
        yield INVALID_SPAN
        return
    span = tracer.start_span(name, attributes=attributes)
    token = context.attach(trace.set_span_in_context(span))
    try:
        yield span
    except GeneratorExit:  # thrown away with its run, in whatever thread and context that happens: nothing has ended
        raise
    except workflow.ContinueAsNewError:
        span.end()
        raise
    except BaseException as error:
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
    run.seen.instruments.add(names.RUNS, agent=_agent(run), outcome=outcome)
    run.seen.instruments.observe(names.RUN_SECONDS, seconds, agent=_agent(run))
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
    before, run.seen.spent = run.seen.spent, run.spent
    for name in crossed(run.limits, before, run.seen.spent):
        warn(
            names.BUDGET_LOW,
            limit=name,
            left=str(left(run.limits, run.seen.spent)[name]),
            of=str(getattr(run.limits, name)),
        )


def _agent(run: Run) -> str:
    """A label: what a task calls its agent is anybody's word until a worker knows it."""
    return run.spec.name if run.resolved else "unknown"
