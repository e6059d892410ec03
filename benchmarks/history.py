"""How a run's history grows with its steps, against a workflow that passes the whole conversation at each call."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from temporalio.client import WorkflowHistoryEventFilterType

from benchmarks.agent import AGENT, ARGUMENTS, TOOL_BYTES
from benchmarks.bare import Asked, BareConversation
from benchmarks.growth import Grown, executions, grown, steps_done, stored_bytes
from benchmarks.report import BARE, INTERLOCK, LIMIT, Report, Table
from benchmarks.server import BARE_QUEUE, Bench, bench
from interlock import AgentTask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "history of a run: AgentRun and passing the conversation"
INTERLOCK_STEPS = (10, 100, 300, 1000)
BARE_STEPS = (10, 30, 100, 1000)
MB = 1_000_000
LIMIT_BYTES, LIMIT_EVENTS = 50 * 1024 * 1024, 51_200
MEASURED = (
    f"A step is one call of a model and one of a tool whose result has {TOOL_BYTES} bytes; both answer at once. "
    "History is `history_size_bytes` and `history_length` as the server counts them, summed over all executions of "
    "a run. The server ends a run at 50 MiB or 51,200 events in one execution; the largest execution is given. The "
    "seconds include starting the run and are those of a development server on a shared machine."
)


async def measure(tell: Callable[[str], None]) -> Report:
    async with bench() as server:
        ours = []
        for steps in INTERLOCK_STEPS:
            ours.append(await _interlock(server, steps))
            tell(f"AgentRun, {_line(ours[-1])}")
        theirs = []
        for steps in BARE_STEPS:
            theirs.append(await _bare(server, steps))
            tell(f"conversation passed, {_line(theirs[-1])}")
    return _report(ours, theirs)


async def _interlock(server: Bench, steps: int) -> Grown:
    began, before = time.monotonic(), stored_bytes(server.store)
    run = await server.interlock.start(AgentTask(agent=AGENT.name, input=str(steps)))
    result = await run.result()
    seconds = time.monotonic() - began
    assert result.tool_calls == steps, result
    sizes = await executions(server.interlock.client, run.id, run.handle.first_execution_run_id)
    return grown(steps, steps, sizes, seconds, stored=stored_bytes(server.store) - before)


async def _bare(server: Bench, steps: int) -> Grown:
    began = time.monotonic()
    asked = Asked(steps, ARGUMENTS, TOOL_BYTES)
    name = f"conversation-{uuid.uuid4().hex[:8]}"
    handle = await server.bare.start_workflow(BareConversation.run, asked, id=name, task_queue=BARE_QUEUE)
    # Waits for the end, whichever it is.
    [last] = [
        event
        async for event in handle.fetch_history_events(
            wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
        )
    ]
    seconds = time.monotonic() - began
    ended = last.workflow_execution_terminated_event_attributes.reason
    done = steps if not ended else await steps_done(server.bare, name)
    return grown(steps, done, await executions(server.bare, name, None), seconds, ended=ended)


def _line(run: Grown) -> str:
    ended = f", terminated: {run.ended}" if run.ended else ""
    return f"{run.steps} steps: {run.bytes / MB:.2f} MB in {run.events} events, {run.seconds:.1f} s{ended}"


# -- what it says ------------------------------------------------------------------------------------------


def _report(ours: list[Grown], theirs: list[Grown]) -> Report:
    body: list[str | Table] = [
        Table(
            ["run", "steps", "history, MB", "KB a step", "events", "events a step", "executions", "largest, MB", "s"],
            [_row("AgentRun", run) for run in ours] + [_row("conversation passed", run) for run in theirs],
        ),
        MEASURED,
    ]
    if any(run.executions > 1 for run in ours):
        body.append(_continued(ours))
    return Report(
        "The history of a run", _summary(ours, theirs), body, _raw(ours, theirs), lambda f: _draw(f, ours, theirs)
    )


def _row(name: str, run: Grown) -> list[str]:
    ended = f" (of {run.asked}; terminated)" if run.ended else ""
    return [
        name,
        f"{run.steps:,}{ended}",
        f"{run.bytes / MB:.2f}",
        f"{run.bytes / 1000 / run.steps:.1f}",
        f"{run.events:,}",
        f"{run.events / run.steps:.1f}",
        str(run.executions),
        f"{run.largest / MB:.2f}",
        f"{run.seconds:.1f}",
    ]


def _summary(ours: list[Grown], theirs: list[Grown]) -> list[str]:
    last = ours[-1]
    lines = [f"AgentRun: {last.steps:,} steps in {last.bytes / MB:.1f} MB of history, {last.events:,} events."]
    theirs_by_steps = {run.steps: run for run in theirs if not run.ended}
    for run in ours:
        if (other := theirs_by_steps.get(run.steps)) is not None:
            times = other.bytes / run.bytes
            lines.append(
                f"At {run.steps} steps: {run.bytes / MB:.2f} MB against {other.bytes / MB:.2f} MB with the "
                f"conversation passed at each call, {times:.1f} times as much."
            )
    lines += [
        f"With the conversation passed, the server terminated the run after {run.steps} steps: {run.ended}"
        for run in theirs
        if run.ended
    ]
    return lines


def _continued(ours: list[Grown]) -> str:
    said = [
        f"{run.steps:,} steps took {run.executions} executions and put {run.stored / MB:.2f} MB into the external store"
        for run in ours
        if run.executions > 1
    ]
    return (
        f"AgentRun continues as new when the server suggests it: {'; '.join(said)}. What is carried over, the "
        "conversation included, is counted in the history, unless it is larger than 1 MiB: then it is in the external "
        "store, and the history holds a reference."
    )


def _raw(ours: list[Grown], theirs: list[Grown]) -> dict[str, object]:
    return {
        "tool_result_bytes": TOOL_BYTES,
        "agent_run": [asdict(run) for run in ours],
        "conversation_passed": [asdict(run) for run in theirs],
    }


def _draw(figure: Figure, ours: list[Grown], theirs: list[Grown]) -> None:
    size, events = figure.subplots(1, 2)
    _lines(size, ours, theirs, lambda run: run.bytes / MB)
    size.axhline(LIMIT_BYTES / MB, color=LIMIT, linestyle=":", label="limit of one execution")
    size.set(ylabel="history, MB (all executions)", title="Bytes")
    _lines(events, ours, theirs, lambda run: run.events)
    events.axhline(LIMIT_EVENTS, color=LIMIT, linestyle=":", label="limit of one execution")
    events.set(ylabel="events (all executions)", title="Events")
    figure.legend(*size.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    size.yaxis.set_major_formatter("{x:g}")
    events.yaxis.set_major_formatter("{x:,.0f}")


def _lines(axes: Axes, ours: list[Grown], theirs: list[Grown], of: Callable[[Grown], float]) -> None:
    axes.plot([r.steps for r in ours], [of(r) for r in ours], "o-", color=INTERLOCK, label="AgentRun")
    axes.plot([r.steps for r in theirs], [of(r) for r in theirs], "s-", color=BARE, label="conversation passed")
    for run in theirs:
        if run.ended:
            axes.plot(run.steps, of(run), "x", color=BARE, markersize=14, markeredgewidth=2.5)
            axes.annotate(
                f"terminated\nat step {run.steps}", (run.steps, of(run)), (8, -26), textcoords="offset points"
            )
    axes.set(xscale="log", yscale="log", xlabel="steps")
    axes.xaxis.set_major_formatter("{x:,.0f}")
