"""How large the history of a run has grown, over all its executions, as the server counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistoryEventFilterType


@dataclass(frozen=True)
class Grown:
    """A run's history, all its executions together. ``ended``: why, if it was not complete."""

    asked: int
    steps: int
    executions: int
    events: int
    bytes: int
    largest: int
    stored: int
    seconds: float
    ended: str = ""


async def steps_done(client: Client, name: str) -> int:
    """How many steps a run completed: those whose tool answered."""
    names: dict[int, str] = {}
    done = 0
    async for event in client.get_workflow_handle(name).fetch_history_events(page_size=20):
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done += names[event.activity_task_completed_event_attributes.scheduled_event_id] == "bare_tool"
    return done


async def executions(client: Client, name: str, run_id: str | None) -> list[tuple[int, int]]:
    """Events and bytes of each execution of a run, from its first to its last."""
    found: list[tuple[int, int]] = []
    while True:
        handle = client.get_workflow_handle(name, run_id=run_id)
        described = await handle.describe()
        info = described.raw_description.workflow_execution_info
        found.append((info.history_length, info.history_size_bytes))
        if described.status != WorkflowExecutionStatus.CONTINUED_AS_NEW:
            return found
        async for event in handle.fetch_history_events(event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT):
            run_id = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id


def grown(
    asked: int, steps: int, sizes: Sequence[tuple[int, int]], seconds: float, *, stored: int = 0, ended: str = ""
) -> Grown:
    events, size = (sum(column) for column in zip(*sizes, strict=True))
    largest = max(size for _, size in sizes)
    return Grown(asked, steps, len(sizes), events, size, largest, stored, round(seconds, 2), ended)


def stored_bytes(store: Path) -> int:
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
