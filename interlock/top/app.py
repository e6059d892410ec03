"""The screen of ``interlock top``, and its keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from interlock.cli import conversation, waterfall
from interlock.cli.index import Found
from interlock.client import Interlock
from interlock.contracts import FleetStatus, PendingApproval, RunStatus
from interlock.errors import InterlockError
from interlock.policies import approval
from interlock.present import one_line
from interlock.top import panels, rows
from interlock.top.screens import Ask, Reading
from interlock.top.source import Open, Source, Unreachable

W = TypeVar("W", bound=Widget)

EVERY = 2.0
"""Seconds between two looks at the index, which is itself a moment behind."""

SAID = "from interlock top"
"""Why, for whoever reads the history."""

BESIDE_EVERY = 4.0
SETTLED = 0.25
"""Seconds for which the cursor must rest on a run before it is asked: who scrolls asks nobody."""


OF_THE_TABLE = frozenset({"trace", "pause", "kill", "decide", "filter", "sort", "unfilter"})


class Runs(DataTable[Text]):
    """The table of runs. Its own binding of enter stands before the screen's, so it is the one that is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "transcript")]


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
        self._interlock, self._by, self._source = interlock, by, Source(interlock)
        self._open = Open(0, {}, ())
        self._order: rows.Order = "newest"
        self._words = ""
        self._shown: dict[str, tuple[Text, ...]] = {}
        self._limits: dict[str, Decimal | None] = {}
        self._said: tuple[str, RunStatus] | None = None
        self._problems: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="totals")
        yield Input(placeholder="words in a run's id, agent, user, state or model", id="filter", compact=True)
        with Horizontal():
            yield Runs(id="runs", cursor_type="row", zebra_stripes=True)
            with TabbedContent(id="beside"):
                for name in ("Run", "Breakers", "Kills", "Accounts"):
                    with TabPane(name, id=f"tab-{name.lower()}"), VerticalScroll(can_focus=False):
                        yield Static(id=f"panel-{name.lower()}")
        yield Static(id="problem")
        yield Footer()

    def on_mount(self) -> None:
        table = self._table
        for name in rows.COLUMNS:
            table.add_column(name, key=name)
        table.focus()
        self._find("#totals", Static).update(Text(f"looking at {self._source.where} …", "dim"))
        self._again("runs", EVERY, self._look)
        self._again("beside", BESIDE_EVERY, self._look_beside)

    def _find(self, selector: str, kind: type[W]) -> W:
        """A widget of the main screen, whatever is open above it."""
        return self.screen_stack[0].query_one(selector, kind)

    @property
    def lines(self) -> list[tuple[Text, ...]]:
        """The cells of the runs that are shown."""
        return list(self._shown.values())

    @property
    def _table(self) -> DataTable[Text]:
        return self._find("#runs", DataTable)

    # -- what is shown ----------------------------------------------------------------------------------

    @work(group="looks")
    async def _again(self, name: str, every: float, look: Callable[[], Awaitable[None]]) -> None:
        """Look again and again, whatever happens: a server that is gone comes back."""
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
        if not self.is_running:
            return
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
        self._panel("breakers", panels.breakers(fleet))
        self._panel("kills", panels.kills(fleet))
        self._panel("accounts", panels.accounts(accounts, self._width()))
        self._label(fleet)

    def _label(self, fleet: FleetStatus | str) -> None:
        """How many breakers are not closed and how many kills are in force, where it is seen without opening a tab."""
        tripped = kills = 0
        if isinstance(fleet, FleetStatus):
            tripped = sum(breaker.state != "closed" for breaker in fleet.breakers.values())
            kills = len(fleet.kills)
        tabs = self._find("#beside", TabbedContent)
        for name, count in (("Breakers", tripped), ("Kills", kills)):
            tabs.get_tab(f"tab-{name.lower()}").label = f"{name} {count}" if count else name

    def _panel(self, name: str, text: Text) -> None:
        self._find(f"#panel-{name}", Static).update(text)

    def _width(self) -> int:
        return max(30, self._find("#beside", TabbedContent).size.width - 4)

    def _show_runs(self) -> None:
        """The table brought up to date: in place where the same runs are shown in the same order."""
        runs = rows.ordered(rows.matching(self._open.runs, self._words), self._order)
        if self._said is not None:
            asked, answer = self._said
            runs = [rows.brought_up_to_date(run, answer) if run.run_id == asked else run for run in runs]
        lines = {run.run_id: rows.line(run, self._limits.get(run.run_id)) for run in runs}
        table = self._table
        if list(lines) == list(self._shown):
            for key, cells in lines.items():
                for column, cell, before in zip(rows.COLUMNS, cells, self._shown[key], strict=True):
                    if cell != before:
                        table.update_cell(key, column, cell, update_width=True)
        else:
            self._fill(table, lines)
        self._shown = lines
        said = rows.totals(self._open.count, self._open.by_state, self._open.runs, len(runs))
        said.append(f"   sorted by {self._order} · {self._source.where}", "dim")
        self._find("#totals", Static).update(said)

    def _fill(self, table: DataTable[Text], lines: dict[str, tuple[Text, ...]]) -> None:
        """New rows, with the cursor on the run on which it was."""
        selected, row, scrolled = self._selected, table.cursor_row, table.scroll_offset
        with self.batch_update():
            table.clear()
            for key, cells in lines.items():
                table.add_row(*cells, key=key)
            if lines:
                keys = list(lines)
                there = (
                    keys.index(selected.run_id) if selected and selected.run_id in lines else min(row, len(keys) - 1)
                )
                table.scroll_to(scrolled.x, scrolled.y, animate=False)
                table.move_cursor(row=max(0, there), animate=False)
            else:
                self._panel("run", Text("no run is open" if not self._words else "no open run matches", "dim"))

    @property
    def _selected(self) -> Found | None:
        """The run under the cursor."""
        table = self._table
        if not table.is_valid_row_index(table.cursor_row):
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return next((run for run in self._open.runs if run.run_id == key), None)

    @on(DataTable.RowHighlighted, "#runs")
    def _rests_on(self) -> None:
        self._ask_selected()

    @work(group="selected", exclusive=True)
    async def _ask_selected(self) -> None:
        """Ask the run under the cursor itself, now and then, for as long as the cursor stays."""
        said: RunStatus | None = None
        self._said = None
        while (run := self._selected) is not None:
            if said is None:
                self._panel("run", panels.run(run, None, "", self._width()))
            await asyncio.sleep(SETTLED)
            note = ""
            try:
                said = await self._interlock.get(run.run).status()
                self._said, self._limits[run.run_id] = (run.run_id, said), said.limits.usd
            except InterlockError as error:
                note = f"{error}. This is what the server's index knows"
            self._panel("run", panels.run(run, said, note, self._width()))
            await asyncio.sleep(EVERY)

    # -- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The table's keys are for who sees the table: under a transcript nobody kills by a slip of the finger."""
        return action not in OF_THE_TABLE or len(self.screen_stack) == 1

    @on(DataTable.RowSelected, "#runs")
    def _read_transcript(self) -> None:
        if (run := self._selected) is None:
            return

        async def read(width: int) -> Text:
            told = await self._interlock.transcript(run.run)
            return panels.drawn(lambda to: conversation.show(to, told), width)

        self.push_screen(Reading(f"{run.run} · transcript", read))

    def action_trace(self) -> None:
        if (run := self._selected) is None:
            return

        async def read(width: int) -> Text:
            root = await self._interlock.trace(run.run)
            return Text("\n").join(waterfall.lines(root, datetime.now(UTC), width))

        self.push_screen(Reading(f"{run.run} · trace", read))

    def action_pause(self) -> None:
        if (found := self._selected) is None:
            return
        run = self._interlock.get(found.run)
        if found.state == "paused":
            self._tell(partial(run.resume, SAID, self._by), f"{found.run} goes on")
        else:
            self._tell(
                partial(run.pause, SAID, self._by), f"{found.run} waits before its next call; p again lets it go on"
            )

    def action_kill(self) -> None:
        if (run := self._selected) is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                kill = self._interlock.get(run.run).kill
                self._tell(partial(kill, SAID, self._by), f"kill sent to {run.run}")

        then = "Its calls in flight are cancelled; no final answer is made. What it has done stays done."
        self.push_screen(Ask(f"Kill {run.run}?", then), answered)

    def action_decide(self, approve: bool) -> None:
        if (run := self._selected) is not None:
            self._decide(run, approve)

    @work(group="actions")
    async def _decide(self, found: Found, approve: bool) -> None:
        """Show what waits first, and decide it when that is confirmed."""
        run = self._interlock.get(found.run)
        try:
            waiting = (await run.status()).pending_approvals
        except InterlockError as error:
            self._complain(error)
            return
        if not waiting:
            self.notify(f"nothing waits for a decision in {found.run}", markup=False)
            return
        call = waiting[0]

        def answered(yes: bool | None) -> None:
            if yes:
                done = "approved" if approve else "rejected"
                # For these arguments: the call that waits may be another one when this is answered.
                decide = partial(run.decide, call.call_id, approve, SAID, self._by, arguments_hash=call.arguments_hash)
                self._tell(decide, f"{done}: {call.tool} of {found.run}")

        self.push_screen(Ask(_asked(call, approve=approve), f"{call.call_id} of {found.run}: {call.why}"), answered)

    @work(group="actions")
    async def _tell(self, request: Callable[[], Awaitable[object]], done: str) -> None:
        """Send something to a run, and say that it is sent."""
        try:
            await request()
        except InterlockError as error:
            self._complain(error)
        else:
            self.notify(done, markup=False)

    def _complain(self, error: InterlockError) -> None:
        self.notify(one_line(str(error)), severity="error", markup=False)

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


def _asked(call: PendingApproval, *, approve: bool) -> str:
    """What is answered with yes, the arguments whole."""
    made = f"{call.tool}({approval.visible(call.arguments)})"
    if call.kind == "outcome":
        return f"{made}: {'it did take effect' if approve else 'it took no effect'}?"
    return f"{'Approve' if approve else 'Reject'} {made}?"
