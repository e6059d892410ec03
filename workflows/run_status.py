"""What ``status`` answers, and what the Web UI shows of a run that is open."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from temporalio import workflow

from interlock.contracts import RunStatus
from interlock.policies import limit

if TYPE_CHECKING:
    from workflows.run_state import Run


def status(run: Run) -> RunStatus:
    spent, remaining = run.spent, limit.left(run.limits, run.spent)
    return RunStatus(
        run=workflow.info().workflow_id,
        agent=run.task.agent,
        user_id=run.task.user_id,
        state=run.state,
        outcome=run.outcome,
        reason=run.reason or (run.paused.reason if run.paused else None),
        step=run.step,
        tool_calls=run.tool_calls,
        model=run.routing[-1].model if run.routing else None,
        complexity=run.task.complexity,
        limits=run.limits,
        spent={name: _plain(getattr(spent, name)) for name in remaining},
        remaining={name: None if value is None else _plain(value) for name, value in remaining.items()},
        usage=run.usage,
        routing=tuple(run.routing),
        pending_approvals=tuple(run.waiting.values()),
        breakers=tuple(f"{name}: {said}" for name, said in run.circuits.items()),
        ignored_signals=run.ignored_signals,
        kill_report=run.report.after_a_kill() if run.outcome == "killed" else None,
    )


def _plain(value: Decimal | int | float) -> str:
    """A figure as people write it: no exponent, no noise behind the millisecond."""
    return (
        f"{value:.3f}".rstrip("0").rstrip(".")
        if isinstance(value, float)
        else f"{value:f}"
        if isinstance(value, Decimal)
        else str(value)
    )
