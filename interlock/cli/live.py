"""A run as it happens: finished calls as lines that stay; in a terminal, those under way below them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from interlock import present
from interlock.cli.story import Call, Line, Remark, Story

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"done": ("✓", "green"), "failed": ("✗", "red"), "cancelled": ("■", "yellow")}
PLAIN = 48
"""How wide the name of a call is in a file: longer ones push their line, and are never cut."""

NARROW = 68
"""Columns below which a line has no room for tokens: what a call cost is read before how it was spent."""


class Lines:
    """Writes lines as they come, and nothing else: for files, pipes and logs."""

    def __init__(self, to: Console) -> None:
        self._to = to

    def add(self, line: Line) -> None:
        self._to.print(self._cut(finished(line, self._name_width(), tokens=not self._narrow())), soft_wrap=True)

    def _narrow(self) -> bool:
        return self._to.is_terminal and self._to.width < NARROW

    def _name_width(self) -> int:
        if not self._to.is_terminal:
            return PLAIN
        return max(8, self._to.width - 22) if self._narrow() else min(56, self._to.width - 48)

    def _cut(self, text: Text) -> Text:
        if self._to.is_terminal:
            text.truncate(self._to.width, overflow="ellipsis")
        return text


class Watched(Lines):
    """The same, and below it what is under way, redrawn by rich itself."""

    def __init__(self, to: Console, story: Story, hint: str) -> None:
        super().__init__(to)
        self._story, self._hint = story, hint
        self._spinner = Spinner("dots", style="cyan")
        self._quiet_since = time.monotonic()

    def __rich__(self) -> RenderableType:
        story, now = self._story, datetime.now(UTC)
        rows = [self._under_way(call, now) for call in tuple(story.running.values()) if call.shown]
        if rows:
            self._quiet_since = time.monotonic()
        elif time.monotonic() - self._quiet_since > 1:
            waiting = "paused · interlock resume makes it go on" if story.paused else "waiting"
            rows = [Text.assemble(self._frame(), " ", (waiting, "dim"))]
        spent = f"{present.dollars(story.usage.usd)} so far · {self._hint}"
        return Group(*(self._cut(row) for row in (*rows, Text(spent, "dim"))))

    def _under_way(self, call: Call, now: datetime) -> Text:
        elapsed = max(0.0, (now - call.began).total_seconds())
        row = Text.assemble(self._frame(), " ", _name(call, self._name_width()), _right(present.seconds(elapsed), 9))
        return row.append(f"  {call.problem}", "yellow") if call.problem else row

    def _frame(self) -> Text:
        frame = self._spinner.render(time.monotonic())
        return frame if isinstance(frame, Text) else Text("·")


@contextmanager
def watching(to: Console, story: Story, *, live: bool, hint: str) -> Iterator[Lines]:
    """A place for lines; ``live``: with what is under way and ``hint`` below them, while the block runs."""
    if not live:
        yield Lines(to)
        return
    watched = Watched(to, story, hint)
    with Live(watched, console=to, refresh_per_second=8, transient=True):
        yield watched


def finished(line: Line, width: int, *, tokens: bool = True) -> Text:
    """A call that has ended: mark, name, seconds, then what it used or what went wrong."""
    if isinstance(line, Remark):
        return Text.assemble("· ", line.text, style="red" if line.broken else "magenta")
    mark, style = MARKS[line.state]
    row = Text.assemble((mark, style), " ", _name(line, width), _right(present.seconds(line.seconds or 0.0), 9))
    if line.problem:
        row.append(f"  {line.problem}", style)
    elif line.usage is not None:
        used = line.usage
        if tokens:
            row.append(_right(f"{used.input_tokens:,} in", 12), "dim")
            row.append(_right(f"{used.output_tokens:,} out", 11), "dim")
        row.append(_right(present.dollars(used.usd), 10))
    return row


def _name(call: Call, width: int) -> Text:
    again = f" · attempt {call.attempt}" if call.attempt > 1 else ""
    name = Text(call.what)
    if width != PLAIN:
        name.truncate(width - len(again), overflow="ellipsis")
    name.append(again, "yellow")
    name.pad_right(max(0, width - name.cell_len))
    return name


def _right(text: str, width: int) -> str:
    return f" {text:>{width - 1}}"
