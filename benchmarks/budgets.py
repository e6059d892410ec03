"""What budgets cost a run: its own limits, shared accounts, and an account so small that it leases again and again."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING

from benchmarks.charged import (
    LARGE,
    PLAIN,
    SMALL,
    STEPS,
    TRANCHES,
    VARIANTS,
    Charged,
    another_user,
    charged,
    ledger_events,
)
from benchmarks.pairs import Ratio, resampled
from benchmarks.report import BARE, INTERLOCK, LIMIT, Report, Table
from benchmarks.server import bench

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "a run's budgets: none, limits of its own, shared accounts"
ROUNDS = 12
SMALL_ROUNDS = 3
WARM_UP = 2
NONE = "no limits"
MEASURED = (
    f"A run has {STEPS} steps, each one call of a model and one of a tool, and one call of the model for its answer; "
    f"both answer at once. {ROUNDS} rounds of one run of each kind, one after the other, each kind first as often as "
    "the others; the database is in memory. A run's time is that from its first event to its last by the server's "
    f"clock. With {ROUNDS} runs the p99 is hardly less than the slowest. The ratio is of medians, with its 95 % "
    "interval. `lease` and `settle` are timed from being scheduled to being answered."
)
ACCOUNTS = (
    f"Without limits, a run still has one on its steps and tool calls. Run limits are on dollars, tokens and seconds "
    f"as well. A shared account has ${LARGE}, of which a run leases a twentieth at a time: one such tranche is more "
    "than it spends. Every run of a kind leases from the same accounts."
)
Runs = dict[str, list[Charged]]


async def measure(tell: Callable[[str], None]) -> Report:
    runs: Runs = {name: [] for name in VARIANTS}
    small: Runs = {usd: [] for usd in SMALL}
    async with bench([*VARIANTS.values(), *SMALL.values()]) as server:
        client = server.interlock.client
        for _ in range(WARM_UP):
            for agent in VARIANTS.values():
                await charged(server, agent)
        before = {name: await ledger_events(client, agent) for name, agent in VARIANTS.items()}
        names = list(VARIANTS)
        for number in range(ROUNDS):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                runs[name].append(await charged(server, VARIANTS[name]))
            if number < SMALL_ROUNDS:
                for usd, agent in SMALL.items():
                    small[usd].append(await charged(server, agent, another_user()))
            if (number + 1) % (ROUNDS // 2) == 0:
                tell(f"{number + 1} of {ROUNDS} rounds")
        after = {name: await ledger_events(client, agent) for name, agent in VARIANTS.items()}
    ledgers = {name: (after[name] - before[name]) / ROUNDS for name in VARIANTS}
    return _report(runs, small, ledgers)


# -- what it says ------------------------------------------------------------------------------------------


def _report(runs: Runs, small: Runs, ledgers: dict[str, float]) -> Report:
    ratios = {name: resampled(_paired(found, runs[NONE])) for name, found in runs.items() if name != NONE}
    header = ["budgets", "events", "lease", "settle", "events of ledgers", "median, ms", "p99, ms", f"ratio to {NONE}"]
    body: list[str | Table] = [
        Table(header, [_row(name, found, ledgers[name], ratios.get(name)) for name, found in runs.items()]),
        Table(["activity", "count", "median, ms", "p99, ms"], _activities(runs)),
        Table(
            ["account, $", "tranche, $", "a run spends, $", "lease", "settle", "calls of the model a lease", "events"],
            [_small_row(usd, found) for usd, found in small.items()],
        ),
        MEASURED,
        ACCOUNTS,
        _explained(next(iter(small.values()))[0].usd / (STEPS + 1)),
    ]
    raw = {
        "steps_per_run": STEPS,
        "ratios": {name: asdict(ratio) for name, ratio in ratios.items()},
        "ledger_events_per_run": ledgers,
        "runs": {name: [asdict(run) for run in found] for name, found in runs.items()},
        "small_accounts": {usd: [asdict(run) for run in found] for usd, found in small.items()},
    }
    summary = [_said(name, runs, ratio) for name, ratio in ratios.items()] + [_said_of_small(small)]
    return Report("What budgets cost a run", summary, body, raw, lambda figure: _draw(figure, runs, small, ratios))


def _paired(found: list[Charged], plain: list[Charged]) -> list[tuple[list[float], list[float]]]:
    return [([one.milliseconds], [other.milliseconds]) for one, other in zip(found, plain, strict=True)]


def _row(name: str, found: list[Charged], ledgers: float, ratio: Ratio | None) -> list[str]:
    times = [run.milliseconds for run in found]
    counts = [_span([run.events for run in found]), *_settled(found), f"{ledgers:g}"]
    figures = [f"{statistics.median(times):.0f}", f"{_p99(times):.0f}"]
    return [name, *counts, *figures, "1" if ratio is None else str(ratio)]


def _settled(found: list[Charged]) -> list[str]:
    return [_span([len(run.lease) for run in found]), _span([len(run.settle) for run in found])]


def _activities(runs: Runs) -> list[list[str]]:
    rows: list[list[str]] = []
    for name in ("lease", "settle"):
        times = [span for found in runs.values() for run in found for span in getattr(run, name)]
        rows.append([name, str(len(times)), f"{statistics.median(times):.1f}", f"{_p99(times):.1f}"])
    return rows


def _small_row(usd: str, found: list[Charged]) -> list[str]:
    calls = _span([round((STEPS + 1) / len(run.lease), 1) for run in found])
    spent, tranche = found[0].usd, Decimal(usd) / TRANCHES
    return [usd, f"{tranche:.3f}", f"{spent:.4f}", *_settled(found), calls, _span([run.events for run in found])]


def _said(name: str, runs: Runs, ratio: Ratio) -> str:
    found, plain = runs[name], runs[NONE]
    more = _span([one.events - other.events for one, other in zip(found, plain, strict=True)])
    leases, settles = _settled(found)
    events = "the same number of events as" if more == "0" else f"{more} events more than"
    what = "" if leases == settles == "0" else f", of {leases} `lease` and {settles} `settle`"
    shown = "" if ratio.low > 1 or ratio.high < 1 else "; the interval spans 1: no difference is shown"
    return f"{name.capitalize()}: {events} with {NONE}{what}; a run takes {ratio} times as long{shown}."


def _said_of_small(small: Runs) -> str:
    said = ", ".join(f"{_settled(found)[0]} of ${Decimal(usd) / TRANCHES:.3f}" for usd, found in small.items())
    settles = _span([len(run.settle) for found in small.values() for run in found])
    return f"Tranches that a run uses up, each one `lease`: {said}; always {settles} `settle`."


def _explained(call: Decimal) -> str:
    return (
        f"Each small account is one run's own and new; a call of the model costs ${call:.4f} and may write "
        f"{PLAIN.max_output_tokens} tokens. A run leases again before a tranche is empty: what it holds must still "
        "pay for the next call at its bound, and for a final answer, of which it keeps back no more than a twentieth "
        "of the account. A tranche tops up what is left of the one before."
    )


def _span(values: Sequence[float]) -> str:
    """One figure where all are the same, else from the least to the most."""
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def _draw(figure: Figure, runs: Runs, small: Runs, ratios: dict[str, Ratio]) -> None:
    latency, leases = figure.subplots(1, 2, width_ratios=[1.6, 1])
    _boxes(latency, runs, ratios)
    tranches = [float(usd) / TRANCHES for usd in small]
    for kind, colour, marker in (("lease", INTERLOCK, "o-"), ("settle", BARE, "s-")):
        counts = [statistics.mean(len(getattr(run, kind)) for run in found) for found in small.values()]
        leases.plot(tranches, counts, marker, color=colour, label=kind)
    spent = float(next(iter(small.values()))[0].usd)
    leases.axvline(spent, color=LIMIT, linestyle=":", label=f"a run spends ${spent:.3f}")
    leases.set(xlabel="tranche, $", ylabel="activities a run", title="Small accounts")
    leases.set_ylim(bottom=0)
    leases.legend(fontsize=8)


def _boxes(axes: Axes, runs: Runs, ratios: dict[str, Ratio]) -> None:
    events = {name: _span([run.events for run in found]) for name, found in runs.items()}
    labels = [
        f"{name}\n{events[name]} events" + (f"\nratio {ratios[name].value:.2f}" if name in ratios else "")
        for name in runs
    ]
    boxes = axes.boxplot(
        [[run.milliseconds for run in found] for found in runs.values()],
        tick_labels=labels,
        patch_artist=True,
        widths=0.5,
        whis=(5, 95),
        showfliers=False,
        medianprops={"color": "black"},
    )
    for box in boxes["boxes"]:
        box.set(facecolor=INTERLOCK, alpha=0.35)
    axes.set(ylabel=f"a run of {STEPS} steps, ms", title="Every run")
    axes.set_ylim(bottom=0)
