"""Where text output goes. Colours only for a terminal; nothing here reads markup out of what a model said."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from interlock import present

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from interlock.contracts import AgentResult, Usage

UNCUT = 100_000
"""The width of a file or a pipe: nothing is cut for whoever reads it later."""

COLOURS = {
    "completed": "green",
    "degraded": "yellow",
    "running": "cyan",
    "paused": "yellow",
    "waiting_approval": "yellow",
}


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNCUT
    return Console(file=stream, width=width, highlight=False, emoji=False, markup=False)


def is_live(*, stderr: bool = False) -> bool:
    """Whether somebody watches: a terminal that can redraw its lines."""
    return (sys.stderr if stderr else sys.stdout).isatty() and os.environ.get("TERM", "dumb") != "dumb"


def write_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def colour(word: str) -> str:
    """The colour of a state or an outcome."""
    return COLOURS.get(word, "" if word in ("starting", "closed", "-") else "red")


def fields(to: Console, rows: Iterable[tuple[str, str | Text]]) -> None:
    """Names and values, aligned. A value is never cut or wrapped: people copy it."""
    from rich.text import Text

    shown = [(name, value) for name, value in rows if value]
    width = max((len(name) for name, _ in shown), default=0) + 2
    for name, value in shown:
        to.print(Text.assemble((name.ljust(width), "dim"), value), soft_wrap=True)


def used(usage: Usage) -> str:
    """``$0.0144 · 1,204 tokens in · 310 out``."""
    unsettled = f" ({present.dollars(usage.usd_unsettled)} of it at its bound)" if usage.usd_unsettled else ""
    return f"{present.dollars(usage.usd)}{unsettled} · {usage.input_tokens:,} tokens in · {usage.output_tokens:,} out"


def result(to: Console, given: AgentResult, more: Iterable[tuple[str, str | Text]] = ()) -> None:
    """How a run ended: its answer, then what came of it and what it cost, and ``more`` rows."""
    from rich.text import Text

    if given.output:
        to.print()
        to.print(Text(present.printable(given.output)), soft_wrap=True)
    to.print()
    did = f"{present.several(given.steps, 'step')} · {present.several(given.tool_calls, 'tool call')}"
    fields(
        to,
        [
            ("outcome", Text(given.outcome, colour(given.outcome))),
            ("reason", present.one_line(given.reason or "")),
            ("as of", given.as_of.isoformat(timespec="seconds") if given.as_of else ""),
            ("cost", f"{used(given.usage)} · {did}"),
            *more,
        ],
    )
