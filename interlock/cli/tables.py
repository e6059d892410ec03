"""Runs as tables: many in a list, one in detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock import present
from interlock.cli import screen
from interlock.cli.index import Found
from interlock.contracts import PendingApproval, RunStatus
from interlock.policies import approval

DISPENSABLE = ("TOOLS", "STEP", "AGENT", "USER")
"""Columns that a narrow terminal goes without, in this order, so that the ids stay whole. JSON has them all."""

SPACE = 2


def runs(found: Sequence[Found], to: Console) -> Table:
    """A line for each run, cut to the width there is."""
    columns: dict[str, list[Text]] = {
        "RUN": [Text(present.one_line(each.run), "bold") for each in found],
        "AGENT": [Text(present.one_line(each.agent)) for each in found],
        "USER": [Text(present.one_line(each.user)) for each in found],
        "STATE": [Text(each.state, screen.colour(each.state)) for each in found],
        "OUTCOME": [Text(each.outcome or "-", screen.colour(each.outcome or "-")) for each in found],
        "STEP": [Text(str(each.steps)) for each in found],
        "TOOLS": [Text(str(each.tool_calls)) for each in found],
        "COST": [Text(present.dollars(each.usd)) for each in found],
        "AGE": [Text(present.age(each.age())) for each in found],
    }
    for name in ("AGENT", "USER"):
        for cell in columns[name]:
            cell.truncate(max(8, to.width // 6), overflow="ellipsis")
    return fitted(columns, to.width, right=("STEP", "TOOLS", "COST", "AGE"), dispensable=DISPENSABLE)


def fitted(columns: dict[str, list[Text]], width: int, *, right: Sequence[str], dispensable: Sequence[str]) -> Table:
    """A table without those ``dispensable`` columns that there is no room for. Names, which come first, give way
    last; a figure is never cut."""
    first = next(iter(columns))
    widest = {name: max(len(name), *(each.cell_len for each in cells)) for name, cells in columns.items()}
    taken = sum(wide + SPACE for name, wide in widest.items() if name != first)
    for name in dispensable:
        if taken + widest[first] > width:
            taken -= widest.pop(name) + SPACE
    widest[first] = min(widest[first], max(width - taken, 12))
    table = Table(box=None, pad_edge=False, padding=(0, SPACE, 0, 0), header_style="dim")
    for name, wide in widest.items():
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", min_width=wide, max_width=wide)
    for row in zip(*(columns[name] for name in widest), strict=True):
        table.add_row(*row)
    return table


def status(to: Console, said: RunStatus, *, ended: str | None = None) -> None:
    """One run: what it is, where it stands, and each limit with what is spent of it."""
    state = ended or said.state
    rows: list[tuple[str, str | Text]] = [
        ("run", said.run),
        ("agent", said.agent),
        ("user", said.user_id),
        ("state", Text.assemble((state.replace("_", " "), screen.colour(state)))),
        # A pause is asked for at once, and begins when what is in flight has completed.
        ("reason" if ended or state == "paused" else "pausing", present.one_line(said.reason or "")),
        ("model", _model(said)),
        ("cost", f"{screen.used(said.usage)}" if said.usage.tokens else present.dollars(said.usage.usd)),
        ("breakers", ", ".join(said.breakers)),
        ("ignored", f"{present.several(said.ignored_signals, 'malformed signal')}" if said.ignored_signals else ""),
    ]
    for call in said.pending_approvals:
        rows += _waiting(said.run, call)
    screen.fields(to, rows)
    if said.spent:
        to.print()
        to.print(_limits(said))


def _waiting(run: str, call: PendingApproval) -> list[tuple[str, str | Text]]:
    """A call that waits for a person: what for, why, for how long, and the commands that decide it."""
    yes, no = approval.commands(run, call)
    until = f", until {call.expires:%Y-%m-%d %H:%M:%S} UTC" if call.expires else ""
    return [
        ("waiting", f"{call.call_id} · {present.one_line(f'{call.tool}({approval.visible(call.arguments)})')}"),
        ("", f"{approval.question(call)}{until}"),
        ("", present.one_line(call.why)),
        ("", Text(yes, "bold")),
        ("", Text(no, "bold")),
    ]


def _model(said: RunStatus) -> str:
    """The model of the last call, and why that one: ``openai:gpt-5-mini · step 3, medium task``."""
    if not said.routing:
        return said.model or ""
    last = said.routing[-1]
    return f"{last.model} · step {last.step}, {present.one_line(last.reason)}"


def _limits(said: RunStatus) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("LIMIT")
    for name in ("SPENT", "OF", "LEFT"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, spent in said.spent.items():
        limit, left = getattr(said.limits, name, None), said.remaining.get(name)
        table.add_row(
            Text(name.replace("_", " "), "dim"),
            spent,
            "-" if limit is None else f"{limit:f}".rstrip("0").rstrip(".") if isinstance(limit, float) else str(limit),
            "-" if left is None else left,
        )
    return table
