"""Lines of the table of runs: what they show, which are shown, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

from rich.text import Text

from interlock import present
from interlock.cli import screen
from interlock.cli.index import Found
from interlock.contracts import RunStatus

Order: TypeAlias = Literal["newest", "cost", "step", "state", "run"]
ORDERS: tuple[Order, ...] = get_args(Order)

COLUMNS = ("RUN", "STATE", "STEP", "COST", "AGE", "AGENT", "USER", "MODEL")
URGENT = ("waiting_approval", "waiting_breaker", "paused", "running", "starting")
"""States in the order in which they want a person."""

LONGEST = 44
"""Characters of an id that are shown: its end, which tells runs apart, always is."""


def line(run: Found, limit: Decimal | None) -> tuple[Text, ...]:
    """The cells of a run. ``limit``: the most dollars it may spend, where that is known."""
    of = "" if limit is None else f" of {present.dollars(limit).rstrip('0').rstrip('.')}"
    near = limit is not None and Decimal(str(run.usd)) >= limit * 4 / 5
    cells = {
        "RUN": Text(shortened(present.one_line(run.run)), "bold"),
        "STATE": Text(run.state.replace("_", " "), screen.colour(run.state)),
        "STEP": Text(str(run.steps), justify="right"),
        "COST": Text(f"{present.dollars(run.usd)}{of}", "red" if near else "", justify="right"),
        "AGE": Text(present.age(run.age()), justify="right"),
        "AGENT": Text(present.one_line(run.agent)),
        "USER": Text(present.one_line(run.user)),
        "MODEL": Text(present.one_line(run.model.partition(":")[2] or run.model), "dim"),
    }
    return tuple(cells[name] for name in COLUMNS)


def brought_up_to_date(run: Found, said: RunStatus) -> Found:
    """A run with what it says of itself, which the index knows a moment later."""
    model = said.model or run.model
    return replace(run, state=said.state, steps=said.step, usd=float(said.usage.usd), model=model)


def shortened(run: str) -> str:
    return run if len(run) <= LONGEST else f"{run[: LONGEST - 8]}…{run[-7:]}"


def matching(runs: Iterable[Found], words: str) -> list[Found]:
    """The runs in whose id, agent, user, state or model each of ``words`` occurs."""
    wanted = words.lower().split()
    return [
        run
        for run in runs
        if all(word in f"{run.run} {run.agent} {run.user} {run.state} {run.model}".lower() for word in wanted)
    ]


def ordered(runs: Sequence[Found], order: Order) -> list[Found]:
    """``runs`` with those first that one looks for in this order; among equals, the newest."""
    newest = sorted(runs, key=lambda run: (run.started, run.run), reverse=True)
    match order:
        case "newest":
            return newest
        case "cost":
            return sorted(newest, key=lambda run: -run.usd)
        case "step":
            return sorted(newest, key=lambda run: -run.steps)
        case "state":
            return sorted(newest, key=_urgency)
        case "run":
            return sorted(newest, key=lambda run: run.run)


def _urgency(run: Found) -> int:
    return URGENT.index(run.state) if run.state in URGENT else len(URGENT)


def totals(open_runs: int, by_state: Mapping[str, int], listed: Sequence[Found], shown: int) -> Text:
    """The line above the table. The dollars are those of the listed runs, which are all but in very large fleets."""
    parts: list[Any] = [(f"{open_runs:,} open", "bold")]
    for state in URGENT:
        if count := by_state.get(state, 0):
            parts += [" · ", (f"{count:,} {state.replace('_', ' ')}", screen.colour(state))]
    spent = sum((Decimal(str(run.usd)) for run in listed), Decimal(0))
    newest = f" in the newest {len(listed):,}" if open_runs > len(listed) else ""
    parts += [" · ", f"{present.dollars(spent)} spent{newest}"]
    if shown < len(listed):
        parts += [" · ", (f"{shown:,} shown", "yellow")]
    return Text.assemble(*parts)
