"""How long a step of an agent run takes, against the same two activity calls made by a bare Temporal workflow."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from benchmarks.agent import AGENT
from benchmarks.bare import BareSteps, Plan, Sizes
from benchmarks.pairs import Pair, Ratio, Sample, percentiles, ratio_of_medians
from benchmarks.report import BARE, INTERLOCK, LIMIT, Report, Table
from benchmarks.server import BARE_QUEUE, Bench, bench
from interlock import AgentTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "latency of a step: AgentRun and bare Temporal"
GOAL = 1.15
STEPS = 20
PAIRS = 40
WARM_UP = 4
MEASURED = (
    "A step is one call of a model and one of a tool, from the scheduling of one model call to that of the next, by "
    f"the server's clock. {PAIRS} pairs of runs for each database, {STEPS} steps a run; the two runs of a pair follow "
    "each other at once, each first as often as the other. Both workers live in one process beside the development "
    "server, so a worker's CPU is the whole process's while the run was under way."
)
DATABASES = {"in memory": False, "in a file": True}


async def measure(tell: Callable[[str], None]) -> Report:
    found: dict[str, list[Pair]] = {}
    sizes: Sizes | None = None
    for database, file in DATABASES.items():
        async with bench(file=file) as server:
            sizes = await payload_sizes(server)
            found[database] = await _pairs(server, sizes, f"database {database}", tell)
    assert sizes is not None
    return _report(found, sizes)


async def _pairs(server: Bench, sizes: Sizes, name: str, tell: Callable[[str], None]) -> list[Pair]:
    pairs: list[Pair] = []
    for number in range(WARM_UP + PAIRS):
        # Side by side in time, each first as often as the other: what else the machine does meets both.
        if number % 2:
            ours = await _interlock(server)
            pairs.append(Pair(ours, await _bare(server, sizes)))
        else:
            theirs = await _bare(server, sizes)
            pairs.append(Pair(await _interlock(server), theirs))
        if number >= WARM_UP and (number + 1 - WARM_UP) % (PAIRS // 4) == 0:
            tell(f"{name}: {number + 1 - WARM_UP} of {PAIRS} pairs of runs")
    return pairs[WARM_UP:]


async def _interlock(server: Bench) -> Sample:
    cpu = time.process_time()
    run = await server.interlock.start(AgentTask(agent=AGENT.name, input=str(STEPS)))
    result = await run.result()
    cpu = time.process_time() - cpu
    assert (result.outcome, result.steps, result.tool_calls) == ("completed", STEPS + 1, STEPS)
    return Sample(await step_times(run.handle, "model"), cpu * 1000 / STEPS)


async def _bare(server: Bench, sizes: Sizes) -> Sample:
    cpu = time.process_time()
    handle = await server.bare.start_workflow(
        BareSteps.run, Plan(STEPS, sizes), id=f"bare-{uuid.uuid4().hex[:8]}", task_queue=BARE_QUEUE
    )
    await handle.result()
    cpu = time.process_time() - cpu
    return Sample(await step_times(handle, "bare_model"), cpu * 1000 / STEPS)


async def step_times(handle: WorkflowHandle[Any, Any], model: str) -> list[float]:
    """Milliseconds of each step, by the server's clock: from one model call's scheduling to the next one's."""
    scheduled = [
        event.event_time.ToNanoseconds()
        async for event in handle.fetch_history_events()
        if event.activity_task_scheduled_event_attributes.activity_type.name == model
    ]
    assert len(scheduled) == STEPS + 1
    return [round((end - begin) / 1e6, 3) for begin, end in pairwise(scheduled)]


async def payload_sizes(server: Bench) -> Sizes:
    """The sizes of the payloads of an AgentRun's steps, which the bare workflow is given too."""
    run = await server.interlock.start(AgentTask(agent=AGENT.name, input=str(STEPS)))
    await run.result()
    names: dict[int, str] = {}
    sizes: dict[str, list[int]] = {}
    async for event in run.handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            asked = event.activity_task_scheduled_event_attributes
            names[event.event_id] = asked.activity_type.name
            sizes.setdefault(f"{asked.activity_type.name} input", []).append(len(asked.input.payloads[0].data))
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            answered = event.activity_task_completed_event_attributes
            name = names[answered.scheduled_event_id]
            sizes.setdefault(f"{name} result", []).append(len(answered.result.payloads[0].data))
    parts = ("model input", "model result", "tool.read_page input", "tool.read_page result")
    return Sizes(*(int(statistics.median(sizes[part])) for part in parts))


