"""A run that works for another tells that one that it waits for people, and, when it is cancelled, what it had done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from interlock.contracts import AgentResult, ChildEnded, ChildWaits, ParentRun
from workflows import pausing
from workflows.run_state import Run

T = TypeVar("T")


async def telling_of_waits(run: Run, work: Awaitable[T]) -> T:
    """Do ``work``; and tell the run that this one works for, whose time would count, when it begins to wait for people
    and when it goes on."""
    if (parent := run.task.parent) is None:
        return await work
    telling = asyncio.create_task(_tell_of_waits(run, parent))
    try:
        return await work
    finally:
        telling.cancel()


async def _tell_of_waits(run: Run, parent: ParentRun) -> None:
    told = False

    def changed() -> bool:
        return told is not _stands_still(run)

    while True:
        await workflow.wait_condition(changed)
        told = not told
        said = ChildWaits(run=workflow.info().workflow_id, call_id=parent.call_id, waits=told)
        try:
            await workflow.get_external_workflow_handle(parent.run).signal("child_waits", said)
        except ApplicationError as error:  # it has just ended
            workflow.logger.info("run %s was not told: %s", parent.run, error)


def _stands_still(run: Run) -> bool:
    return run.state == "paused" or pausing.only_people(run)


async def tell_parent(run: Run, result: AgentResult) -> None:
    """Tell the run that this one worked for what it had done. Where it is not told, it is charged all that it gave."""
    if (parent := run.task.parent) is None:
        return
    ended = ChildEnded(run=workflow.info().workflow_id, call_id=parent.call_id, result=result)
    try:
        await workflow.get_external_workflow_handle(parent.run).signal("child_ended", ended)
    except ApplicationError as error:
        workflow.logger.warning("run %s was not told: %s", parent.run, error)
