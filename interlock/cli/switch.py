"""The fleet's switch on the screen and as JSON: kills in force, breakers and their settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock import present
from interlock.cli.tables import fitted
from interlock.contracts import BreakerSettings, BreakerView, Kill, Sweep
from interlock.fleet import FleetView

COLOURS = {"closed": "green", "half_open": "yellow", "open": "red"}


# -- kills -------------------------------------------------------------------------------------------------------


def kill_json(kill: Kill, counted: bool) -> dict[str, Any]:
    """What nobody knows is null, and not zero."""
    unknown = {} if counted else {"stopped": None, "refused": None, "sweep": None}
    return {**kill.model_dump(mode="json"), **unknown}


def kills(found: Sequence[Kill], to: Console, *, counted: bool) -> Table:
    """A line for each kill, cut to the width there is."""
    now = datetime.now(UTC)
    columns: dict[str, list[Text]] = {
        "SUBJECT": [Text(present.one_line(each.subject) or "-", "bold") for each in found],
        "SCOPE": [Text(each.scope, "red" if each.scope == "all" else "") for each in found],
        "REASON": [Text(present.one_line(each.reason) or "-") for each in found],
        "BY": [Text(present.one_line(each.by)) for each in found],
        "SINCE": [Text(f"{present.age(now - each.at)} ago") for each in found],
        "STOPPED": [Text(f"{each.stopped:,}" if counted else "-") for each in found],
        "REFUSED": [Text(f"{each.refused:,}" if counted else "-") for each in found],
        "SWEEP": [Text(_sweep(each, counted)) for each in found],
    }
    for name in ("REASON", "BY"):
        for cell in columns[name]:
            cell.truncate(max(8, to.width // 4), overflow="ellipsis")
    return fitted(columns, to.width, right=("STOPPED", "REFUSED"), dispensable=("BY", "REFUSED", "STOPPED", "REASON"))


def _sweep(kill: Kill, counted: bool) -> str:
    if kill.scope == "run" or not counted:
        return "-"
    match kill.sweep:
        case None:
            return "under way"
        case Sweep(done=False):
            return "failed"
        case Sweep(ended=ended):
            return f"done, {present.several(ended, 'run')}"


# -- breakers ----------------------------------------------------------------------------------------------------


def breakers_json(view: FleetView) -> dict[str, Any]:
    return {
        "breakers": {
            name: {**each.model_dump(mode="json"), "settings": view.settings_of(name).model_dump(mode="json")}
            for name, each in sorted(view.breakers.items())
        },
        "defaults": view.defaults.model_dump(mode="json"),
        "settings": {name: each.model_dump(mode="json") for name, each in sorted(view.settings.items())},
    }


def show_breakers(to: Console, view: FleetView) -> None:
    """The breakers, then how all judge, and those that judge otherwise."""
    to.print(_breakers(view, to) if view.breakers else "no breaker: nothing has failed")
    to.print()
    show_settings(to, None, view.defaults)
    for name, each in sorted(view.settings.items()):
        show_settings(to, name, each)


def _breakers(view: FleetView, to: Console) -> Table:
    found = sorted(view.breakers.items(), key=lambda item: (item[1].state == "closed", item[0]))
    now = datetime.now(UTC)
    columns: dict[str, list[Text]] = {
        "DEPENDENCY": [Text(present.one_line(name), "bold") for name, _ in found],
        "STATE": [Text(each.state.replace("_", " "), COLOURS[each.state]) for _, each in found],
        "SINCE": [Text(f"{present.age(now - each.opened_at)} ago" if each.opened_at else "-") for _, each in found],
        "NEXT TRY": [Text(_next_try(each, now)) for _, each in found],
        "OPENED": [Text(f"{each.opened:,}") for _, each in found],
        "PROBE": [Text(present.one_line(each.probe.worker) if each.probe else "-") for _, each in found],
        "LAST ERROR": [Text(present.one_line(each.error or "-")) for _, each in found],
    }
    for name, most in (("PROBE", to.width // 6), ("LAST ERROR", to.width - 60)):
        for cell in columns[name]:
            cell.truncate(max(20, most), overflow="ellipsis")
    return fitted(columns, to.width, right=("OPENED",), dispensable=("PROBE", "OPENED", "LAST ERROR", "SINCE"))


def _next_try(breaker: BreakerView, now: datetime) -> str:
    """``in 25 s``; a probe that is out is the try."""
    if breaker.state == "closed" or breaker.retry_at is None:
        return "-"
    if breaker.probe is not None and breaker.probe.until > now:
        return "now"
    left = (breaker.retry_at - now).total_seconds()
    return f"in {present.seconds(left)}" if left > 0 else "with the next call"


def show_settings(to: Console, dependency: str | None, settings: BreakerSettings) -> None:
    """``defaults  opens after 5 failures in a row, or ...``."""
    whose = Text(present.one_line(dependency) if dependency else "defaults", "bold")
    to.print(Text.assemble(whose, "  ", (settings_words(settings), "dim")), soft_wrap=True)


def settings_words(settings: BreakerSettings) -> str:
    """Each by the name of its flag, so that it is clear what to set."""
    return " · ".join(f"{name.replace('_', '-')} {value:g}" for name, value in settings.model_dump().items())
