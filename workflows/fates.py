"""A write whose fate nobody knows: it is never run again by itself. Its verify function, a person, or nobody tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as TimedOut

from interlock.contracts import CallPart, ToolResult, ToolSpec
from interlock.policies import outcomes
from interlock.policies.approval import OUTCOME
from interlock.policies.outcomes import Next
from workflows import pausing
from workflows.asking import ask, at_work, pending
from workflows.run_state import Run

Verify = Callable[[], Awaitable[ToolResult]]


@dataclass(frozen=True)
class Unknown:
    """A call that may or may not have taken effect. ``known``: all there is to say about it, ``summary``: the call in
    a line."""

    spec: ToolSpec
    call: CallPart
    summary: str
    known: str


def is_unknown(spec: ToolSpec, error: ActivityError) -> bool:
    match error.cause:
        case TimedOut() | ApplicationError(type="ToolOutcomeUnknown"):
            return spec.effect == "write"
        case _:
            return False


def never_taken(error: ActivityError) -> bool:
    """Whether the worker that was asked does not have the tool, being of another release: nothing was run there."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == "NotFoundError"


def explain(spec: ToolSpec, error: ActivityError) -> str:
    """What the model is told of a call that failed. A write whose fate nobody knows says so."""
    match error.cause:
        case ApplicationError() if never_taken(error):
            tried = outcomes.TRIED if spec.effect == "idempotent" else "Nothing was run."
            return f"UnknownTool: the workers that were asked do not have {spec.name}, others may. {tried}"
        case ApplicationError(type=kind, message=message):
            return f"{kind or 'ToolFailed'}: {message}"
        case TimedOut() if spec.effect == "write":
            return f"ToolOutcomeUnknown: {spec.name} did not report back in time. {outcomes.UNKNOWN}"
        case TimedOut():
            tried = f" {outcomes.TRIED}" if spec.effect == "idempotent" else ""
            return f"ToolFailed: {spec.name} did not answer in time.{tried}"
        case _:
            return f"ToolFailed: {error.cause or error}"


async def settle(run: Run, unknown: Unknown, slots: asyncio.Semaphore, verify: Verify) -> tuple[str, bool]:
    """What the model is told of the call, and whether it is an error, after everybody who may know was asked."""
    spec, call = unknown.spec, unknown.call
    asked: tuple[Next, ...] = ()
    while (step := outcomes.next_step(run.spec, spec, asked)) != "tell":
        if step == "verify":
            async with slots:
                with at_work(run):
                    await pausing.unpaused(run)
                    result = await verify()
            found = outcomes.verified(spec.name, result.verdict or "unknown", result.content)
        else:
            question = pending(run, spec, call, unknown.summary, outcomes.question(unknown.known))
            decided = await ask(
                run, question.model_copy(update={"call_id": f"{call.call_id}{OUTCOME}", "kind": "outcome"})
            )
            found = outcomes.answered(spec.name, decided)
        if found is not None:
            _, took_no_effect = found
            (run.report.over if took_no_effect else run.report.returned)(call.call_id)
            return found
        asked = (*asked, step)
    run.report.lost(call.call_id)
    return outcomes.told(unknown.known), True
