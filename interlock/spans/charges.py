"""What a run was charged and no call of it tells of, as spans of their own: the sum is that of the run's result."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from interlock.contracts import Usage
from interlock.spans.gathered import Gathered
from interlock.spans.span import Span

UNTOLD = "charged at its bound: attempts whose fate nobody told of"
EARLIER = "charged before this history begins"


def untold(known: Gathered, top: list[Span], start: datetime, end: datetime | None) -> list[Span]:
    """What was charged and no call tells of (law 4)."""
    lines: list[Span] = []
    if known.before.usd:
        lines.append(Span(EARLIER, "charge", start, start, own=known.before))
    if known.closed is not None and known.closed.usage is not None and end is not None:
        told = sum((span.usage for span in top), known.before)
        nested = sum((span.usage for span in _runs(top)), Usage())
        if known.closed.usage.usd < told.usd:  # runs that it started were charged to themselves, and not to it
            told = _less(told, nested)
        rest = _less(known.closed.usage, told)
        if rest.usd:
            lines.append(Span(UNTOLD, "charge", end, end, own=rest))
    return lines


def _runs(spans: Iterable[Span]) -> list[Span]:
    """The outermost runs in ``spans``."""
    found: list[Span] = []
    for span in spans:
        found += [span] if span.kind == "run" else _runs(span.children)
    return found


def _less(all: Usage, part: Usage) -> Usage:
    return Usage(**{name: getattr(all, name) - getattr(part, name) for name in Usage.model_fields})
