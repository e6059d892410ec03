"""What the server takes of a workflow: orders that are too long, or too many, leave ``FleetControl`` alive."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from interlock import Interlock
from interlock.contracts import FleetState
from tests.conftest import Serve
from tests.fleet.environment import replay_fleet, waiting
from tests.until import until

LONG = "é" * 500
"""1,000 bytes: the longest id there is."""

TOO_MUCH: list[tuple[str, dict[str, Any]]] = [
    ("kill", {"scope": "run", "subject": "é" * 1000, "reason": "wedge"}),
    ("kill", {"scope": "run", "subject": LONG, "reason": "ü" * 2000, "by": "ü" * 200}),
    ("kill", {"scope": "user", "subject": LONG, "reason": "ü" * 2000, "by": "ü" * 200}),
    ("kill", {"scope": "user", "subject": "é" * 499, "reason": "ü" * 2000, "by": "ü" * 200}),
    ("kill", {"scope": "user", "subject": "\x00\n\u202e", "reason": "\x00"}),
    (
        "report",
        {
            "worker": "é" * 300,
            "outcomes": [{"dependency": f"{n}{'é' * 290}", "failures": 10, "error": "ü" * 500} for n in range(50)],
        },
    ),
    ("release", {"scope": "user", "subject": LONG}),
    ("kill", {"scope": "run", "subject": "interlock", "by": "interlock", "reason": "ü" * 2000}),
]


async def test_what_is_well_formed_and_too_long_stops_nobody(serve: Serve) -> None:
    async with serve(waiting("a")) as served:
        fleet = served.interlock.fleet
        handle = served.client.get_workflow_handle(fleet.id)
        await handle.signal("kill", {"scope": "run", "subject": fleet.id})  # itself: it has no signal of that meaning
        for name, payload in TOO_MUCH:
            await handle.signal(name, payload)
        await fleet.kill("user", "ada", "after all that", by="ops")

        async def swept() -> bool:
            wide = [each for each in (await fleet.status()).kills if each.scope == "user"]
            return len(wide) == 3 and all(each.sweep is not None and each.sweep.done for each in wide)

        await until(swept)
        assert (await fleet.status()).ignored_signals >= 1
        assert (await served.run("a", user_id="ada")).outcome == "killed"
        await replay_fleet(served)


async def test_a_backlog_is_taken_in_by_several_tasks(serve: Serve, temporal: Client) -> None:
    """While no worker serves, orders gather. The next one gets them all in one task, which must not take too long, nor
    ask for more than the server lets it."""
    fleet = f"fleet-{uuid.uuid4().hex[:8]}"
    await temporal.start_workflow("FleetControl", FleetState(), id=fleet, task_queue=fleet)
    handle = temporal.get_workflow_handle(fleet)
    for scope in ("run", "user"):
        for first in range(0, 300, 30):
            orders = ({"scope": scope, "subject": f"nobody-{n}"} for n in range(first, first + 30))
            await asyncio.gather(*(handle.signal("kill", each) for each in orders))
    interlock = Interlock(temporal, fleet=fleet)
    async with serve(waiting("a"), fleet=fleet) as served:

        async def heard() -> bool:
            return len((await interlock.fleet.view()).kills) == 600

        await until(heard)
        counted = await _tasks(temporal, fleet, EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
        assert sum(counted) >= 100
        assert max(counted) <= 100
        assert max(await _tasks(temporal, fleet, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)) <= 20
        assert sum(await _tasks(temporal, fleet, EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED)) >= 3

        async def told() -> bool:
            return (
                sum(await _tasks(temporal, fleet, EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED))
                == 300
            )

        await until(told)
        assert served.interlock.fleet.id == fleet
        await replay_fleet(served)


async def _tasks(client: Client, id: str, kind: EventType.ValueType) -> list[int]:
    """How many events of a kind each workflow task has brought."""
    found = [0]
    async for event in client.get_workflow_handle(id).fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            found.append(0)
        found[-1] += event.event_type == kind
    return found
