"""The limits of a run: how they are changed, and what is left of each.

A limit is only ever tightened by a task, and only ever raised by ``extend``. ``None`` is no limit; zero is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from interlock.contracts import Bounds, LimitName, Limits


@dataclass(frozen=True)
class Spent:
    """What a run has used so far, in the units of ``Limits``."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    seconds: float = 0.0
    steps: int = 0
    tool_calls: int = 0


def tighten(agent: Limits, task: Limits | None) -> Limits:
    """The agent's limits with the task's in their place. Raises ``ValueError`` naming each that is looser."""
    if task is None:
        return agent
    asked = task.model_dump(exclude_none=True)
    looser = [
        f"limits.{name}: {value} is more than the agent's {getattr(agent, name)}"
        for name, value in asked.items()
        if getattr(agent, name) is not None and value > getattr(agent, name)
    ]
    if looser:
        raise ValueError("; ".join(looser) + ". A task may only tighten its agent's limits")
    return agent.model_copy(update=asked)


def extend(now: Limits, raised: Limits) -> Limits:
    """Limits with those of ``raised`` in their place. Raises ``ValueError`` naming each that is not higher."""
    asked = raised.model_dump(exclude_none=True)
    if not asked:
        raise ValueError("limits: name at least one limit to raise")
    wrong: list[str] = []
    for name, value in asked.items():
        current = getattr(now, name)
        if current is None:
            wrong.append(f"limits.{name}: there is no such limit to raise")
        elif value <= current:
            wrong.append(f"limits.{name}: {value} does not raise {current}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return now.model_copy(update=asked)


def left(limits: Limits, spent: Spent) -> dict[LimitName, Decimal | int | float | None]:
    """What remains of each limit; never below zero; ``None``: not limited."""
    names: tuple[LimitName, ...] = ("usd", "tokens", "seconds", "steps", "tool_calls")
    remaining: dict[LimitName, Decimal | int | float | None] = {}
    for name in names:
        limit = getattr(limits, name)
        remaining[name] = None if limit is None else max(type(limit)(0), limit - getattr(spent, name))
    return remaining


def seconds_left(limits: Limits, spent: Spent, held_back: float = 0.0) -> float | None:
    return None if limits.seconds is None else max(0.0, limits.seconds - held_back - spent.seconds)


def seconds_held_back(limits: Limits, *, begun: bool) -> float:
    """Seconds kept for a final answer, once there is something to answer from: a fifth, one step at most."""
    if limits.seconds is None or not begun:
        return 0.0
    return min(limits.seconds / 5, limits.step_seconds or limits.seconds)


def call_seconds(limits: Limits, left: float | None, own: float | None = None) -> float:
    """Seconds one attempt may take: the call's own time-out, ``step_seconds``, and what is left of the run's,
    whichever is least."""
    return min((bound for bound in (own, limits.step_seconds, left) if bound is not None), default=60.0)


def spent_up(bounds: Bounds, limits: Limits, spent: Spent) -> str | None:
    """Why no further turn may begin, in words; ``None``: it may, as far as time and steps go."""
    left = seconds_left(limits, spent, seconds_held_back(limits, begun=spent.steps > 0))
    if left is not None and left <= bounds.least_seconds:
        return f"the time budget of {limits.seconds:g} s is spent"
    if limits.steps is not None and spent.steps >= limits.steps:
        return f"the limit of {limits.steps} steps is reached"
    return None
