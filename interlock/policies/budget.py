"""What a run may still spend: limits, grants, and what each attempt is charged.

    what the provider billed  <=  what Interlock charged  <=  the limit        for every run, at every moment

* **Reserved, not recorded.** Before a call a grant is made: output tokens and attempts such that ``bound x
  attempts`` stays inside every limit that remains. What was not granted cannot be spent.
* **Every attempt is charged**: billed ones at their price, unknown ones at their bound (it can only be too much),
  refused ones not at all. An attempt that nobody reported is an unknown one.
* **The bound** is the price of the most input the call can have and the most output it was granted. A byte-level
  tokenizer makes no more tokens than there are bytes; a margin covers what providers add. ``docs/budgets.md``
  says what it cannot see.
* A part is held back for a final answer, so that running out of money still ends in one.
* A limit is only ever tightened by a task, and only ever raised by ``extend``. ``None`` is no limit; zero is one.

Money is ``Decimal``; never a float.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from interlock.contracts import Attempt, Bounds, Grant, LimitName, Limits, Price, Usage
from interlock.policies.prices import cost, most


@dataclass(frozen=True)
class Spent:
    """What a run has used so far, in the units of ``Limits``."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    seconds: float = 0.0
    steps: int = 0
    tool_calls: int = 0


@dataclass(frozen=True)
class Room:
    """One limit on money or tokens, and what remains of it. ``name`` says which, in words."""

    name: str
    usd: Decimal | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Refusal:
    """No grant: ``name`` is the limit that is in the way, ``reason`` says so in words."""

    name: str
    reason: str


# -- limits -----------------------------------------------------------------------------------------------


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
    wrong = [
        f"limits.{name}: {value} does not raise {'no limit' if current is None else current}"
        for name, value in asked.items()
        if (current := getattr(now, name)) is None or value <= current
    ]
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


def rooms(limits: Limits, spent: Spent) -> list[Room]:
    """What remains of a run's own limits on money and tokens."""
    found: list[Room] = []
    if limits.usd is not None:
        found.append(Room(f"the budget of {dollars(limits.usd)}", usd=max(Decimal(0), limits.usd - spent.usd)))
    if limits.tokens is not None:
        found.append(Room(f"the budget of {limits.tokens} tokens", tokens=max(0, limits.tokens - spent.tokens)))
    return found


# -- time and steps -----------------------------------------------------------------------------------------


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


def spent_up(limits: Limits, spent: Spent) -> str | None:
    """Why no further turn may begin, in words; ``None``: it may, as far as time and steps go."""
    if seconds_left(limits, spent, seconds_held_back(limits, begun=spent.steps > 0)) == 0:
        return f"the time budget of {limits.seconds:g} s is spent"
    if limits.steps is not None and spent.steps >= limits.steps:
        return f"the limit of {limits.steps} steps is reached"
    return None


# -- grants -------------------------------------------------------------------------------------------------


def input_bound(
    bounds: Bounds, conversation_bytes: int, delta_bytes: int, messages: int, known: int | None, *, tools: bool
) -> int:
    """The most input tokens a call can be billed for.

    conversation_bytes  of instructions, tool schemas and every message so far, the new ones not included
    delta_bytes         of the new messages, ``messages`` of them
    known               input and output tokens of the last reply, when the same model gave it"""
    margin = bounds.request_margin + bounds.message_margin * messages + (bounds.tools_margin if tools else 0)
    by_bytes = conversation_bytes + delta_bytes + margin
    if known is None:
        return by_bytes
    return min(by_bytes, known + delta_bytes + margin)


