"""Agents as tools: what a run may give to a run that it starts, what that one is charged to it, and how it ended.

    billed  <=  charged  <=  limit        for the run that starts others, with all that they do

* What is given is **taken out of what remains**: as long as the other run is open, nobody else can spend it. When it
  ends, what it used is charged and the rest comes back.
* It gives no more than the other agent's own limits ask for, and to several side by side a fair share each.
* A run that ended without a word is charged all that it was given; it can only be too much.

Time is not shared out: runs side by side use it at the same time. Steps are each run's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from typing import Literal, TypeAlias

from interlock.contracts import AgentResult, AgentTask, Limits, Usage
from interlock.policies.budget import Refusal, Room
from interlock.policies.limit import Spent, tighten

How: TypeAlias = Literal["result", "killed", "cancelled", "failed", "lost", "refused"]

SHARED = ("usd", "tokens", "seconds", "tool_calls")
"""Limits of which a run that works for another has a part of the other's."""

_PLACES = Decimal("0.000001")


@dataclass(frozen=True)
class Ended:
    """How a run that was started as a tool ended.

    how     ``refused``: it made no call. ``lost``: it was terminated or timed out
    result  what it said; ``None``: nothing"""

    how: How
    why: str = ""
    result: AgentResult | None = None


def too_deep(depth: int, most: int) -> str | None:
    """Why a run, ``depth`` runs below the first, may start no other; ``None``: it may."""
    if depth < most:
        return None
    return f"agents that call agents may go {most} deep, and this is as deep. Do it without another agent."


# -- limits -----------------------------------------------------------------------------------------------------


def within(own: Limits, given: Limits | None) -> Limits:
    """Of each limit the tighter one."""
    if given is None:
        return own
    tighter = {
        name: value
        for name, value in given.model_dump(exclude_none=True).items()
        if getattr(own, name) is None or value < getattr(own, name)
    }
    return own.model_copy(update=tighter)


def limits_of(own: Limits, task: AgentTask) -> Limits:
    """The limits of a run: a person's task that loosens them is refused, another run's never does."""
    return tighten(own, task.limits) if task.parent is None else within(own, task.limits)


def not_its_own(task: AgentTask, raised: Limits) -> str | None:
    """Why limits of a run under way are not raised; ``None``: they may be."""
    asked = [name for name in SHARED if getattr(raised, name) is not None]
    if task.parent is None or not asked:
        return None
    return f"limits.{asked[0]}: it is a part of what run {task.parent.run} may use; extend that one"


def carve(
    own: Limits, rooms: Sequence[Room], *, seconds: float | None, tool_calls: int | None, among: int
) -> Limits | Refusal:
    """What to give to a run: its agent's ``own`` limits, inside a share of what remains; or what is in the way.

    rooms                what may be given of money and tokens
    seconds, tool_calls  of time, and of calls
    among                how many are to be given something, this one included"""
    if seconds is not None and seconds <= 0:
        return Refusal("the time budget", "the time budget is spent")
    given = Limits(seconds=seconds, tool_calls=None if tool_calls is None else max(0, tool_calls) // among)
    for room in rooms:
        if (room.usd is not None and room.usd <= 0) or (room.tokens is not None and room.tokens <= 0):
            return Refusal(room.name, f"{room.name} is spent", room.limit)
        if room.usd is not None:
            given = within(given, Limits(usd=_share(room.usd, among)))
        if room.tokens is not None:
            given = within(given, Limits(tokens=room.tokens // among))
    shared = {name: getattr(own, name) for name in SHARED}
    return within(Limits(**shared), given)


def _share(usd: Decimal, among: int) -> Decimal:
    """Never rounded up; and a figure that people can read."""
    return (usd / among).quantize(_PLACES, ROUND_DOWN)


def committed(spent: Spent, given: Iterable[Limits]) -> Spent:
    """What a run has used, and what it has given to runs that are still open."""
    for each in given:
        spent = replace(
            spent,
            usd=spent.usd + (each.usd or 0),
            tokens=spent.tokens + (each.tokens or 0),
            tool_calls=spent.tool_calls + (each.tool_calls or 0),
        )
    return spent


# -- charges ----------------------------------------------------------------------------------------------------


def charge(agent: str, given: Limits, ended: Ended) -> dict[str, Usage]:
    """What a run that has ended is charged to the one that started it, by model.

    One that did not say what it used is charged all that it was given. Of its calls of tools nothing is guessed: a
    limit on them kills."""
    match ended:
        case Ended(how="refused"):
            return {}
        case Ended(result=AgentResult() as result):
            return result.by_model
        case _:
            usd = given.usd or Decimal(0)
            whole = Usage(input_tokens=given.tokens or 0, usd=usd, usd_unsettled=usd)
            return {f"agent:{agent}": whole} if whole != Usage() else {}


# -- words ------------------------------------------------------------------------------------------------------


def told(agent: str, ended: Ended) -> tuple[str, bool]:
    """What the model is told, and whether it is an error."""
    match ended:
        case Ended(how="result", result=AgentResult(outcome="completed", output=output)):
            return output, False
        case Ended(how="result", result=AgentResult(outcome="degraded", output=output, reason=reason)):
            return f"{output}\n\n[{agent} could not finish: {reason}]", False
        case Ended(how="result", result=AgentResult(reason=reason)):
            return f"ToolFailed: {agent} is unavailable: {reason}", True
        case Ended(how="killed", why=why):
            return f"ToolFailed: {agent} was killed: {why}", True
        case Ended(how="refused", why=why):
            return f"ToolFailed: {agent} could not begin: {why}", True
        case Ended(how="cancelled"):
            return f"ToolFailed: {agent} was cancelled. What it had done until then is not undone.", True
        case Ended(why=why):
            said = f"ToolOutcomeUnknown: {agent} ended without a result: {why}. What it did until then may have taken"
            return f"{said} effect, and it will not be run again by itself.", True


def fitting(text: str, most: int, run: str) -> str:
    """``text``, or its first ``most`` bytes with a note of where the whole is."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    shown = data[:most].decode(errors="ignore")
    return f"{shown}\n[cut: {len(data)} bytes in all, the first {most} are above; the whole is the result of run {run}]"
