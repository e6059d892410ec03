"""How long a kill takes, from the signal to the moment at which the provider sees its connection closed."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from benchmarks.pairs import resampled
from benchmarks.report import BARE, INTERLOCK, LIMIT, Report, Table
from benchmarks.silent import FLEET, Silent, held
from interlock.contracts import BreakerSettings, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "kill: from the signal to the closing of the provider's connection"
WORKERS = (1, 2, 3)
IN_FLIGHT = 200
RUNS = 50
USERS, RUNS_OF_USER = 10, 10
BUSY, DOWN, QUEUED = 900, 600, 300
OPEN = IN_FLIGHT + BUSY + DOWN + QUEUED
P50, P99, LATEST = 100.0, 500.0, 500.0
WHAT = ("run", "user", "all", "cancel")
MEASURED = (
    f"{IN_FLIGHT} runs have a request with a provider that never answers, on worker processes of their own; the "
    "server is the development server with its database in memory, and does not push cancellations to workers "
    "(`frontend.WorkerCommandsEnabled` and `system.enableCancelActivityWorkerCommand` are off). The clock starts "
    "before the signal is sent and ends when the provider sees the connection closed; both are in one process. "
    f"run: `kill` to {RUNS} runs, one after the other, by a plain Temporal client. user: `kill` of {USERS} users "
    f"with {RUNS_OF_USER} runs each. all: one `kill` of everything, {IN_FLIGHT} calls. cancel: the baseline, "
    f"Temporal's own cancellation of {RUNS} runs, on the heartbeats of the call, one in two seconds; each "
    "is made right after a kill of a run, and the ratio is of the two medians, with its 95 % interval. Runs that "
    f"ended are replaced before the next kill. With {RUNS} values the p99 is hardly less than the largest."
)
EVERYTHING = (
    f"{OPEN:,} open runs on one worker with 200 slots: {IN_FLIGHT} in flight, which fill the slots; {BUSY} in "
    f"back-off, their provider answers 429 with a Retry-After of 20 to 60 s; {DOWN} parked at an open breaker that "
    f"is tried every 30 s; {QUEUED} that wait for a slot. `kill` with scope `all`; every request that comes to the "
    "provider after the signal was sent is counted."
)


@dataclass
class Everything:
    """A kill of all, with runs in every condition. Times in milliseconds after the signal was sent."""

    late: list[float] = field(default_factory=list)
    before: int = 0
    closed: list[float] = field(default_factory=list)
    left: list[tuple[float, int]] = field(default_factory=list)
    sweep: Sweep | None = None

    @property
    def latest(self) -> float:
        return max(self.late, default=0.0)


Found = dict[int, dict[str, list[float]]]


async def measure(tell: Callable[[str], None]) -> Report:
    found: Found = {}
    for workers in WORKERS:
        async with held(workers) as fleet:
            found[workers] = await _kills(fleet)
        said = ", ".join(f"{what} {statistics.median(times):.0f}" for what, times in found[workers].items())
        tell(f"{_workers(workers)}: medians in ms: {said}")
    async with held(1) as fleet:
        everything = await _everything(fleet, tell)
    return _report(found, everything)


async def _kills(fleet: Silent) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {what: [] for what in WHAT}
    # One worker has no more slots than calls are in flight: each run that ends makes room for the one in its place.
    users = {user: await fleet.fly(RUNS_OF_USER, user) for user in (f"killed-{number}" for number in range(USERS))}
    others = await fleet.fly(IN_FLIGHT - USERS * RUNS_OF_USER)
    for _ in range(RUNS):
        for what in ("run", "cancel"):
            text = others.pop(0)
            request, handle = fleet.in_flight()[text], fleet.plain.get_workflow_handle(text)
            began = time.monotonic()
            if what == "run":
                await handle.signal("kill", {"reason": "measured", "by": "bench"})
            else:
                await handle.cancel()
            found[what] += await fleet.closed([request], began)
            others += await fleet.fly(1)
    control = fleet.plain.get_workflow_handle(FLEET)
    for user, texts in users.items():
        requests = [fleet.in_flight()[text] for text in texts]
        began = time.monotonic()
        await control.signal("kill", {"scope": "user", "subject": user, "reason": "measured", "by": "bench"})
        found["user"] += await fleet.closed(requests, began)
        await fleet.none_left(user)
        await fleet.fly(RUNS_OF_USER)
    flying = list(fleet.in_flight().values())
    began = time.monotonic()
    await control.signal("kill", {"scope": "all", "reason": "measured", "by": "bench"})
    found["all"] = await fleet.closed(flying, began)
    return found


async def _everything(fleet: Silent, tell: Callable[[str], None]) -> Everything:
    seen = Everything()
    provider, control = fleet.provider, fleet.interlock.fleet
    await control.configure(BreakerSettings(recovery_seconds=30, recovery_max=30))
    await fleet.start("busy", BUSY)
    parked = await fleet.start("down", DOWN)
    await fleet.until(lambda: sum(request.model == "busy" for request in provider.requests) >= BUSY)
    while not await _parked(fleet, len(parked)):
        await asyncio.sleep(0.5)
    await fleet.fly(IN_FLIGHT)
    await fleet.start("silent", QUEUED)
    tell(f"{await control.open_runs('all')} open runs, {len(fleet.in_flight())} in flight")
    seen.before, flying = len(provider.requests), list(fleet.in_flight().values())
    began = time.monotonic()
    await fleet.plain.get_workflow_handle(FLEET).signal("kill", {"scope": "all", "reason": "measured", "by": "bench"})
    while not seen.left or seen.left[-1][1]:
        seen.left.append((_since(began), await control.open_runs("all")))
        await asyncio.sleep(0.1)
    seen.closed = await fleet.closed(flying, began)
    await asyncio.sleep(5)  # a straggler would be seen
    seen.late = [round((each.at - began) * 1000, 3) for each in provider.requests[seen.before :] if each.at >= began]
    seen.sweep = next((kill.sweep for kill in (await control.status()).kills if kill.scope == "all"), None)
    return seen


async def _parked(fleet: Silent, number: int) -> bool:
    where = "WorkflowType = 'AgentRun' AND AgentState = 'waiting_breaker'"
    return (await fleet.plain.count_workflows(where)).count >= number * 0.9


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)


# -- what it says ------------------------------------------------------------------------------------------


def _report(found: Found, everything: Everything) -> Report:
    rows = [
        [f"{what}, {_workers(workers)}", str(len(times)), *(f"{ms:.0f}" for ms in _figures(times)), _ratio(what, kinds)]
        for what in WHAT
        for workers, kinds in found.items()
        for times in [kinds[what]]
    ]
    header = ["kill", "calls", "median, ms", "p99, ms", "slowest, ms", "cancel / kill"]
    swept = everything.sweep
    ended = everything.left[-1][0] / 1000
    body: list[str | Table] = [
        Table(header, rows),
        MEASURED,
        Table(
            [f"kill of {OPEN:,} runs", ""],
            [
                ["requests that came after the signal", str(len(everything.late))],
                ["the latest of them, ms after it", f"{everything.latest:.0f}"],
                ["calls in flight closed: median, ms", f"{statistics.median(everything.closed):.0f}"],
                ["the last of them, ms", f"{max(everything.closed):.0f}"],
                ["no run left in the index, s", f"{ended:.1f}"],
                ["signalled, cancelled, terminated", _rungs(swept)],
            ],
        ),
        EVERYTHING,
    ]
    raw = {
        "goals_ms": {"p50": P50, "p99": P99, "latest_arrival": LATEST},
        "milliseconds": {str(workers): kinds for workers, kinds in found.items()},
        "everything": {**asdict(everything), "sweep": swept and swept.model_dump()},
    }
    summary = [_said(what, found) for what in ("run", "user")]
    summary.append(_said_of_all(found))
    summary.append(_said_of_everything(everything, ended))
    return Report(
        "How long a kill takes", summary, body, raw, lambda figure: _draw(figure, found, everything), (10.0, 7.6)
    )


def _figures(times: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(times), statistics.quantiles(times, n=100, method="inclusive")[98], max(times)


def _ratio(what: str, kinds: dict[str, list[float]]) -> str:
    """How many times as long Temporal's own cancellation took. Side by side in time were only ``run`` and it."""
    match what:
        case "cancel":
            return "1"
        case "run":
            pairs = [([cancel], [kill]) for cancel, kill in zip(kinds["cancel"], kinds["run"], strict=True)]
            return str(resampled(pairs))
        case _:
            return f"{statistics.median(kinds['cancel']) / statistics.median(kinds[what]):.2f}"


