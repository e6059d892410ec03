"""What opens above the table: something long to read, or a question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from interlock.errors import InterlockError
from interlock.present import one_line

Read = Callable[[int], Awaitable[Text]]
"""Fetches a text for a width."""


class Reading(Screen[None]):
    """A text to scroll through, read anew with ``u``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,enter", "dismiss", "back"),
        ("u", "update", "update"),
        ("home,g", "top", "top"),
        ("end,G", "bottom", "bottom"),
    ]
    CSS = """
    Reading > #heading { height: 1; padding: 0 1; background: $panel; }
    Reading VerticalScroll { padding: 0 1; }
    """

    def __init__(self, heading: str, read: Read) -> None:
        super().__init__()
        self._heading, self._read = heading, read

    def compose(self) -> ComposeResult:
        yield Static(Text(one_line(self._heading), "bold"), id="heading")
        with VerticalScroll():
            yield Static(Text("reading the history …", "dim"), id="text")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.action_update()

    def action_update(self) -> None:
        self._show()

    def action_top(self) -> None:
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_bottom(self) -> None:
        self.query_one(VerticalScroll).scroll_end(animate=False)

    @work(exclusive=True)
    async def _show(self) -> None:
        try:
            text = await self._read(max(40, self.size.width - 4))
        except InterlockError as error:
            text = Text(one_line(str(error)), "red")
        self.query_one("#text", Static).update(text)


class Ask(ModalScreen[bool]):
    """A question that is answered with y, or not at all."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "yes", "yes"), ("n,escape,q", "no", "no")]
    CSS = """
    Ask { align: center middle; }
    Ask > VerticalScroll {
        width: 72; max-width: 90%; height: auto; max-height: 90%;
        padding: 1 2; border: round $error; background: $surface;
    }
    Ask #keys { margin-top: 1; }
    """

    def __init__(self, question: str, then: str) -> None:
        super().__init__()
        self._question, self._then = question, then

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(Text(one_line(self._question), "bold"), id="question")
            yield Static(Text(one_line(self._then), "dim"))
            yield Static(Text.assemble(("y", "bold"), " yes    ", ("n", "bold"), " no"), id="keys")

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_no(self) -> None:
        self.dismiss(False)
