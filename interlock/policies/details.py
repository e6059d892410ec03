"""What the Web UI shows of a workflow under *Current Details*, as markdown.

    status -> markdown

Only what the UI renders well: bold, code, lists and fenced blocks. (Tables come without space between their cells,
quotes in a larger size, two dashes as one, and what stands between two dollar signs as a formula: so no tables, every
command in a block, and every amount in a span of code.)

Whatever somebody else has written, a run's id, a reason, arguments, a model's name, stands in a span of code: nothing
in it is markup there, once it is one line without back quotes. Figures are those of the last change, so nothing is
said here that changes by itself, such as seconds.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from interlock.contracts import (
    AgentTask,
    BreakerView,
    FleetStatus,
    Kill,
    KilledCall,
    KillReport,
    LedgerStatus,
    PendingApproval,
    RunStatus,
    State,
)
from interlock.policies import approval
from interlock.policies.budget import dollars, spent_of

MOST = 20
"""Of each kind: the UI asks for a page with all of this in its address."""

MOST_INPUT = 1000

STATES: dict[State, str] = {
    "starting": "Starting",
    "running": "Running",
    "paused": "Paused",
    "waiting_approval": "Waiting for approval",
    "waiting_breaker": "Waiting for a circuit breaker",
    "closed": "Ended",
}


def of_task(task: AgentTask) -> str:
    """What does not change: what the run was asked, and by whom. Its *Details*."""
    limits = {name: value for name, value in task.limits.model_dump().items() if value} if task.limits else {}
    told = {"limits": limits, "metadata": task.metadata}
    asked = [_line(line.replace("`", "'")) for line in task.input[:MOST_INPUT].splitlines()]
    return _page(
        [f"agent {code(task.agent)} for {code(task.user_id)} · complexity {code(task.complexity)}"],
        [f"- {kind} {code(name)}: {code(str(value))}" for kind, of in told.items() for name, value in of.items()][
            :MOST
        ],
        ["```", *(asked or ["?"]), "```"],
        ["the input goes on"] if len(task.input) > MOST_INPUT else [],
    )


def of_run(status: RunStatus) -> str:
    """State, budget, steps, model, what waits for a person, breakers met, and the commands that help."""
    return _page(
        [" · ".join(_headline(status))],
        [f"why: {code(status.reason)}"] if status.reason else [],
        _spent(status),
        *(_kill_report(status.kill_report) if status.kill_report else ()),
        *(part for each in status.pending_approvals[:MOST] for part in _approval(status.run, each)),
        [_more(status.pending_approvals)],
        ["**Breakers met**"] if status.breakers else [],
        [f"- {code(each)}" for each in status.breakers[:MOST]],
        [_more(status.breakers)],
        _commands(status),
    )


def of_fleet(status: FleetStatus, fleet: str) -> str:
    """Kills in force and breakers that are not closed. ``fleet``: the workflow's id."""
    broken = sorted((name, view) for name, view in status.breakers.items() if view.state != "closed")
    kills = [each for each in status.kills if each.scope != "run"]
    runs = len(status.kills) - len(kills)
    return _page(
        [f"**{_several(len(kills), 'kill')} in force** · **{_several(len(broken), 'breaker')} not closed**"],
        [f"There was no room {_several(status.no_room, 'time')} for an order or a breaker"] if status.no_room else [],
        [f"- {_kill(each)}" for each in kills[:MOST]],
        [_more(kills)],
        [f"{_several(runs, 'killed run')} remembered, so that no call of theirs leaves a worker"] if runs else [],
        ["**Let new runs in again**"] if kills else [],
        *(_release(fleet, each) for each in kills[:MOST]),
        ["**Breakers**"] if broken else [],
        [f"- {_breaker(name, view)}" for name, view in broken[:MOST]],
        [_more(broken)],
    )


def of_ledger(status: LedgerStatus) -> str:
    """Limit, spent, leased, left, and the command that raises the limit."""
    if status.limit_usd is None or status.window is None:
        headline = f"{code(status.account)} · no limit yet"
    else:
        window = {"day": "a day", "month": "a month", "total": "for all time"}[status.window]
        headline = f"{code(status.account)} · {_usd(status.spent_usd)} of {code(dollars(status.limit_usd))} {window}"
    lines = [f"- spent: {_usd(status.spent_usd)}"]
    if status.unsettled_usd:
        lines.append(f"- of that, charged though nobody knows what became of the call: {_usd(status.unsettled_usd)}")
    lines.append(f"- leased to runs: {_usd(status.leased_usd)}, {_several(status.leases, 'run')}")
    if status.remaining_usd is not None:
        lines.append(f"- left to lease: {_usd(status.remaining_usd)}")
    if status.window_ends is not None:
        lines.append(f"- the window ends {status.window_ends:%Y-%m-%d %H:%M} UTC")
    if status.median_usd is not None:
        lines.append(f"- a run costs {_usd(status.median_usd)}, the median of the last ones")
    more = "10.00" if status.limit_usd is None else f"{status.limit_usd * 2:.2f}"
    raise_it = ["interlock", "budget", "set", status.account, "--usd", more, "--window", status.window or "day"]
    return _page([headline], lines, ["**Change the limit**"], _fence(raise_it))


def code(text: str, most: int = 160) -> str:
    """``text`` as a span of code on one line: no character of it means anything there."""
    line = _line(text).replace("`", "'")
    return f"`{line if len(line) <= most else line[: most - 1] + '…'}`" if line else "`?`"


# -- a run ------------------------------------------------------------------------------------------------


