"""What came of a kill, on the screen and as JSON: how runs ended, and what certainly did, did not, or may have
happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from interlock import present
from interlock.cli import screen
from interlock.contracts import AgentResult, Kill, KilledCall, KillReport
from interlock.killing import Rung

RUNG: dict[Rung, str] = {
    "signal": "signal",
    "cancel": "cancelled: it did not hear the signal",
    "terminate": "terminated: it heard neither the signal nor the cancellation",
}

NAMED = 20
"""Calls that are named in one line; JSON has them all."""


@dataclass(frozen=True)
class Ended:
    """What a kill of many has done so far. ``kill``: as the fleet tells it; ``again``: it was in force before;
    ``open_before``: runs that it found open."""

    kill: Kill
    again: bool
    open_before: int
    left: int
    seconds: float


# -- one run -----------------------------------------------------------------------------------------------------


def run_json(run: str, rung: Rung, result: AgentResult | None) -> dict[str, Any]:
    report = result.kill_report if result is not None else None
    return {
        "run": run,
        "rung": rung,
        "result": result.model_dump(mode="json") if result is not None else None,
        "report": report.model_dump(mode="json") if report is not None else None,
    }


def show_run(to: Console, run: str, rung: Rung, result: AgentResult | None, instead: str = "") -> None:
    """``instead``: what is known of a run that has no result, and was not terminated by us."""
    if result is not None:
        by_itself = result.outcome not in ("killed", "cancelled")
        words = "it ended by itself before the signal reached it" if by_itself else RUNG[rung]
        screen.result(to, result, [("rung", words), *_report(result.kill_report)])
        return
    screen.fields(to, [("run", run), ("rung", RUNG[rung] if not instead else present.one_line(instead))])
    to.print(
        "It has no result, and nothing says which of its calls took effect; what it held of shared accounts is charged "
        "in full.",
        soft_wrap=True,
    )


def _report(report: KillReport | None) -> list[tuple[str, str | Text]]:
    if report is None:
        return []
    unknown = _calls(report.unknown)
    return [
        ("stopped", _calls(report.stopped)),
        ("completed", _calls(report.completed)),
        ("unknown", Text(f"{unknown} (may have taken effect)", "yellow") if unknown else ""),
    ]


def _calls(calls: tuple[KilledCall, ...]) -> str:
    named = ", ".join(present.one_line(f"{each.call_id} {each.tool}") for each in calls[:NAMED])
    return named if len(calls) <= NAMED else f"{named} and {len(calls) - NAMED:,} more; --json has them all"


# -- many --------------------------------------------------------------------------------------------------------


def many_json(ended: Ended) -> dict[str, Any]:
    return {
        **ended.kill.model_dump(mode="json"),
        "already_killed": ended.again,
        "open_before": ended.open_before,
        "left": ended.left,
        "seconds": round(ended.seconds, 3),
    }


def show_many(to: Console, ended: Ended) -> None:
    kill = ended.kill
    everything = kill.scope == "all"
    already = f", as since {kill.at:%Y-%m-%d %H:%M:%S} UTC" if ended.again else ""
    release = "interlock release --all" if everything else f"interlock release --user {present.quoted(kill.subject)}"
    screen.fields(
        to,
        [
            (
                "killed",
                Text(f"{'everything' if everything else f'user {present.one_line(kill.subject)}'}{already}", "bold"),
            ),
            (
                "reason",
                present.one_line(f"{kill.reason} (by {kill.by})" if kill.reason else f"none given (by {kill.by})"),
            ),
            ("stopped", f"{present.several(kill.stopped, 'call')} in flight"),
            ("ended", _runs(ended)),
            (
                "refused",
                f"{present.several(kill.refused, 'call')} of these runs or of new ones" if kill.refused else "",
            ),
            ("left", Text(present.several(ended.left, "run"), "red") if ended.left else "none"),
            ("took", present.seconds(ended.seconds)),
            ("new runs", f"are refused until: {release}"),
        ],
    )


def _runs(ended: Ended) -> str:
    """``40 runs: 38 by signal, 1 cancelled, 1 terminated``. A run whose calls are stopped may end before the sweep
    comes to it."""
    sweep = ended.kill.sweep
    if sweep is None:
        return present.several(max(0, ended.open_before - ended.left), "run")
    found = max(ended.open_before, sweep.signalled)
    ways = [
        (found - sweep.signalled, "as their calls were stopped"),
        (sweep.signalled - sweep.cancelled, "by signal"),
        (sweep.cancelled - sweep.terminated, "cancelled"),
        (sweep.terminated, "terminated"),
    ]
    told = ", ".join(f"{count:,} {how}" for count, how in ways if count)
    return present.several(max(0, found - ended.left), "run") + (f": {told}" if told else "")
