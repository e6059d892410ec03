"""What being seen costs a run: logs, metrics, traces, and all of them, against a worker that tells nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import psutil

from benchmarks.agent import AGENT
from benchmarks.pairs import Ratio, Sample, resampled
from benchmarks.report import BARE, INTERLOCK, LIMIT, Report, Table
from benchmarks.step_latency import STEPS, step_times
from benchmarks.telling import ALL, NOTHING, TELLING, Telling, telling
from interlock import AgentTask, Interlock

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "telemetry: logs, metrics and traces, on against off"
GOAL = 1.10
ROUNDS = 60
WARM_UP = 3
MEASURED = (
    "A step is one call of a model and one of a tool, both of which answer at once, from the scheduling of one model "
    f"call to that of the next, by the server's clock: {STEPS} steps a run, {ROUNDS} rounds of one run of each kind, "
    "one after the other, each kind first as often as the others. Each kind has a worker process of its own beside one "
    "development server, its database in memory; a worker's CPU is its process's while the run was under way. The "
    "ratio is of medians, with its 95 % interval."
)
KINDS = (
    "Logs are JSON lines at level INFO into a file; metrics are served, and scraped by nobody; traces go by OTLP over "
    "HTTP to a collector in the benchmark's own process that throws them away. `nothing` logs at level ERROR. Around a "
    "model and tools that take time of their own, the share is smaller."
)
Runs = dict[str, list[Sample]]


async def measure(tell: Callable[[str], None]) -> Report:
    runs: Runs = {name: [] for name in TELLING}
    names = list(TELLING)
    async with telling() as workers:
        for number in range(WARM_UP + ROUNDS):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                sample = await _run(workers, name)
                if number >= WARM_UP:
                    runs[name].append(sample)
            if number >= WARM_UP and (number + 1 - WARM_UP) % (ROUNDS // 3) == 0:
                tell(f"{number + 1 - WARM_UP} of {ROUNDS} rounds")
    return _report(runs)


async def _run(workers: Telling, name: str) -> Sample:
    process = psutil.Process(workers.pids[name])
    before = process.cpu_times()
    run = await Interlock(workers.client, workers.queue(name)).start(AgentTask(agent=AGENT.name, input=str(STEPS)))
    result = await run.result()
    after = process.cpu_times()
    assert (result.outcome, result.steps) == ("completed", STEPS + 1)
    cpu = after.user + after.system - before.user - before.system
    return Sample(await step_times(run.handle, "model"), cpu * 1000 / STEPS)


# -- what it says ------------------------------------------------------------------------------------------


def _report(runs: Runs) -> Report:
    ratios = {name: _ratio(found, runs[NOTHING]) for name, found in runs.items() if name != NOTHING}
    rows: list[list[str]] = []
    for name, found in runs.items():
        steps = [step for sample in found for step in sample.steps]
        figures = (statistics.median(steps), statistics.quantiles(steps, n=100)[98], _cpu(found))
        ratio = str(ratios[name]) if name in ratios else ""
        rows.append([name, *(f"{figure:.1f}" for figure in figures), ratio])
    header = ["told", "median, ms", "p99, ms", "worker CPU, ms a step", f"ratio to {NOTHING}"]
    raw = {
        "goal": GOAL,
        "steps_per_run": STEPS,
        "ratios": {name: asdict(ratio) for name, ratio in ratios.items()},
        "runs": {name: [asdict(sample) for sample in found] for name, found in runs.items()},
    }
    return Report(
        "What telemetry costs",
        [f"With everything on, a step takes {ratios[ALL]} times one with nothing on; {_verdict(ratios[ALL])}."],
        [Table(header, rows), MEASURED, KINDS],
        raw,
        lambda figure: _draw(figure, runs, ratios),
    )


def _ratio(some: list[Sample], others: list[Sample]) -> Ratio:
    return resampled([(one.steps, other.steps) for one, other in zip(some, others, strict=True)])


def _cpu(found: list[Sample]) -> float:
    return statistics.median(sample.cpu for sample in found)


def _verdict(ratio: Ratio) -> str:
    met = "met" if ratio.high <= GOAL else "not met" if ratio.low > GOAL else "undecided: the interval spans it"
    return f"the goal of at most {GOAL:g} is {met}"


def _draw(figure: Figure, runs: Runs, ratios: dict[str, Ratio]) -> None:
    latency, cpu = figure.subplots(1, 2)
    names = list(ratios)
    values = [ratios[name].value for name in names]
    spread = [[ratios[n].value - ratios[n].low for n in names], [ratios[n].high - ratios[n].value for n in names]]
    latency.bar(names, values, yerr=spread, color=INTERLOCK, alpha=0.6, capsize=4)
    latency.axhline(1, color=BARE, label=NOTHING)
    latency.axhline(GOAL, color=LIMIT, linestyle=":", label=f"goal: {GOAL:g}")
    latency.set(
        ylabel=f"latency of a step, ratio to {NOTHING}",
        ylim=(0.8, max(1.25, *(ratio.high for ratio in ratios.values())) + 0.05),
    )
    latency.legend(loc="upper left", fontsize=8)
    latency.set_title("Latency")
    cpu.bar(list(runs), [_cpu(found) for found in runs.values()], color=INTERLOCK, alpha=0.6)
    cpu.set(ylabel="worker CPU, ms a step")
    cpu.set_title("CPU")
