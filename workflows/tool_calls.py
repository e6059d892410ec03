"""The calls of one reply: each is checked, run side by side with the others, and told to the model in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from interlock.contracts import CallPart, ModelReply, Note, Seen, ToolMessage, UserMessage
from interlock.policies.anomaly import REPEATED_PROMPT, fingerprint, repeated, too_many_calls
from workflows import asking, fates, one_call, relying
from workflows.answers import DESCRIBED, answer, describe, refused
from workflows.run_state import Run


async def perform(run: Run, reply: ModelReply) -> None:
    """Run what a reply asks for; its results are what the model is told next. Kills a run that asks too much."""
    calls = reply.message.calls
    why = too_many_calls(run.limits, run.tool_calls + run.refused_calls, len(calls))
    if why is not None:
        run.killed = run.killed or Note(reason=why, by="interlock")
        return
    slots, basis = asyncio.Semaphore(run.spec.max_parallel_tools), run.seen
    # All are waited for, whatever becomes of one: a kill has to know how each of them ended.
    ended = await asyncio.gather(*(_result(run, call, reply, slots, basis) for call in calls), return_exceptions=True)
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
    run.delta += [answer(call, why, is_error=True) for call in reply.message.calls]


async def _result(
    run: Run, call: CallPart, reply: ModelReply, slots: asyncio.Semaphore, basis: Sequence[Seen]
) -> ToolMessage:
    """One call, from the model's asking for it to what the model is told. People are waited for outside the slots.

    basis  the results that the model had seen when it asked"""
    spec, problem = run.spec.tool(call.tool), reply.problems.get(call.call_id)
    if problem is not None or spec is None:
        return refused(run, call, problem or f"UnknownTool: there is no tool named {call.tool!r}.")
    said = reply.approvals.get(call.call_id)
    if (why_not := await asking.approved(run, spec, call, said, describe(call, DESCRIBED))) is not None:
        return refused(run, call, why_not)
    async with relying.alone(run, spec, call), slots:
        with asking.at_work(run):
            made = await one_call.make(run, spec, call, basis)
    if isinstance(made, ToolMessage):
        return made
    read_only = spec.model_copy(update={"effect": "read", "valid_for": None})
    content, is_error = await fates.settle(
        run, made, slots, lambda: one_call.attempt(run, read_only, call, verify=True)
    )
    return answer(call, content, is_error=is_error)
