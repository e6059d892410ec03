"""The panels beside the table, each behind a tab."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static, TabbedContent, TabPane

from interlock.cli.index import Found
from interlock.contracts import FleetStatus, LedgerStatus, RunStatus
from interlock.top import panels


class Beside(TabbedContent):
    """What the server says of the run under the cursor, of the fleet and of the accounts."""

    @staticmethod
    def panes() -> ComposeResult:
        """What it is composed of."""
        for name in ("Run", "Breakers", "Kills", "Accounts"):
            with TabPane(name, id=f"tab-{name.lower()}"), VerticalScroll(can_focus=False):
                yield Static(id=f"panel-{name.lower()}")

    def show(self, name: str, text: Text) -> None:
        self.query_one(f"#panel-{name}", Static).update(text)

    def show_run(self, run: Found, said: RunStatus | None, note: str = "") -> None:
        """``said``: what the run itself said; ``note``: why it did not."""
        self.show("run", panels.run(run, said, note, self._width))

    def show_accounts(self, accounts: Sequence[LedgerStatus | str]) -> None:
        self.show("accounts", panels.accounts(accounts, self._width))

    def show_fleet(self, fleet: FleetStatus | str) -> None:
        self.show("breakers", panels.breakers(fleet))
        self.show("kills", panels.kills(fleet))
        self._label(fleet)

    def _label(self, fleet: FleetStatus | str) -> None:
        """How many breakers are not closed and how many kills are in force, where it is seen without opening a tab."""
        tripped = kills = 0
        if isinstance(fleet, FleetStatus):
            tripped = sum(breaker.state != "closed" for breaker in fleet.breakers.values())
            kills = len(fleet.kills)
        for name, count in (("Breakers", tripped), ("Kills", kills)):
            self.get_tab(f"tab-{name.lower()}").label = f"{name} {count}" if count else name

    @property
    def _width(self) -> int:
        return max(30, self.size.width - 4)
