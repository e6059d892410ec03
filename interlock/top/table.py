"""The table of runs."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from interlock.top.rows import COLUMNS


class Runs(DataTable[Text]):
    """The table of runs. Its own binding of enter stands before the screen's, so it is the one that is shown.

    lines  the cells of the runs that are shown, by run id"""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "transcript")]

    lines: dict[str, tuple[Text, ...]]

    def on_mount(self) -> None:
        self.lines = {}
        for name in COLUMNS:
            self.add_column(name, key=name)

    @property
    def selected(self) -> str | None:
        """The run id of the run under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def show(self, lines: dict[str, tuple[Text, ...]]) -> None:
        """The table brought up to date: in place where the same runs are shown in the same order."""
        if list(lines) == list(self.lines):
            for key, cells in lines.items():
                for column, cell, before in zip(COLUMNS, cells, self.lines[key], strict=True):
                    if cell != before:
                        self.update_cell(key, column, cell, update_width=True)
        else:
            self._fill(lines)
        self.lines = lines

    def _fill(self, lines: dict[str, tuple[Text, ...]]) -> None:
        """New rows, with the cursor on the run on which it was."""
        selected, row, scrolled = self.selected, self.cursor_row, self.scroll_offset
        with self.app.batch_update():
            self.clear()
            for key, cells in lines.items():
                self.add_row(*cells, key=key)
            if lines:
                keys = list(lines)
                there = keys.index(selected) if selected in lines else min(row, len(keys) - 1)
                self.scroll_to(scrolled.x, scrolled.y, animate=False)
                self.move_cursor(row=max(0, there), animate=False)
