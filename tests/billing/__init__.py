"""A stand-in for the model providers that keeps its own books.

The ledger of this server is the truth against which Interlock's accounting is tested, so nothing in this package
imports Interlock: what was billed is decided here, from the bytes that arrived and the reply that was chosen.

This module holds the vocabulary (`Request`, `Reply`, `Outcome`, `Entry`, `Bill`). The wire formats are in `wire`,
ready-made replies in `behaviours`, and the server itself in `server`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal, Self

Wire = Literal["chat", "responses", "anthropic"]
Role = Literal["user", "assistant", "tool"]
Finish = Literal["stop", "tool_calls", "length", "content_filter"]
Prices = Mapping[str, tuple[Decimal, Decimal, Decimal]]
"""Dollars per million tokens for each model: (input, output, cached input)."""


@dataclass(slots=True)
class Message:
    """Everything one side said before another spoke.

    The wires cut a turn into messages, items or blocks differently; joining them makes a conversation look the same
    on all three, which is what lets a behaviour count turns.
    """

    role: Role
    text: str = ""
    tool_calls: list[tuple[str, str, str]] = field(default_factory=list)
    """(id, name, arguments as JSON)."""
    tool_results: list[tuple[str, str]] = field(default_factory=list)
    """(id of the call, text)."""
    thinking: list[tuple[str, str]] = field(default_factory=list)
    """(text, signature)."""

    def say(self, text: str) -> None:
        self.text = f"{self.text}\n{text}" if self.text else text


@dataclass(slots=True)
class Request:
    wire: Wire
    model: str
    system: str
    messages: list[Message]
    tools: list[str]
    max_tokens: int | None
    raw: bytes
    headers: dict[str, str]
    """Names in lower case."""
    at: float
    """When the whole request had arrived, on the monotonic clock."""
    closed_at: float | None = None
    """When the client closed the connection while its reply was still pending."""

    @property
    def turns(self) -> int:
        """How many replies of the model the conversation already holds; the same for every retry of a request."""
        return sum(message.role == "assistant" for message in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to answer, what to bill for it, and how to misbehave."""

    text: str | None = None
    tool_calls: list[tuple[str, Mapping[str, Any] | str]] = field(default_factory=list)
    call_id: str | None = None
    """None: one for each call; else all have this one."""
    finish: Finish | None = None
    """None: "tool_calls" if there are any, else "stop"."""
    thinking: tuple[str, str] | None = None
    """(text, signature), sent before the text; the chat wire has no place for it."""

    input_tokens: int | None = None
    """All input tokens, the cached ones included. None: a quarter of the request's bytes."""
    output_tokens: int | None = None
    """None: a quarter of the text's characters, plus one."""
    cached_tokens: int = 0
    ignore_max_tokens: bool = False

    status: int = 200
    error: Mapping[str, Any] | str | None = None
    """For other statuses: a message, fields of the wire's error object, or a whole body (if it has "error")."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    """Sent in place of what the wire prescribes, as a proxy or a broken server would; give its type in `headers`."""

    billed: bool | None = None
    """None: billed if the status is 200 and the connection is not dropped "before"."""
    bill_after_delay: bool = False
    delay: float = 0.0
    hang: bool = False
    drop: Literal["before", "after_billing"] | None = None
    truncate: bool = False

    @property
    def is_billed(self) -> bool:
        return self.billed if self.billed is not None else self.status == 200 and self.drop != "before"

    def outcome(self, request: Request) -> Outcome:
        """The reply to this very request, within its `max_tokens` as a provider would keep it."""
        text = self.text
        calls = [(name, args if isinstance(args, str) else json.dumps(args)) for name, args in self.tool_calls]
        finish: Finish = self.finish or ("tool_calls" if calls else "stop")
        spent = self.input_tokens if self.input_tokens is not None else max(1, len(request.raw) // 4)
        output = self.output_tokens if self.output_tokens is not None else len(text or "") // 4 + 1
        limit = request.max_tokens
        if limit is not None and output > limit and not self.ignore_max_tokens:
            output, finish = limit, "length"
            # As much text as this limit pays for under the default count above.
            text = text[: max(0, 4 * limit - 1)] if text is not None else None
            if calls:
                # A provider that runs out of tokens stops in the middle of the arguments.
                name, arguments = calls[-1]
                calls[-1] = (name, arguments[: len(arguments) // 2])
        if not 0 <= self.cached_tokens <= spent:
            raise ValueError(f"{self.cached_tokens} cached tokens do not fit in {spent} input tokens")
        return Outcome(text, calls, finish, self.thinking, spent, output, self.cached_tokens, self.call_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reply with every default and limit applied: what is sent and what is billed are both read from this."""

    text: str | None
    tool_calls: list[tuple[str, str]]
    finish: Finish
    thinking: tuple[str, str] | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    call_id: str | None = None


Behaviour = Callable[[Request, int], Reply | Awaitable[Reply]]
"""Chooses the reply to a request; the number is the request's index in `BillingServer.requests`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger. An unbilled request has no tokens and costs nothing."""

    n: int
    wire: Wire
    model: str
    turn: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    billed: bool
    status: int
    usd: Decimal
    at: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "usd": str(self.usd)}


@dataclass(slots=True)
class Bill:
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def read(cls, lines: Iterable[str]) -> Self:
        """The bill from a log of the server, e.g. `Bill.read(path.open())`."""
        return cls([Entry(**{**(row := json.loads(line)), "usd": Decimal(row["usd"])}) for line in lines])

    @property
    def usd(self) -> Decimal:
        return sum((entry.usd for entry in self.entries), Decimal(0))

    @property
    def tokens(self) -> int:
        return sum(entry.input_tokens + entry.output_tokens for entry in self.entries)

    @property
    def requests(self) -> int:
        return len(self.entries)

    @property
    def billed(self) -> int:
        return sum(entry.billed for entry in self.entries)


def price(outcome: Outcome, model: str, prices: Prices | None) -> Decimal:
    """What the outcome costs. A model missing from the table is an error: a free request would hide a wrong bill."""
    if prices is None:
        return Decimal(0)
    if model not in prices:
        raise LookupError(f"no price for the model {model!r}")
    fresh, out, cached = prices[model]
    cost = (outcome.input_tokens - outcome.cached_tokens) * fresh
    return (cost + outcome.output_tokens * out + outcome.cached_tokens * cached) / 1_000_000
