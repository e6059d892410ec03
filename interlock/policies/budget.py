"""What a call may spend: its grant, out of what remains of a run's limits and of the accounts that it shares.

    what the provider billed  <=  what Interlock charged  <=  the limit        for every run, at every moment

* **Reserved, not recorded.** Before a call a grant is made: output tokens and attempts such that ``bound x
  attempts`` stays inside every limit that remains. What was not granted cannot be spent.
* **Every attempt is charged**: billed ones at their price, unknown ones at their bound (it can only be too much),
  refused ones not at all. An attempt that nobody reported is an unknown one.
* **The bound** is the price of the most input the call can have and the most output it was granted. A byte-level
  tokenizer makes no more tokens than there are bytes; a margin covers what providers add. ``docs/budgets.md``
  says what it cannot see.
* A part is held back for a final answer, so that running out of money still ends in one.

Beside it: ``limit`` (a run's limits), ``charges`` (what attempts are charged), ``prices`` (what tokens cost). Money is
``Decimal``; never a float.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from interlock.contracts import Bounds, Grant, Limits, Message, Price, ToolMessage, size
from interlock.policies.limit import Spent
from interlock.policies.money import dollars
from interlock.policies.prices import most

Limited: TypeAlias = Literal["usd", "tokens", "account"]


@dataclass(frozen=True)
class Room:
    """One limit on money or tokens, and what remains of it. ``name`` says which, in words; ``limit`` in one."""

    name: str
    usd: Decimal | None = None
    tokens: int | None = None
    limit: Limited = "usd"


@dataclass(frozen=True)
class Kept:
    """What is held back for a final answer."""

    usd: Decimal = Decimal(0)
    tokens: int = 0


NOTHING = Kept()


@dataclass(frozen=True)
class Refusal:
    """No grant: ``name`` is the limit that is in the way, ``reason`` says so in words; ``limit`` in one. ``until``: of
    a shared account, when it is worth asking again."""

    name: str
    reason: str
    limit: Limited = "usd"
    until: datetime | None = None


def rooms(limits: Limits, spent: Spent, kept: Kept) -> list[Room]:
    """What a call may use of a run's own limits on money and tokens: what remains, less what is kept."""
    found: list[Room] = []
    if limits.usd is not None:
        keep = min(kept.usd, limits.usd / 5)
        found.append(Room(f"the budget of {dollars(limits.usd)}", usd=limits.usd - spent.usd - keep))
    if limits.tokens is not None:
        keep_tokens = min(kept.tokens, limits.tokens // 5)
        free = limits.tokens - spent.tokens - keep_tokens
        found.append(Room(f"the budget of {limits.tokens} tokens", tokens=free, limit="tokens"))
    return found


def kept_of_account(kept: Kept, account_limit: Decimal) -> Decimal:
    """What a run keeps back of a shared account: a twentieth at most, for there are other runs."""
    return min(kept.usd, account_limit / 20)


def sent_bytes(bounds: Bounds, message: Message) -> int:
    """The most bytes that are ever sent of a message: a result with a window is shown with it, and later with a mark
    that it is past."""
    windowed = isinstance(message, ToolMessage) and message.valid_until is not None
    return size(message) + (bounds.window_margin if windowed else 0)


def input_bound(
    bounds: Bounds,
    conversation_bytes: int,
    delta_bytes: int,
    messages: int,
    known: int | None,
    *,
    tools: bool,
    open_windows: int = 0,
) -> int:
    """The most input tokens a call can be billed for.

    conversation_bytes  of instructions, tool schemas and every message so far, the new ones not included
    delta_bytes         of the new messages, ``messages`` of them
    known               input and output tokens of the last reply, when the same model gave it, with the same tools
    open_windows        results that were inside their window then: the mark that they are past is in no count yet"""
    margin = bounds.request_margin + bounds.message_margin * messages
    by_bytes = conversation_bytes + delta_bytes + margin + (bounds.tools_margin if tools else 0)
    if known is None:
        return by_bytes
    marks = bounds.window_margin * open_windows
    return min(by_bytes, known + delta_bytes + marks + margin)  # what tools add is in the reply's own count


def grant(
    price: Price,
    input_tokens: int,
    rooms: Iterable[Room],
    *,
    wanted_output: int,
    wanted_attempts: int,
    least_output: int,
) -> Grant | Refusal:
    """The largest grant that fits every room, or which is in the way.

    Attempts are given up before output is: a second attempt may never be needed, half an answer always hurts."""
    attempts, output = wanted_attempts, wanted_output
    least_output = min(least_output, wanted_output)
    for room in rooms:
        least = _fits(price, input_tokens, least_output, room)
        if least < 1:
            return Refusal(room.name, f"{room.name} is spent", room.limit)
        whole = _fits(price, input_tokens, output, room)
        if whole >= 1:
            attempts = min(attempts, whole)
        else:
            attempts, output = 1, _most_output(price, input_tokens, least_output, output, room)
    return Grant(max_tokens=output, attempts=attempts, input_tokens=input_tokens, usd=most(price, input_tokens, output))


_PLENTY = 1_000_000
"""Attempts beyond which nobody counts."""


def _fits(price: Price, input_tokens: int, output: int, room: Room) -> int:
    """How many attempts of that size fit."""
    counts = [_PLENTY]
    if room.usd is not None:
        bound = most(price, input_tokens, output)
        # Compared before it is divided: a quotient of more than 28 digits is an error in decimal arithmetic.
        counts.append(0 if room.usd < 0 else _PLENTY if room.usd >= _PLENTY * bound else int(room.usd // bound))
    if room.tokens is not None:
        counts.append(max(0, room.tokens) // (input_tokens + output))
    return min(counts)


def _most_output(price: Price, input_tokens: int, low: int, high: int, room: Room) -> int:
    """The most output, between ``low`` that is known to fit and ``high``, of which one attempt fits. By halving:
    a price need not be linear."""
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(price, input_tokens, middle, room) >= 1:
            low = middle
        else:
            high = middle - 1
    return low


def keep(bounds: Bounds, price: Price, input_tokens: int, output: int) -> Kept:
    """What a final answer after a call of that size can need at most."""
    after = input_tokens + output
    return Kept(usd=most(price, after, bounds.final_output), tokens=after + bounds.final_output)


def way_out(reason: str, refusal: Refusal | None) -> str:
    """Why a run waits for money, and what makes it go on."""
    if refusal is None or refusal.limit != "account":
        return f"{reason}; extend the run, or kill it"
    command = f"interlock budget set {shlex.quote(refusal.name)} --usd N --window W, then interlock resume"
    again = "" if refusal.until is None else f"; it asks again at {refusal.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{reason}; {command}, or kill the run{again}"
