"""Limits of a run that is under way are raised by a person, and only raised."""

from __future__ import annotations

from interlock.contracts import Extension, Limits, Note
from interlock.policies import children, limit
from workflows import pausing
from workflows.run_state import Run


def extend(run: Run, extension: Extension) -> None:
    run.limits = raised(run, extension)
    if pausing.short_of_money(run):
        pausing.resume(run, Note(reason="extended", by=extension.by))
    run.show()


def raised(run: Run, extension: Extension) -> Limits:
    """The limits of the run, extended. Raises ``ValueError`` where they may not be."""
    if not run.resolved:
        raise ValueError("the run has not resolved its agent yet; try again in a moment")
    if (why := children.not_its_own(run.task, extension.limits)) is not None:
        raise ValueError(why)
    return limit.extend(run.limits, extension.limits)
