"""Questions to people: a run waits for an answer, and its clock stands still while nothing else is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from temporalio import workflow

from interlock.contracts import CallPart, Decided, Decision, PendingApproval, ToolSpec
from interlock.policies import approval
from workflows import pausing
from workflows.run_state import Run

KEPT_DECISIONS = 50
"""How many closed questions a run remembers, to tell whoever answers once more who was first."""


async def approved(run: Run, spec: ToolSpec, call: CallPart, said: str | None, summary: str) -> str | None:
    """Wait for a person where a call needs one. Why the call must not be made; ``None``: it may.

    said  what the tool's predicate said of the call"""
    why = approval.needed(spec, said)
    if why is None:
        return None
    decided = await ask(run, pending(run, spec, call, summary, why))
    return None if decided.verdict == "approved" else approval.rejected(spec.name, decided)


def pending(run: Run, spec: ToolSpec, call: CallPart, summary: str, why: str) -> PendingApproval:
    now = workflow.now()
    return PendingApproval(
        call_id=call.call_id,
        tool=call.tool,
        arguments=call.arguments,
        arguments_hash=approval.arguments_hash(call.tool, call.arguments),
        since=now,
        expires=approval.expires(run.spec, spec, now),
        summary=summary,
        why=why,
    )


async def ask(run: Run, question: PendingApproval) -> Decided:
    """Wait for a decision, until the question expires."""
    run.go_on()
    run.waiting[question.call_id] = question
    _waits(run)
    try:
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: question.call_id not in run.waiting,
                timeout=None if question.expires is None else question.expires - question.since,
                timeout_summary=approval.timer(workflow.info().workflow_id, question),
            )
    except asyncio.CancelledError:  # killed or cancelled: nobody need decide any more
        run.waiting.pop(question.call_id, None)
        run.show()
        raise
    if run.waiting.pop(question.call_id, None) is not None:
        _close(run, Decided(call_id=question.call_id, verdict="expired", at=workflow.now()))
    _waits(run)
    return run.answers.pop(question.call_id)


def decide(run: Run, decision: Decision) -> None:
    """A person's answer, which ``approval.refusal`` had nothing against."""
    run.waiting.pop(decision.call_id)
    verdict = "approved" if decision.approve else "rejected"
    decided = Decided(
        call_id=decision.call_id, verdict=verdict, at=workflow.now(), by=decision.by, reason=decision.reason
    )
    _close(run, decided)


def _close(run: Run, decided: Decided) -> None:
    run.answers[decided.call_id] = decided  # for whoever asked: more than are remembered may come in one task
    run.decided = (*run.decided, decided)[-KEPT_DECISIONS:]


@contextmanager
def at_work(run: Run) -> Iterator[None]:
    """One of several calls side by side is under way. When the last of them ends, only people are waited for."""
    run.working += 1
    pausing.settle_clock(run)
    try:
        yield
    except GeneratorExit:  # thrown away with its run, outside of the workflow: there is no clock any more
        raise
    except BaseException:
        _worked(run)
        raise
    _worked(run)


def _worked(run: Run) -> None:
    run.working -= 1
    pausing.settle_clock(run)


def _waits(run: Run) -> None:
    """What is waited for has changed."""
    pausing.settle_clock(run)
    if run.state != "paused":  # whoever is held back by the pause says how it goes on
        run.enter("waiting_approval" if run.waiting else "running")
    run.show()
