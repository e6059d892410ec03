"""The ladder of a run that cannot go on: a final answer, a remembered one, a notice."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from interlock import options, ports
from interlock.contracts import AgentResult, RecallCall, Recalled, UserMessage, input_hash
from interlock.policies import limit
from interlock.policies.degradation import FINAL_ANSWER_PROMPT, NOTICE, Trouble, aged, rungs
from interlock.telemetry import names
from workflows import around, seen
from workflows.failed_calls import TurnFailed
from workflows.model_turn import take
from workflows.run_state import Run


async def step_down(run: Run, trouble: Trouble) -> AgentResult:
    """Walk the agent's ladder; the result says ``degraded`` or ``unavailable``, the source and the reason."""
    reason = trouble.reason
    for rung in rungs(run.spec.ladder, trouble, begun=run.messages > 0):
        match rung:
            case "final_answer":
                answer, why_not = await _final_answer(run, trouble)
                if answer is not None:
                    return run.result("degraded", answer, "final_answer", reason)
                reason = f"{reason}; no final answer: {why_not}"
            case "cache" | "notice" if run.answered:
                # What it had answered before it was told more, or asked for the whole of it.
                return run.result("degraded", run.answered, "model", reason)
            case "cache":
                found = await _recalled(run)
                if found.output is not None and found.as_of is not None:
                    output = aged(found.output, found.as_of, workflow.now())
                    return run.result("degraded", output, "cache", reason, as_of=found.as_of)
            case "notice":
                break
    return run.result("unavailable", NOTICE, "notice", reason)


async def _final_answer(run: Run, trouble: Trouble) -> tuple[str | None, str]:
    run.delta.append(UserMessage(text=FINAL_ANSWER_PROMPT.format(reason=trouble.reason)))
    try:
        with around.stage(names.SPAN_FINAL_ANSWER):
            reply = await take(run, "final", tools=False, thrifty=trouble.money)
    except TurnFailed as failure:
        return None, failure.reason
    return reply.message.text.strip() or None, "the model asked for a tool"


async def _recalled(run: Run) -> Recalled:
    """The last good answer to the same input. That there is none, or that it cannot be read, is no failure."""
    call = RecallCall(
        agent=run.spec.name,
        input_hash=input_hash(run.task.agent, run.task.input),
        user_id=run.task.user_id if run.spec.cache_scope == "user" else None,
        max_age=run.spec.cache_max_age,
        before=workflow.now(),
        run=workflow.info().workflow_id,
    )
    run.go_on()
    try:
        return await workflow.execute_activity_method(
            ports.Recall.recall, call, **options.recall(run.task, left=limit.seconds_left(run.limits, run.spent))
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        seen.warn(names.RECALL_FAILED, error=str(error.cause))
        return Recalled()