def _headline(status: RunStatus) -> Iterable[str]:
    yield f"**{status.outcome.capitalize() if status.outcome else STATES[status.state]}**"
    limit = status.limits.steps
    yield f"step {status.step}" + (f" of {limit}" if limit is not None else "")
    if status.model:
        yield code(status.model)
    yield code(spent_of(status.usage.usd, status.limits.usd))


def _spent(status: RunStatus) -> list[str]:
    usage, limits = status.usage, status.limits
    lines = [f"- agent {code(status.agent)} for {code(status.user_id)}"]
    if limits.usd is not None:
        lines.append(f"- money: {_usd(max(Decimal(0), limits.usd - usage.usd))} left of {code(dollars(limits.usd))}")
    lines.append(f"- tokens: {_of(usage.tokens, limits.tokens)}")
    lines.append(f"- tool calls: {_of(status.tool_calls, limits.tool_calls)}")
    if limits.seconds is not None:
        lines.append(f"- time: at most {limits.seconds:,.0f} s of work")
    if usage.usd_unsettled:
        lines.append(f"- charged though nobody knows what became of the call: {_usd(usage.usd_unsettled)}")
    if status.ignored_signals:
        lines.append(f"- {_several(status.ignored_signals, 'signal')} could not be read, and had no effect")
    return lines


def _kill_report(report: KillReport) -> Iterable[Sequence[str]]:
    said = (
        ("**stopped**, did not happen", report.stopped),
        ("completed before", report.completed),
        ("**may have taken effect**", report.unknown),
    )
    yield ["**Calls that the kill met**"]
    yield [f"- {what}: {_tools(found)}" for what, found in said]


def _tools(found: Sequence[KilledCall]) -> str:
    counted = Counter(each.tool for each in found)
    return ", ".join(f"{code(name)} x {n}" for name, n in counted.most_common(MOST)) or "nothing"


def _approval(run: str, asked: PendingApproval) -> Iterable[Sequence[str]]:
    until = "" if asked.expires is None else f", until {_day(asked.expires)}"
    what = "Waits for a person" if asked.kind == "approval" else "Waits for word whether it took effect"
    yield [f"**{what}**: {code(asked.tool)} since {_day(asked.since)}{until}"]
    arguments = approval.visible(asked.arguments).replace("`", "\\u0060")  # the same, in JSON
    yield [f"- {code(arguments, MOST_INPUT)}", f"- why: {code(asked.why, MOST_INPUT)}" if asked.why else ""]
    if len(arguments) > MOST_INPUT:
        yield ["the arguments go on; nobody should decide on a part of them. The whole, and how to decide:"]
        yield _fence(["interlock", "status", run])
    else:
        yield _fence(["interlock", "approve", run, asked.call_id], ["interlock", "reject", run, asked.call_id])


def _commands(status: RunStatus) -> Sequence[str]:
    if status.state == "closed":
        return _fence(["interlock", "transcript", status.run], ["interlock", "trace", status.run])
    stop = ["interlock", "resume" if status.state == "paused" else "pause", status.run]
    return _fence(["interlock", "follow", status.run], stop, ["interlock", "kill", status.run])


# -- the fleet --------------------------------------------------------------------------------------------


def _kill(found: Kill) -> str:
    whom = "**everything**" if found.scope == "all" else f"{found.scope} {code(found.subject)}"
    said = f"{whom} by {code(found.by)} since {_time(found.at)}"
    said += f": {code(found.reason)}" if found.reason else ""
    if (sweep := found.sweep) is not None:
        said += f"; {_several(sweep.ended, 'run')} ended" + ("" if sweep.done else ", the sweep is not done")
    return said + f"; {_several(found.stopped, 'call')} stopped, {found.refused:,} refused"


def _release(fleet: str, found: Kill) -> list[str]:
    order = json.dumps({"scope": found.scope, **({"subject": found.subject} if found.subject else {})})
    signal = _line(shlex.join(["temporal", "workflow", "signal", "--workflow-id", fleet]))
    return ["```", f"{signal} \\", _line(shlex.join(["--name", "release", "--input", order])), "```"]


def _breaker(name: str, view: BreakerView) -> str:
    state = {"open": "**open**", "half_open": "**half open**", "closed": "closed"}[view.state]
    when = "" if view.retry_at is None else f", one call may try at {_time(view.retry_at)}"
    return f"{code(name)} {state}{when}" + (f": {code(view.error)}" if view.error else "")


# -- how it is written ------------------------------------------------------------------------------------


def _page(*parts: Sequence[str]) -> str:
    """Parts with an empty line between them: the UI shows what follows a list without one as its last item."""
    return "\n\n".join(text for part in parts if (text := "\n".join(line for line in part if line)))


def _fence(*commands: Sequence[str]) -> list[str]:
    """Commands to copy. A line of it begins with the command's name, so none can end the block."""
    return ["```", *(_line(shlex.join(each)) for each in commands), "```"]


def _line(text: str) -> str:
    """``text`` on one line, without what is no character to see."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _more(found: Sequence[object]) -> str:
    return f"and {len(found) - MOST:,} more" if len(found) > MOST else ""


def _usd(value: Decimal) -> str:
    return code(f"${value:.4f}")


def _of(used: int, limit: int | None) -> str:
    return f"{used:,}" if limit is None else f"{used:,} of {limit:,}"


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _time(value: datetime) -> str:
    return f"{value:%H:%M:%S} UTC"


def _day(value: datetime) -> str:
    """What may be longer ago than today, or later."""
    return f"{value:%Y-%m-%d %H:%M} UTC"
