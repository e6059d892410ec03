"""One turn with the model: route, grant, call, settle."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
)

from interlock import options, ports
from interlock.contracts import (
    Grant,
    ModelCall,
    ModelReply,
    Purpose,
    Tier,
    UserMessage,
)
from interlock.policies import charges, limit, money
from interlock.policies.budget import Refusal
from interlock.policies.routing import Choice, candidates, route, tier_of
from interlock.telemetry import names
from interlock.transcript import unusable
from workflows import around, charging, grants, pausing
from workflows.circuits import Circuits
from workflows.failed_calls import TurnFailed, attempts_made, explain, timed_out
from workflows.killed import stopped
from workflows.run_state import Run

CLASSIFY_PROMPT = (
    "How hard is the task below? simple: one look-up or a short answer. medium: several steps. complex: long "
    "reasoning or many sources. Answer with one word: simple, medium or complex.\n\n{input}"
)


async def take(run: Run, purpose: Purpose = "step", *, tools: bool = True, thrifty: bool = False) -> ModelReply:
    """One turn: the next usable reply, which has joined the conversation. Raises ``TurnFailed``. ``thrifty``: money is
    short, so the cheapest model is asked first."""
    failed: dict[str, str] = {}
    circuits = Circuits()
    spoiled = 0
    while True:
        await pausing.unpaused(run)
        run.delta += run.steering
        run.steering = []
        try:
            choice, grant = await _choose(run, purpose, failed, circuits, tools=tools, thrifty=thrifty)
        except TurnFailed:
            if await circuits.wait(run, _seconds_left(run, purpose), failed):
                continue
            raise
        call = _call(run, choice, grant, purpose, tools=tools)
        try:
            reply = await _execute(run, call)
        except ActivityError as error:
            failed[choice.model] = explain(choice.model, error)
            circuits.met(run, choice.model, error)
            if timed_out(error) and _out_of_time(run, purpose, margin=1.0):
                raise TurnFailed(_time_is_spent(run), "time") from error
            continue
        run.circuits.pop(choice.model, None)
        run.transcript = reply.transcript
        problem = unusable(reply)
        if problem is None:
            run.said(call, reply)
            return reply
        if (cut_to := run.cut_short(call, reply)) is not None:
            raise TurnFailed(f"{problem}: {cut_to}", "money")
        spoiled += 1
        if spoiled == 2:
            raise TurnFailed(f"{choice.model} gave no usable reply twice: {problem}", "models")
        run.delta.append(UserMessage(text=f"Your last reply could not be used: {problem}. Please reply again."))


async def classify(run: Run) -> Tier:
    """The tier of a task whose complexity is ``auto``: the model for simple ones is asked, once. Whatever goes wrong:
    medium."""
    model = run.spec.models.simple
    prompt = UserMessage(text=CLASSIFY_PROMPT.format(input=run.task.input))
    try:
        granted = await grants.grant(run, model, "classify", tools=False)
        if not isinstance(granted, Grant):
            return "medium"
        call = _call(run, Choice(model, "classify the task"), granted, "classify", tools=False)
        with around.stage(names.SPAN_CLASSIFY):
            reply = await _execute(run, call.model_copy(update={"delta": (prompt,)}))
    except (ActivityError, TurnFailed):
        return "medium"
    return tier_of(reply.message.text)


async def _choose(
    run: Run, purpose: Purpose, failed: dict[str, str], circuits: Circuits, *, tools: bool, thrifty: bool
) -> tuple[Choice, Grant]:
    """The best model that works and that the budget affords, with its grant. Rather a cheaper one than an answer of
    which only the beginning is affordable."""
    tier = run.tier or "medium"
    order = candidates(run.spec.models, tier, failed, circuits.open)
    refused: dict[str, Refusal] = {}
    fits: dict[str, Grant] = {}
    for model in grants.cheapest_first(run, order) if thrifty else order:
        granted = await grants.grant(run, model, purpose, tools=tools)
        if isinstance(granted, Refusal):
            refused[model] = granted
            run.told.refused(run, granted)
            continue
        fits[model] = granted
        if granted.max_tokens >= min(run.spec.bounds.good_output, run.spec.max_output_tokens):
            break
    best = max(fits, key=lambda model: fits[model].max_tokens, default="")
    passed_over = {model: "money is short" for model in order if thrifty}
    passed_over |= {model: f"only {grant.max_tokens} tokens of an answer fit" for model, grant in fits.items()}
    passed_over |= {model: refusal.reason for model, refusal in refused.items()}
    passed_over.pop(best, None)
    if (choice := route(run.spec.models, tier, failed, passed_over, circuits.open)) is not None:
        return choice, fits[choice.model]
    if refused:
        first = next(iter(refused.values()))
        raise TurnFailed(first.reason, "money", first)
    raise TurnFailed("; ".join(f"{model}: {why}" for model, why in failed.items()), "models")


def _call(run: Run, choice: Choice, grant: Grant, purpose: Purpose, *, tools: bool) -> ModelCall:
    run.routed(choice.model, choice.reason)
    run.calls += 1
    delta = tuple(run.delta)
    return ModelCall(
        # Of the content as well: after a reset the same number may stand for another call.
        key=run.key(f"model-{run.calls}", choice.model, *(message.model_dump_json() for message in delta)),
        step=run.step,
        model=choice.model,
        purpose=purpose,
        base=run.messages,
        after=run.last_reply,
        delta=delta,
        tools=tools and bool(run.spec.tools),
        grant=grant,
        price=run.spec.prices[choice.model],
        retry=run.spec.retry,
        carry=workflow.info().is_continue_as_new_suggested(),
        at=workflow.now(),
        user_id=run.task.user_id,
        agent=run.task.agent,
        begun=run.first_begun,
    )


async def _execute(run: Run, call: ModelCall) -> ModelReply:
    """Make the call, and charge it whatever becomes of it."""
    run.go_on()
    if _out_of_time(run, call.purpose):
        raise TurnFailed(_time_is_spent(run), "time")
    left = _seconds_left(run, call.purpose)
    charging.sent(run, call)
    run.report.sent(call.key, "model", "write")
    run.show()
    try:
        reply = await workflow.execute_activity_method(
            ports.Models.model,
            call,
            **options.model(
                run.task,
                call,
                id=_id(run, call),
                seconds=limit.call_seconds(run.limits, left),
                left=left,
                summary=_summary(run, call),
            ),
        )
    except ActivityError as error:
        attempts, unreported = attempts_made(call, error)
        charging.settled(run, call, charges.charge(call.price, call.grant, attempts, unreported=unreported))
        run.told.attempted(call.model, attempts, unreported)
        if stopped(run, error):
            sent = any(attempt.fate != "unbilled" for attempt in attempts) or unreported > 0
            run.report.cut_off_model(call.key, sent=sent)
            raise asyncio.CancelledError from error
        run.report.over(call.key)
        raise
    charging.settled(run, call, reply.usage)
    run.report.over(call.key)
    run.told.attempted(call.model, reply.attempts)
    return reply


def _id(run: Run, call: ModelCall) -> str:
    """Of its activity, which a replay compares."""
    return f"model-{run.calls}" if run.spec.numbered else call.key


def _seconds_left(run: Run, purpose: Purpose) -> float | None:
    """What a call may take of the run's time, less what is kept for a final answer; ``None``: not limited."""
    begun = run.messages > 0 and purpose != "final"
    return limit.seconds_left(run.limits, run.spent, limit.seconds_held_back(run.limits, begun=begun))


def _out_of_time(run: Run, purpose: Purpose, margin: float = 0.0) -> bool:
    left = _seconds_left(run, purpose)
    return left is not None and left <= max(margin, run.spec.bounds.least_seconds)


def _time_is_spent(run: Run) -> str:
    return f"the time budget of {run.limits.seconds:g} s is spent"


def _summary(run: Run, call: ModelCall) -> str:
    """``claude-sonnet-4-5 · step 3 · $0.0144 of $0.50``: what was spent before the call is all one can know."""
    what = {"step": f"step {call.step}", "final": "final answer"}.get(call.purpose, call.purpose)
    return f"{call.model.partition(':')[2]} · {what} · {money.spent_of(run.usage.usd, run.limits.usd)}"
