"""What the Web UI shows of a workflow under *Current Details*, as markdown.

    status -> markdown

Figures are those of the last change, so nothing is said here that changes by itself, such as seconds.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
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
from interlock.policies.markdown import code, day_of, fence, line_of, page, several, time_of, usd
from interlock.policies.money import dollars, spent_of

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
    asked = [line_of(line.replace("`", "'")) for line in task.input[:MOST_INPUT].splitlines()]
    return page(
        [f"agent {code(task.agent)} for {code(task.user_id)} · complexity {code(task.complexity)}"],
        [f"- {kind} {code(name)}: {code(str(value))}" for kind, of in told.items() for name, value in of.items()][
            :MOST
        ],
        ["```", *(asked or ["?"]), "```"],
        ["the input goes on"] if len(task.input) > MOST_INPUT else [],
    )


def of_run(status: RunStatus) -> str:
    """State, budget, steps, model, what waits for a person, breakers met, and the commands that help."""
    return page(
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
    return page(
        [f"**{several(len(kills), 'kill')} in force** · **{several(len(broken), 'breaker')} not closed**"],
        [f"There was no room {several(status.no_room, 'time')} for an order or a breaker"] if status.no_room else [],
        [f"- {_kill(each)}" for each in kills[:MOST]],
        [_more(kills)],
        [f"{several(runs, 'killed run')} remembered, so that no call of theirs leaves a worker"] if runs else [],
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
        headline = f"{code(status.account)} · {usd(status.spent_usd)} of {code(dollars(status.limit_usd))} {window}"
    lines = [f"- spent: {usd(status.spent_usd)}"]
    if status.unsettled_usd:
        lines.append(f"- of that, charged though nobody knows what became of the call: {usd(status.unsettled_usd)}")
    lines.append(f"- leased to runs: {usd(status.leased_usd)}, {several(status.leases, 'run')}")
    if status.remaining_usd is not None:
        lines.append(f"- left to lease: {usd(status.remaining_usd)}")
    if status.window_ends is not None:
        lines.append(f"- the window ends {status.window_ends:%Y-%m-%d %H:%M} UTC")
    if status.median_usd is not None:
        lines.append(f"- a run costs {usd(status.median_usd)}, the median of the last ones")
    more = "10.00" if status.limit_usd is None else f"{status.limit_usd * 2:.2f}"
    raise_it = ["interlock", "budget", "set", status.account, "--usd", more, "--window", status.window or "day"]
    return page([headline], lines, ["**Change the limit**"], fence(raise_it))


def _more(found: Sequence[object]) -> str:
    return f"and {len(found) - MOST:,} more" if len(found) > MOST else ""


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
        lines.append(f"- money: {usd(max(Decimal(0), limits.usd - usage.usd))} left of {code(dollars(limits.usd))}")
    lines.append(f"- tokens: {_of(usage.tokens, limits.tokens)}")
    lines.append(f"- tool calls: {_of(status.tool_calls, limits.tool_calls)}")
    if limits.seconds is not None:
        lines.append(f"- time: at most {limits.seconds:,.0f} s of work")
    if usage.usd_unsettled:
        lines.append(f"- charged though nobody knows what became of the call: {usd(usage.usd_unsettled)}")
    if status.ignored_signals:
        lines.append(f"- {several(status.ignored_signals, 'signal')} could not be read, and had no effect")
    return lines


def _of(used: int, limit: int | None) -> str:
    return f"{used:,}" if limit is None else f"{used:,} of {limit:,}"


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
    until = "" if asked.expires is None else f", until {day_of(asked.expires)}"
    what = "Waits for a person" if asked.kind == "approval" else "Waits for word whether it took effect"
    yield [f"**{what}**: {code(asked.tool)} since {day_of(asked.since)}{until}"]
    arguments = approval.visible(asked.arguments).replace("`", "\\u0060")  # the same, in JSON
    yield [f"- {code(arguments, MOST_INPUT)}", f"- why: {code(asked.why, MOST_INPUT)}" if asked.why else ""]
    if len(arguments) > MOST_INPUT:
        yield ["the arguments go on; nobody should decide on a part of them. The whole, and how to decide:"]
        yield fence(["interlock", "status", run])
    else:
        yield fence(["interlock", "approve", run, asked.call_id], ["interlock", "reject", run, asked.call_id])


def _commands(status: RunStatus) -> Sequence[str]:
    if status.state == "closed":
        return fence(["interlock", "transcript", status.run], ["interlock", "trace", status.run])
    stop = ["interlock", "resume" if status.state == "paused" else "pause", status.run]
    return fence(["interlock", "follow", status.run], stop, ["interlock", "kill", status.run])


# -- the fleet --------------------------------------------------------------------------------------------


def _kill(found: Kill) -> str:
    whom = "**everything**" if found.scope == "all" else f"{found.scope} {code(found.subject)}"
    said = f"{whom} by {code(found.by)} since {time_of(found.at)}"
    said += f": {code(found.reason)}" if found.reason else ""
    if (sweep := found.sweep) is not None:
        said += f"; {several(sweep.ended, 'run')} ended" + ("" if sweep.done else ", the sweep is not done")
    return said + f"; {several(found.stopped, 'call')} stopped, {found.refused:,} refused"


def _release(fleet: str, found: Kill) -> list[str]:
    order = json.dumps({"scope": found.scope, **({"subject": found.subject} if found.subject else {})})
    signal = line_of(shlex.join(["temporal", "workflow", "signal", "--workflow-id", fleet]))
    return ["```", f"{signal} \\", line_of(shlex.join(["--name", "release", "--input", order])), "```"]


def _breaker(name: str, view: BreakerView) -> str:
    state = {"open": "**open**", "half_open": "**half open**", "closed": "closed"}[view.state]
    when = "" if view.retry_at is None else f", one call may try at {time_of(view.retry_at)}"
    return f"{code(name)} {state}{when}" + (f": {code(view.error)}" if view.error else "")
