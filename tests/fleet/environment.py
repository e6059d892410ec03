"""What the tests of the fleet share: models that wait, runs in flight, what the fleet's history holds."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import Client, WorkflowHandle

from interlock import Agent, ToolContext, tool
from interlock.client import Run
from interlock.contracts import BreakerSettings, State, Sweep
from interlock.killing import SIGNAL_PATIENCE
from interlock.testing import SCRIPTS, Say, ScriptedModel, replay
from tests.conftest import Served
from tests.until import until
from workflows.fleet_control import FleetControl

M = TypeVar("M", bound=BaseModel)

NEVER = BreakerSettings(failure_threshold=10_000, least_calls=10_000)
"""For tests of something else, where many calls fail on purpose."""

QUICK = BreakerSettings(failure_threshold=3, recovery_seconds=0.5, recovery_max=2.0)


def waiting(name: str, turns: list[Say] | None = None, **options: Any) -> Agent:
    """An agent whose model does not answer, unless it is given turns."""
    model = ScriptedModel(f"{name}-model", turns or [Say(text="late", delay=60)])
    return Agent(**{"name": name, "instructions": "-", "models": model.model, **options})


@tool(effect="write")
async def act(context: ToolContext) -> str:
    """Take long."""
    await asyncio.sleep(60)
    return "acted"


def only_signalled(sweep: Sweep) -> bool:
    """Whether no run had to be ended in another way. On a busy machine none may move for so long that it is."""
    return sweep.terminated == 0 and (sweep.cancelled == 0 or sweep.seconds > SIGNAL_PATIENCE)


async def configured(served: Served, settings: BreakerSettings) -> None:
    """Let all breakers judge by ``settings``, and wait until that is known."""
    await served.interlock.fleet.configure(settings)

    async def known() -> bool:
        return (await served.interlock.fleet.view()).defaults == settings

    await until(known)


async def begun_again(handle: WorkflowHandle[Any, Any], first: str) -> None:
    """Wait until another execution than the first, by its run id, goes by the workflow's id."""

    async def another() -> bool:
        return (await handle.describe()).run_id != first

    await until(another)


async def in_flight(run: Run, activity: str) -> None:
    """Wait until ``activity`` of the run is at a worker."""

    async def begun() -> bool:
        pending = (await run.handle.describe()).raw_description.pending_activities
        return any(
            each.activity_type.name == activity and each.attempt and each.last_worker_identity for each in pending
        )

    await until(begun)


async def in_state(run: Run, state: State) -> None:
    """Wait until the run says that it is in that state."""

    async def reached() -> bool:
        return (await run.status()).state == state

    await until(reached)


async def waiting_for(run: Run, state: PendingActivityState.ValueType, attempts: int) -> None:
    """Wait until the run's call is in that state, after so many attempts."""

    async def reached() -> bool:
        pending = (await run.handle.describe()).raw_description.pending_activities
        return any(each.state == state and each.attempt >= attempts for each in pending)

    await until(reached)


async def asked(name: str, times: int) -> None:
    """Wait until so many requests have reached the model of the agent that ``waiting`` made: a call that is at a worker
    and not yet past its gate is refused by a kill, not stopped."""

    async def reached() -> bool:
        return SCRIPTS[f"{name}-model"].asked >= times

    await until(reached)


async def events(client: Client, id: str, kind: EventType.ValueType) -> int:
    """How many events of a kind a workflow's history holds."""
    history = await client.get_workflow_handle(id).fetch_history()
    return sum(event.event_type == kind for event in history.events)


async def told(client: Client, id: str, signal: str, model: type[M]) -> list[M]:
    """The payloads of one signal in a workflow's history, in order."""
    found = []
    async for event in client.get_workflow_handle(id).fetch_history_events():
        signalled = event.workflow_execution_signaled_event_attributes
        if signalled.signal_name == signal:
            found += await client.data_converter.decode(list(signalled.input.payloads), [model])
    return found


async def replay_fleet(served: Served) -> None:
    """The fleet's own history takes the same way again."""
    await replay(served.client, served.client.get_workflow_handle(served.interlock.fleet.id), FleetControl)
