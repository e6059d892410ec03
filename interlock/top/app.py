"""The screen of ``interlock top``, and its keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Input, Static

from interlock.cli.index import Found
from interlock.client import Interlock
from interlock.contracts import RunStatus
from interlock.errors import InterlockError
from interlock.present import one_line
from interlock.top import rows
from interlock.top.beside import Beside
from interlock.top.orders import Orders
from interlock.top.readings import trace, transcript
from interlock.top.source import Open, Source, Unreachable
from interlock.top.table import Runs

W = TypeVar("W", bound=Widget)

EVERY = 2.0
"""Seconds between two looks at the index, which is itself a moment behind."""

BESIDE_EVERY = 4.0
SETTLED = 0.25
"""Seconds for which the cursor must rest on a run before it is asked: who scrolls asks nobody."""

OF_THE_TABLE = frozenset({"trace", "pause", "kill", "decide", "filter", "sort", "unfilter"})


def ending() -> AbstractContextManager[None]:
    """Around what goes on beside the keys. An app that ends takes its widgets down first, one by one: whoever has just
    got an answer then finds no place for it, and that is no failure."""
    return suppress(NoMatches)


class Top(App[None]):
    """All open runs. ``by``: who is at the keyboard, for the history."""

    TITLE = "interlock top"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  # as textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "trace", "trace"),
        Binding("p", "pause", "pause/resume"),
        Binding("k", "kill", "kill"),
        Binding("a", "decide(True)", "approve"),
        Binding("r", "decide(False)", "reject"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("s", "sort", "sort"),
        Binding("escape", "unfilter", "all", show=False),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
    ]
    CSS = """
    #totals, #problem { height: 1; padding: 0 1; background: $panel; }
    #problem { display: none; background: $error; color: $text; }
    #problem.shown { display: block; }
    #filter { display: none; height: 1; border: none; padding: 0 1; background: $boost; }
    #filter.shown { display: block; }
    #runs { width: 1fr; height: 1fr; }
    #beside { width: 54; height: 1fr; border-left: solid $panel; }
    #beside VerticalScroll { padding: 0 1; }
    .-narrow #beside { display: none; }
    """

    def __init__(self, interlock: Interlock, by: str) -> None:
        super().__init__()
        self._interlock, self._source = interlock, Source(interlock)
        self._orders = Orders(self, interlock, by)
        self._open = Open(0, {}, ())
        self._order: rows.Order = "newest"
        self._words = ""
        self._limits: dict[str, Decimal | None] = {}
        self._said: tuple[str, RunStatus] | None = None
        self._problems: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="totals")
        yield Input(placeholder="words in a run's id, agent, user, state or model", id="filter", compact=True)
        with Horizontal():
            yield Runs(id="runs", cursor_type="row", zebra_stripes=True)
            with Beside(id="beside"):
                yield from Beside.panes()
        yield Static(id="problem")
        yield Footer()

    def on_mount(self) -> None:
        self._table.focus()
        self._find("#totals", Static).update(Text(f"looking at {self._source.where} …", "dim"))
        self._again("runs", EVERY, self._look)
        self._again("beside", BESIDE_EVERY, self._look_beside)

    def _find(self, selector: str, kind: type[W]) -> W:
        """A widget of the main screen, whatever is open above it."""
        if not self.screen_stack:
            raise NoMatches(f"no screen is left to find {selector} on")
        return self.screen_stack[0].query_one(selector, kind)

    @property
    def _table(self) -> Runs:
        return self._find("#runs", Runs)

    @property
    def _beside(self) -> Beside:
        return self._find("#beside", Beside)

    @property
    def lines(self) -> list[tuple[Text, ...]]:
        """The cells of the runs that are shown."""
        return list(self._table.lines.values())

    # -- what is shown ----------------------------------------------------------------------------------

    @work(group="looks")
    async def _again(self, name: str, every: float, look: Callable[[], Awaitable[None]]) -> None:
        """Look again and again, whatever happens: a server that is gone comes back."""
        with ending():
            while True:
                try:
                    await look()
                except (Unreachable, InterlockError) as error:
                    since = datetime.now().astimezone().strftime("%H:%M:%S")
                    self._problems.setdefault(name, f"{one_line(str(error))} · since {since}; trying again")
                else:
                    self._problems.pop(name, None)
                self._show_problem()
                await asyncio.sleep(every)

    def _show_problem(self) -> None:
        line = self._find("#problem", Static)
        said = self._problems.get("runs") or next(iter(self._problems.values()), "")
        line.set_class(bool(said), "shown")
        line.update(Text(said))

    async def _look(self) -> None:
        self._open = await self._source.open_runs()
        known = {run.run_id for run in self._open.runs}
        self._limits = {run: limit for run, limit in self._limits.items() if run in known}
        self._show_runs()

    async def _look_beside(self) -> None:
        fleet, accounts = await asyncio.gather(self._source.fleet(), self._source.accounts())
        self._beside.show_fleet(fleet)
        self._beside.show_accounts(accounts)

    def _show_runs(self) -> None:
        runs = rows.ordered(rows.matching(self._open.runs, self._words), self._order)
        if self._said is not None:
            asked, answer = self._said
            runs = [rows.brought_up_to_date(run, answer) if run.run_id == asked else run for run in runs]
        lines = {run.run_id: rows.line(run, self._limits.get(run.run_id)) for run in runs}
        if self._table.lines and not lines:
            self._beside.show("run", Text("no run is open" if not self._words else "no open run matches", "dim"))
        self._table.show(lines)
        said = rows.totals(self._open.count, self._open.by_state, self._open.runs, len(runs))
        said.append(f"   sorted by {self._order} · {self._source.where}", "dim")
        self._find("#totals", Static).update(said)

    @property
    def _selected(self) -> Found | None:
        """The run under the cursor."""
        key = self._table.selected
        return next((run for run in self._open.runs if run.run_id == key), None)

    @on(DataTable.RowHighlighted, "#runs")
    def _rests_on(self) -> None:
        self._ask_selected()

    @work(group="selected", exclusive=True)
    async def _ask_selected(self) -> None:
        """Ask the run under the cursor itself, now and then, for as long as the cursor stays."""
        said: RunStatus | None = None
        self._said = None
        with ending():
            while (run := self._selected) is not None:
                if said is None:
                    self._beside.show_run(run, None)
                await asyncio.sleep(SETTLED)
                note = ""
                try:
                    said = await self._interlock.get(run.run).status()
                    self._said, self._limits[run.run_id] = (run.run_id, said), said.limits.usd
                except InterlockError as error:
                    note = f"{error}. This is what the server's index knows"
                self._beside.show_run(run, said, note)
                await asyncio.sleep(EVERY)

    # -- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The table's keys are for who sees the table: under a transcript nobody kills by a slip of the finger."""
        return action not in OF_THE_TABLE or len(self.screen_stack) == 1

    @on(DataTable.RowSelected, "#runs")
    def _read_transcript(self) -> None:
        if (run := self._selected) is not None:
            self.push_screen(transcript(self._interlock, run.run))

    def action_trace(self) -> None:
        if (run := self._selected) is not None:
            self.push_screen(trace(self._interlock, run.run))

    def action_pause(self) -> None:
        if (run := self._selected) is not None:
            self._orders.pause_or_resume(run)

    def action_kill(self) -> None:
        if (run := self._selected) is not None:
            self._orders.kill(run)

    def action_decide(self, approve: bool) -> None:
        if (run := self._selected) is not None:
            self._orders.decide(run, approve=approve)

    def action_sort(self) -> None:
        self._order = rows.ORDERS[(rows.ORDERS.index(self._order) + 1) % len(rows.ORDERS)]
        self._show_runs()

    def action_filter(self) -> None:
        field = self._find("#filter", Input)
        field.add_class("shown")
        field.focus()

    def action_unfilter(self) -> None:
        field = self._find("#filter", Input)
        field.value = ""
        field.remove_class("shown")
        self._table.focus()

    @on(Input.Changed, "#filter")
    def _filtered(self, changed: Input.Changed) -> None:
        self._words = changed.value
        self._show_runs()

    @on(Input.Submitted, "#filter")
    def _filter_stays(self) -> None:
        self._table.focus()