# -- what it says ------------------------------------------------------------------------------------------


def _report(found: dict[str, list[Pair]], sizes: Sizes) -> Report:
    ratios = {database: ratio_of_medians(pairs) for database, pairs in found.items()}
    rows: list[list[str]] = []
    for database, pairs in found.items():
        for name, samples in (("AgentRun", [p.interlock for p in pairs]), ("bare", [p.bare for p in pairs])):
            steps = [step for sample in samples for step in sample.steps]
            p99 = statistics.quantiles(steps, n=100)[98]
            figures = (statistics.median(steps), p99, statistics.median(sample.cpu for sample in samples))
            rows.append([f"{name}, database {database}", *(f"{figure:.1f}" for figure in figures)])
    spread = [
        [database, str(ratios[database]), *(f"{value:.2f}" for value in percentiles([p.ratio for p in pairs]))]
        for database, pairs in found.items()
    ]
    body: list[str | Table] = [
        Table(["a step", "median, ms", "p99, ms", "worker CPU, ms"], rows),
        Table(["database", "ratio of medians (95 % interval)", "pairs: 5 %", "25 %", "50 %", "75 %", "95 %"], spread),
        MEASURED,
        _compared(sizes),
    ]
    raw = {
        "goal": GOAL,
        "steps_per_run": STEPS,
        "payload_bytes": asdict(sizes),
        "ratios": {database: asdict(ratio) for database, ratio in ratios.items()},
        "pairs": {database: [asdict(pair) for pair in pairs] for database, pairs in found.items()},
    }
    return Report(
        "The latency of a step",
        [f"Database {database}: {ratio.verdict(GOAL)}" for database, ratio in ratios.items()],
        body,
        raw,
        lambda figure: _draw(figure, found, ratios),
    )


def _compared(sizes: Sizes) -> str:
    said = ", ".join(f"{name.replace('_', ' ')} {size}" for name, size in asdict(sizes).items())
    return (
        "Model and tool answer at once: what is left is Temporal, and what Interlock adds to it. The bare workflow "
        f"makes the same calls with payloads of the same sizes (bytes: {said}), on a worker with the same settings, "
        "with the SDK's own data converter; it writes no log lines, sets no summaries and no search attributes, checks "
        "nothing and keeps nothing."
    )


def _draw(figure: Figure, found: dict[str, list[Pair]], ratios: dict[str, Ratio]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    latency, ratio = figure.subplots(1, 2, width_ratios=[1.6, 1])
    for (database, pairs), style in zip(found.items(), ("-", "--"), strict=True):
        for name, colour, samples in (
            ("AgentRun", INTERLOCK, [p.interlock for p in pairs]),
            ("bare Temporal", BARE, [p.bare for p in pairs]),
        ):
            steps = sorted(step for sample in samples for step in sample.steps)
            shares = [(index + 1) / len(steps) * 100 for index in range(len(steps))]
            latency.plot(steps, shares, style, color=colour, label=f"{name}, database {database}")
    latency.set(xscale="log", xlabel="latency of a step, ms", ylabel="steps within it, %", ylim=(0, 100))
    latency.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    latency.xaxis.set_major_formatter("{x:g}")
    latency.xaxis.set_minor_formatter(NullFormatter())
    latency.legend(loc="lower right", fontsize=8)
    latency.set_title("Every step")
    ratio.axhline(GOAL, color=LIMIT, linestyle=":", label=f"goal: {GOAL:g}")
    boxes = ratio.boxplot(
        [[p.ratio for p in pairs] for pairs in found.values()],
        tick_labels=[f"{database}\n{ratios[database].value:.2f}" for database in found],
        patch_artist=True,
        widths=0.5,
        whis=(5, 95),
        showfliers=False,
        medianprops={"color": "black"},
    )
    for box in boxes["boxes"]:
        box.set(facecolor=INTERLOCK, alpha=0.35)
    ratio.set(xlabel="database, and its ratio of medians", ylabel="AgentRun / bare, medians of a pair")
    bottom, top = ratio.get_ylim()
    ratio.set_ylim(min(1.0, bottom), max(GOAL, top) + 0.2)
    ratio.legend(loc="upper right", fontsize=8)
    ratio.set_title("Pair by pair")
