"""While a run that this one has started is under way: what passes between the two."""

from __future__ import annotations

from temporalio import workflow

from interlock.contracts import ChildEnded, ChildWaits
from workflows import pausing
from workflows.child import Child
from workflows.run_state import Run


async def follow(run: Run, child: Child) -> None:
    """A pause of this run reaches it, and so does the resumption. Once nothing else is under way, this run waits as
    well, and the time does not count."""
    while True:
        await workflow.wait_condition(lambda: child.over or (child.started and run.paused is not None))
        if child.over or (note := run.paused) is None:
            return
        await child.tell("pause", note)
        await workflow.wait_condition(lambda: child.over or run.paused is None or _only_others_work(run))
        if run.paused is not None and not child.over:
            run.clock.stop()
            run.enter("paused")
            await workflow.wait_condition(lambda: child.over or run.paused is None)
        if run.paused is None:
            run.clock.start()
            run.enter("waiting_approval" if run.waiting else "running")
            pausing.settle_clock(run)
        if not child.over:
            await child.tell("resume", run.resumed or note)


def _only_others_work(run: Run) -> bool:
    return run.report.under_way.keys() <= run.children.keys()


def heard(run: Run, said: ChildEnded | ChildWaits) -> None:
    """What a run that this one has started tells of itself."""
    child = run.children.get(said.call_id)
    if child is None or child.id != said.run:
        return
    match said:
        case ChildEnded(result=result):
            child.told = result
        case ChildWaits(waits=waits):
            child.waits = waits
            pausing.settle_clock(run)