def grant(
    price: Price,
    input_tokens: int,
    rooms: Iterable[Room],
    *,
    wanted_output: int,
    wanted_attempts: int,
    least_output: int,
    held_back: Room | None = None,
) -> Grant | Refusal:
    """The largest grant that fits every room, or which is in the way.

    Attempts are given up before output is: a second attempt may never be needed, half an answer always hurts."""
    attempts, output = wanted_attempts, wanted_output
    least_output = min(least_output, wanted_output)
    for room in rooms:
        usd, tokens = _available(room, held_back)
        least = _fits(price, input_tokens, least_output, usd, tokens)
        if least < 1:
            return Refusal(room.name, f"{room.name} is spent")
        whole = _fits(price, input_tokens, output, usd, tokens)
        if whole >= 1:
            attempts = min(attempts, whole)
        else:
            attempts, output = 1, _most_output(price, input_tokens, least_output, output, usd=usd, tokens=tokens)
    return Grant(max_tokens=output, attempts=attempts, input_tokens=input_tokens, usd=most(price, input_tokens, output))


def _available(room: Room, held_back: Room | None) -> tuple[Decimal | None, int | None]:
    usd, tokens = room.usd, room.tokens
    if held_back is not None:
        usd = None if usd is None else usd - (held_back.usd or 0)
        tokens = None if tokens is None else tokens - (held_back.tokens or 0)
    return usd, tokens


def _fits(price: Price, input_tokens: int, output: int, usd: Decimal | None, tokens: int | None) -> int:
    """How many attempts of that size fit."""
    counts = [1_000_000]
    if usd is not None:
        bound = most(price, input_tokens, output)
        counts.append(int(usd // bound) if bound > 0 else 1_000_000 if usd >= 0 else 0)
    if tokens is not None:
        counts.append(max(0, tokens) // (input_tokens + output))
    return min(counts)


def _most_output(
    price: Price, input_tokens: int, low: int, high: int, *, usd: Decimal | None, tokens: int | None
) -> int:
    """The most output, between ``low`` that is known to fit and ``high``, of which one attempt fits. By halving:
    a price need not be linear."""
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(price, input_tokens, middle, usd, tokens) >= 1:
            low = middle
        else:
            high = middle - 1
    return low


def hold_back(bounds: Bounds, limits: Limits, price: Price, input_tokens: int, output: int) -> Room:
    """What is kept for a final answer after a call of that size: its price, a fifth of the limit at most."""
    needed = most(price, input_tokens + output, bounds.final_output)
    usd = needed if limits.usd is None else min(needed, limits.usd / 5)
    tokens = input_tokens + output + bounds.final_output
    return Room("held back", usd=usd, tokens=tokens if limits.tokens is None else min(tokens, limits.tokens // 5))


# -- charges ------------------------------------------------------------------------------------------------


def charge(price: Price, grant: Grant, attempts: Sequence[Attempt], *, unreported: int = 0) -> Usage:
    """What a call is charged. ``unreported``: attempts that may have been made and that nobody told of."""
    billed = [attempt for attempt in attempts if attempt.fate == "billed"]
    unknown = sum(attempt.fate == "unknown" for attempt in attempts) + unreported
    unsettled = grant.usd * unknown
    return Usage(
        calls=1,
        attempts=len(attempts) + unreported,
        input_tokens=sum(attempt.input_tokens for attempt in billed) + unknown * grant.input_tokens,
        output_tokens=sum(attempt.output_tokens for attempt in billed) + unknown * grant.max_tokens,
        cached_tokens=sum(attempt.cached_tokens for attempt in billed),
        usd=sum((cost(price, attempt) for attempt in billed), unsettled),
        usd_unsettled=unsettled,
    )


def may_be_billed(attempts: Sequence[Attempt]) -> int:
    """How many of a call's attempts have used up its grant. A refused one has not."""
    return sum(attempt.fate != "unbilled" for attempt in attempts)


# -- words --------------------------------------------------------------------------------------------------


def dollars(usd: Decimal) -> str:
    """``$0.50``; more places where they are not zero."""
    text = f"{usd:f}"
    whole, _, places = text.partition(".")
    return f"${whole}.{places.rstrip('0').ljust(2, '0')}"


def spent_of(usd: Decimal, limit: Decimal | None) -> str:
    """``$0.0144 of $0.50``."""
    return f"${usd:.4f}" if limit is None else f"${usd:.4f} of {dollars(limit)}"
