"""A run that waits for people: paused, or short of money, or with nothing under way but questions. No time counts."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from interlock.contracts import Note
from interlock.policies import budget
from interlock.policies.budget import Refusal
from workflows.run_state import Run

NOTED = 2000
"""Characters of a note's reason, at most."""

BUDGET = "interlock budget"
"""Who pauses a run that is out of money, where its agent asks for that."""


def pause(run: Run, note: Note) -> None:
    """Somebody wants it to wait. What they say replaces what Interlock said of its money."""
    if run.paused is None or short_of_money(run):
        run.paused = note


def resume(run: Run, note: Note) -> None:
    run.paused, run.resumed = None, note


def short_of_money(run: Run) -> bool:
    return run.paused is not None and run.paused.by == BUDGET


def for_money(run: Run, reason: str, refusal: Refusal | None = None) -> bool:
    """Whether a run that is out of money waits for somebody to give it more; or until there may be more. One that works
    for another has a part of that one's money: no person can give it more. A person's pause stays one."""
    if run.spec.on_budget != "pause" or run.task.parent is not None:
        return False
    if run.paused is None:
        run.paused = Note(reason=budget.way_out(reason, refusal)[:NOTED], by=BUDGET)
        run.asks_again = refusal.until if refusal else None
    return True


async def unpaused(run: Run) -> None:
    """Wait while the run is paused, before each call; the time does not count."""
    run.go_on()
    if run.paused is None:
        return
    run.clock.stop()
    await _resumed(run)
    run.go_on()
    run.clock.start()
    run.enter("waiting_approval" if run.waiting else "running")


async def _resumed(run: Run) -> None:
    while (note := run.paused) is not None:
        run.enter("paused")
        left = None
        if short_of_money(run) and run.asks_again is not None:
            left = max(run.asks_again - workflow.now(), timedelta(seconds=1))
        try:
            await _other_than(run, note, left)
        except TimeoutError:
            resume(run, Note(reason="there may be money again", by=BUDGET))


async def _other_than(run: Run, note: Note, left: timedelta | None) -> None:
    said = "then ask for money again"
    await workflow.wait_condition(lambda: run.paused is not note, timeout=left, timeout_summary=said)


def only_people(run: Run) -> bool:
    """Of what is under way nothing works: it waits for a person, here or in runs that this one has started."""
    theirs = sum(child.waits for child in run.children.values())
    return bool(run.waiting or theirs) and run.working <= theirs


def settle_clock(run: Run) -> None:
    """What is waited for has changed. Of a run that is paused, the pause says when its time counts again."""
    if run.state == "paused":
        return
    if only_people(run):
        run.clock.stop()
    else:
        run.clock.start()
