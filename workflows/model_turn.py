"""One turn with the model: route, grant, call, settle; or step down the ladder."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TimedOut

from interlock import options, ports
from interlock.contracts import AgentResult, Grant, ModelCall, ModelReply, Purpose, Tier, UserMessage
from interlock.errors import action_for
from interlock.policies import budget
from interlock.policies.degradation import FINAL_ANSWER_PROMPT, NOTICE
from interlock.policies.routing import Choice, route
from interlock.transcript import unusable
from workflows.run_state import Run

PLAN_PROMPT = "First write a short plan: the steps you will take, in order. Do not call tools yet."
CARRY_OUT_PROMPT = "Now carry out the plan."


@dataclass
class TurnFailed(Exception):
    """No model gave a usable reply. ``reason`` in words; ``limit``: it was a limit that was in the way, so a last
    answer from what was held back may still be had."""

    reason: str
    limit: bool = False


async def take(run: Run, purpose: Purpose = "step", *, tools: bool = True) -> ModelReply:
    """One turn: the next usable reply, which has joined the conversation. Raises ``TurnFailed``."""
    failed: dict[str, str] = {}
    spoiled = 0
    while True:
        choice = route(run.spec.models, _tier(run), failed)
        if choice is None:
            raise TurnFailed("; ".join(f"{model}: {why}" for model, why in failed.items()))
        run.delta += run.steering
        run.steering = []
        call = _call(run, choice, purpose, tools=tools)
        try:
            reply = await _execute(run, call)
        except ActivityError as error:
            failed[choice.model] = _explain(run, error)
            continue
        run.charge(choice.model, reply.usage)
        run.transcript = reply.transcript
        problem = unusable(reply)
        if problem is None:
            run.said(call, reply)
            return reply
        spoiled += 1
        if spoiled == 2:
            raise TurnFailed(f"{choice.model} gave no usable reply twice: {problem}")
        run.delta.append(UserMessage(text=f"Your last reply could not be used: {problem}. Please reply again."))


def _tier(run: Run) -> Tier:
    return "medium" if run.task.complexity == "auto" else run.task.complexity


def _call(run: Run, choice: Choice, purpose: Purpose, *, tools: bool) -> ModelCall:
    run.routed(choice.model, choice.reason)
    run.calls += 1
    return ModelCall(
        key=run.key(f"model-{run.calls}"),
        step=run.step,
        model=choice.model,
        purpose=purpose,
        base=run.messages,
        after=run.last_reply,
        delta=tuple(run.delta),
        tools=tools and bool(run.spec.tools),
        grant=Grant(max_tokens=run.spec.max_output_tokens, attempts=run.spec.retry.attempts),
        price=run.spec.prices.get(choice.model),
        retry=run.spec.retry,
        carry=workflow.info().is_continue_as_new_suggested(),
    )


async def _execute(run: Run, call: ModelCall) -> ModelReply:
    held_back = budget.seconds_held_back(run.limits, begun=run.messages > 0) if call.purpose != "final" else 0.0
    left = budget.seconds_left(run.limits, run.spent, held_back)
    if left is not None and left <= 0:
        raise TurnFailed(f"the time budget of {run.limits.seconds:g} s is spent", limit=True)
    return await workflow.execute_activity_method(
        ports.Models.model,
        call,
        **options.model(
            call,
            seconds=budget.call_seconds(run.limits, left),
            left=left,
            summary=_summary(run, call),
        ),
    )


def _summary(run: Run, call: ModelCall) -> str:
    """``claude-sonnet-4-5 · step 3 · $0.0144 of $0.5``: what was spent before the call, as that is all one can know."""
    what = {"step": f"step {call.step}", "final": "final answer"}.get(call.purpose, call.purpose)
    return f"{call.model.partition(':')[2]} · {what} · {budget.spent_of(run.usage.usd, run.limits.usd)}"


def _explain(run: Run, error: ActivityError) -> str:
    """Why a call failed, in words, when another model may be asked instead. Raises when none may."""
    cause = error.cause
    if is_cancelled_exception(error):
        raise error
    match cause:
        case ApplicationError(type=kind, message=message):
            if action_for(kind) == "give_up":
                raise TurnFailed(f"{kind}: {message}", limit=kind == "BudgetExceeded")
            return f"{kind}: {message}"
        case TimedOut():
            return "ModelTimeout: no worker reported an answer in time"
        case _:
            return str(cause or error)


async def step_down(run: Run, reason: str, *, ask: bool) -> AgentResult:
    """The ladder, for a run that cannot go on: one final answer without tools, else a notice.

    ``ask``: a model may still be asked; it is not, when it is the models that failed."""
    if ask and run.messages > 0:
        run.delta.append(UserMessage(text=FINAL_ANSWER_PROMPT.format(reason=reason)))
        try:
            reply = await take(run, "final", tools=False)
        except TurnFailed as failure:
            reason = f"{reason}; no final answer: {failure.reason}"
        else:
            if reply.message.text.strip():
                return run.result("degraded", reply.message.text, "final_answer", reason)
            reason = f"{reason}; no final answer: the model asked for a tool"
    return run.result("unavailable", NOTICE, "notice", reason)