def _said(what: str, found: Found) -> str:
    figures = {workers: _figures(kinds[what]) for workers, kinds in found.items()}
    said = "; ".join(f"{_workers(n)}: median {p50:.0f} ms, p99 {p99:.0f} ms" for n, (p50, p99, _) in figures.items())
    met = all(p50 <= P50 for p50, _, _ in figures.values()), all(p99 <= P99 for _, p99, _ in figures.values())
    return f"Kill of a {what}: {said}. The goal of {P50:g} ms {_met(met[0])}, that of {P99:g} ms {_met(met[1])}."


def _met(met: bool) -> str:
    return "is met" if met else "is not met"


def _said_of_all(found: Found) -> str:
    said = "; ".join(
        f"{_workers(n)}: median {p50:.0f} ms, the last after {slowest:.0f} ms"
        for n, (p50, _, slowest) in ((n, _figures(kinds["all"])) for n, kinds in found.items())
    )
    return f"Kill of everything, {IN_FLIGHT} calls in flight: {said}."


def _said_of_everything(everything: Everything, ended: float) -> str:
    return (
        f"Kill of {OPEN:,} open runs in every condition: {len(everything.late)} requests came after the signal, the "
        f"latest {everything.latest:.0f} ms after it; the goal of none after {LATEST:g} ms "
        f"{_met(everything.latest <= LATEST)}. No run was left after {ended:.1f} s."
    )


