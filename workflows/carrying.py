"""A run carried over into its next execution: by continue-as-new, or from another run's conversation."""

from __future__ import annotations

from interlock.contracts import Carried, Progress, Transcript
from workflows.call_report import CallReport
from workflows.run_state import Run
from workflows.work_clock import WorkClock


def carried(given: Carried) -> Run:
    """The run that ``given`` was carried from, going on."""
    progress = given.progress
    return Run(
        task=given.task,
        state="paused" if progress.paused else "running",
        _spec=progress.spec,
        limits=progress.limits,
        step=progress.step,
        calls=progress.calls,
        messages=progress.messages,
        last_reply=progress.last_reply,
        delta=list(progress.delta),
        steered=progress.steered,
        answered=progress.answered,
        tool_calls=progress.tool_calls,
        refused_calls=progress.refused_calls,
        clock=WorkClock(before=progress.worked),
        by_model=dict(progress.by_model),
        by_tool=dict(progress.by_tool),
        routing=list(progress.routing),
        paused=progress.paused,
        ignored_signals=progress.ignored_signals,
        tier=progress.tier,
        bytes=progress.bytes,
        last_model=progress.last_model,
        last_tokens=progress.last_tokens,
        leases=list(progress.leases),
        seen=progress.seen,
        open_windows=progress.open_windows,
        decided=progress.decided,
        of_children=progress.of_children,
        report=CallReport(
            completed=list(progress.completed_calls),
            stopped=list(progress.stopped_calls),
            unknown=list(progress.unknown_calls),
        ),
        repeats=progress.repeats,
        circuits=dict(progress.circuits),
        begun=progress.begun,
    )


def carry(run: Run, transcript: Transcript) -> Carried:
    progress = Progress(
        spec=run.spec,
        limits=run.limits,
        step=run.step,
        calls=run.calls,
        messages=run.messages,
        last_reply=run.last_reply,
        delta=(*run.delta, *run.steering),
        steered=run.steered,
        answered=run.answered,
        tool_calls=run.tool_calls,
        refused_calls=run.refused_calls,
        worked=run.clock.seconds,
        by_model=run.by_model,
        by_tool=run.by_tool,
        routing=tuple(run.routing),
        paused=run.paused,
        ignored_signals=run.ignored_signals,
        tier=run.tier,
        bytes=run.bytes,
        last_model=run.last_model,
        last_tokens=run.last_tokens,
        leases=tuple(run.leases),
        seen=run.seen,
        open_windows=run.open_windows,
        decided=run.decided,
        of_children=run.of_children,
        completed_calls=tuple(run.report.completed),
        stopped_calls=tuple(run.report.stopped),
        unknown_calls=tuple(run.report.unknown),
        repeats=run.repeats,
        circuits=run.circuits,
        begun=run.begun,
    )
    return Carried(task=run.task, progress=progress, transcript=transcript)
