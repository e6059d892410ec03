"""What a person at a terminal sees while runs are being ended. Elsewhere: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from interlock.contracts import Sweep

HINT = "Ctrl-C stops watching, not the kill"


class Watch(Protocol):
    """Is told how far it is."""

    def note(self, left: int, sweep: Sweep | None) -> None: ...


class Unwatched:
    def note(self, left: int, sweep: Sweep | None) -> None:
        """Nobody looks."""


class Bar:
    """How many of the runs have ended, and which rungs were needed."""

    def __init__(self, runs: int) -> None:
        self.progress = Progress(
            SpinnerColumn(style="cyan"),
            TextColumn("ending runs", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}{task.fields[rungs]}", markup=False),
            TimeElapsedColumn(),
        )
        self._runs = runs
        self._task = self.progress.add_task("", total=runs, rungs="")

    def note(self, left: int, sweep: Sweep | None) -> None:
        self._runs = max(self._runs, left)
        rungs = "" if sweep is None or not sweep.cancelled else f" · {sweep.cancelled:,} had to be cancelled"
        if sweep is not None and sweep.terminated:
            rungs += f", {sweep.terminated:,} terminated"
        self.progress.update(self._task, total=self._runs, completed=self._runs - left, rungs=rungs)


@contextmanager
def watching(to: Console, runs: int, *, live: bool) -> Iterator[Watch]:
    """A place to note how far it is. ``live``: shown while the block runs."""
    if not live:
        yield Unwatched()
        return
    bar = Bar(runs)
    with Live(Group(bar.progress, Text(HINT, "dim")), console=to, refresh_per_second=8, transient=True):
        yield bar


@contextmanager
def waiting(to: Console, what: str, *, live: bool) -> Iterator[None]:
    """``what`` is going on while the block runs."""
    if not live:
        yield
        return
    with to.status(Text(what), spinner_style="cyan"):
        yield