def _rungs(swept: Sweep | None) -> str:
    return "unknown" if swept is None else f"{swept.signalled}, {swept.cancelled}, {swept.terminated}"


def _workers(number: int) -> str:
    return f"{number} worker{'s' if number > 1 else ''}"


def _draw(figure: Figure, found: Found, everything: Everything) -> None:
    top, bottom = figure.subplots(2, 1, height_ratios=[1.5, 1])
    _shares(top, found)
    seconds = [ms / 1000 for ms, _ in everything.left]
    bottom.plot(seconds, [left for _, left in everything.left], color=INTERLOCK, label="open runs, as the index knows")
    bottom.set(
        xlabel="seconds after the signal", ylabel="open runs", title=f"A kill of {OPEN:,} open runs", ylim=(0, None)
    )
    arrivals = bottom.twinx()
    arrivals.eventplot([ms / 1000 for ms in everything.late], lineoffsets=0.5, linelengths=0.2, colors=BARE)
    arrivals.set(ylim=(0, 1), yticks=[])
    bottom.plot([], [], color=BARE, label=f"a request that came after it: {len(everything.late)}")
    bottom.axvline(LATEST / 1000, color=LIMIT, linestyle=":", label=f"goal: none after {LATEST:g} ms")
    bottom.legend(fontsize=8)


def _shares(axes: Axes, found: Found) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    for what, colour in zip(WHAT, (INTERLOCK, "#4c9f70", "#e0a030", BARE), strict=True):
        for (workers, kinds), style in zip(found.items(), ("-", "--", ":"), strict=False):
            times = sorted(kinds[what])
            shares = [(index + 1) / len(times) * 100 for index in range(len(times))]
            name = "Temporal's cancel" if what == "cancel" else f"kill {what}"
            axes.plot(times, shares, style, color=colour, label=f"{name}, {_workers(workers)}")
    for goal in (P50, P99):
        axes.axvline(goal, color=LIMIT, linestyle=":")
    axes.set(xscale="log", xlabel="until the connection is closed, ms", ylabel="calls within it, %", ylim=(0, 100))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"{IN_FLIGHT} calls in flight; dotted: the goals for the median and the p99")
    axes.legend(fontsize=7, ncols=2, loc="lower right")
