"""A run's trace as people read it: a tree with durations, dollars and, where there is room, a bar of when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from interlock.present import dollars, one_line, seconds
from interlock.spans.span import Span

BAR = 24
"""The least width of a bar that is worth its place."""

COLOURS = {"failed": "red", "cancelled": "yellow", "running": "cyan"}
DIM = ("account", "other", "said", "charge")
BARS = {"run": "white", "stage": "blue", "chat": "green", "tool": "magenta", "wait": "yellow"}


@dataclass(frozen=True)
class _Row:
    guide: str
    span: Span


def lines(root: Span, now: datetime, width: int | None) -> list[Text]:
    """The lines of a trace. ``width``: that of the terminal; ``None``: of a file, where nothing is cut."""
    rows = list(_rows(root))
    names = [_name(row) for row in rows]
    figures = [_figures(row.span, now) for row in rows]
    widest_name = max(name.cell_len for name in names)
    widest = [max(len(each[place]) for each in figures) for place in range(3)]
    taken = sum(wide + 2 for wide in widest)
    bar = 0
    if width is not None:
        least = min(widest_name, max(20, width // 2 - 8))
        bar = width - taken - min(widest_name, max(least, width - taken - 48)) - 3
        bar = min(bar, 60) if bar >= BAR else 0
        widest_name = min(widest_name, max(20, width - taken - (bar + 3 if bar else 0)))
    shown: list[Text] = []
    for row, name, figure in zip(rows, names, figures, strict=True):
        if width is not None:
            name.truncate(widest_name, overflow="ellipsis")
        line = name.copy()
        line.pad_right(widest_name - name.cell_len)
        for text, wide in zip(figure, widest, strict=True):
            line.append(f"  {text:>{wide}}", "dim" if row.span.kind in DIM else "")
        if bar:
            line.append("   ").append_text(_bar(row.span, root, now, bar))
        line.rstrip()
        shown.append(line)
        shown += _errors(row, width)
    return shown


def as_json(span: Span) -> dict[str, Any]:
    """A span and what is in it. ``usd`` and the tokens are those of all of it."""
    usage = span.usage
    return {
        "name": span.name,
        "kind": span.kind,
        "state": span.state,
        "start": span.start.isoformat(),
        "end": span.end.isoformat() if span.end else None,
        "seconds": round((span.end - span.start).total_seconds(), 3) if span.end else None,
        "usd": f"{usage.usd:f}",
        "usd_unsettled": f"{usage.usd_unsettled:f}",
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "attempts": span.attempts,
        "granted": span.granted,
        "lost": list(span.lost),
        "error": span.error or None,
        "children": [as_json(child) for child in span.children],
    }


def _rows(root: Span) -> Iterator[_Row]:
    yield _Row("", root)
    yield from _under(root, "")


def _under(span: Span, guide: str) -> Iterator[_Row]:
    for child in span.children:
        last = child is span.children[-1]
        yield _Row(f"{guide}{'└─ ' if last else '├─ '}", child)
        yield from _under(child, f"{guide}{'   ' if last else '│  '}")


def _name(row: _Row) -> Text:
    span = row.span
    style = COLOURS.get(span.state, "") or ("bold" if span.kind == "run" else "dim" if span.kind in DIM else "")
    text = Text.assemble((row.guide, "dim"), (one_line(span.name), style))
    if span.attempts > 1:
        text.append(f" ({_attempts(span)})", "yellow")
    if span.state in ("cancelled", "running"):
        text.append(" · stopped" if span.state == "cancelled" else " · under way", COLOURS[span.state])
    return text


def _attempts(span: Span) -> str:
    of = f" of {span.granted}" if span.granted else ""
    if not span.lost:
        return f"attempt {span.attempts}{of}"
    when, why = ("first", span.lost[0]) if len(span.lost) == span.attempts - 1 else ("before", span.lost[-1])
    return f"attempt {span.attempts}{of}; {when}: {why or 'unknown'}"


def _figures(span: Span, now: datetime) -> tuple[str, str, str]:
    """Duration, dollars, tokens."""
    usage = span.usage
    instant = span.kind in ("said", "charge")
    took = "" if instant else seconds(max(0.0, ((span.end or now) - span.start).total_seconds()))
    cost = dollars(usage.usd) if usage.usd or span.kind in ("run", "stage", "chat", "charge") else ""
    used = f"in {usage.input_tokens:,} out {usage.output_tokens:,}" if usage.tokens and span.kind != "stage" else ""
    return took, cost, used


def _errors(row: _Row, width: int | None) -> list[Text]:
    span = row.span
    if not span.error:
        return []
    guide = row.guide.replace("├─ ", "│  ").replace("└─ ", "   ")
    below = "│  " if span.children else "   "
    style = "yellow" if span.state == "cancelled" else "dim" if span.state == "done" else "red"
    line = Text.assemble((guide + below, "dim"), (one_line(span.error), style))
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return [line]


def _bar(span: Span, root: Span, now: datetime, width: int) -> Text:
    """When it was, as a part of the whole run: a bar of at least one cell."""
    whole = max(1e-9, ((root.end or now) - root.start).total_seconds())
    begin = (span.start - root.start).total_seconds() / whole
    end = ((span.end or now) - root.start).total_seconds() / whole
    first = min(width - 1, max(0, int(begin * width)))
    cells = max(1, min(width, round(end * width)) - first)
    if span.kind in ("said", "charge"):
        return Text(" " * first + "·", "dim")
    style = COLOURS.get(span.state) or BARS.get(span.kind, "dim")
    return Text(" " * first + ("░" if span.kind == "wait" else "━") * cells, style)
