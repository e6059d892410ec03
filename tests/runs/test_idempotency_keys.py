"""An idempotent call keeps its key, whatever becomes of its attempts, its run and its history."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

from temporalio.client import Client

from interlock import Retry, ToolContext, tool
from interlock.testing import call
from tests.conftest import Serve
from tests.runs import processes
from tests.runs.world import agent


def table(path: Path) -> list[tuple[str, str, int]]:
    with sqlite3.connect(path) as database:
        return database.execute("SELECT key, seat, attempts FROM booked ORDER BY seat").fetchall()


def booking(path: Path, failures: int) -> Any:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE booked (key TEXT PRIMARY KEY, seat TEXT, attempts INTEGER)")

    @tool(effect="idempotent")
    def book(seat: str, context: ToolContext) -> str:
        """Book a seat, once for each key, and lose the answer."""
        with sqlite3.connect(path) as database:
            database.execute(
                "INSERT INTO booked VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET attempts = attempts + 1",
                (context.idempotency_key, seat),
            )
            query = "SELECT attempts FROM booked WHERE key = ?"
            [(attempts,)] = database.execute(query, (context.idempotency_key,)).fetchall()
        if attempts <= failures:
            raise RuntimeError("the answer was lost")
        return f"{seat} is booked"

    return book


async def test_an_idempotent_call_keeps_its_key_over_attempts_and_no_two_calls_share_one(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "booked.db"
    turns = [call("book", seat="1A"), call("book", seat="1A"), call("book", seat="1B")]
    async with serve(agent("booker", turns, [booking(path, failures=2)])) as served:
        results = await asyncio.gather(*(served.run("booker") for _ in range(3)))
    assert {result.outcome for result in results} == {"completed"}
    rows = table(path)
    assert [(seat, attempts) for _, seat, attempts in rows] == [("1A", 3)] * 6 + [("1B", 3)] * 3


async def test_the_key_survives_a_reset_of_the_run_by_the_temporal_command(
    serve: Serve, temporal: Client, tmp_path: Path
) -> None:
    path = tmp_path / "booked.db"
    turns = [call("book", seat="1A"), call("book", seat="1B")]
    async with serve(agent("reset", turns, [booking(path, failures=0)])) as served:
        run = await served.start("reset")
        await run.result()
        history = await run.handle.fetch_history()
        first = [
            event.event_id for event in history.events if event.HasField("workflow_task_completed_event_attributes")
        ]
        await processes.command(
            temporal, "workflow", "reset", "-w", run.id, "--event-id", str(first[1]), "--reason", "again",
        )  # fmt: skip
        again = served.interlock.get(run.id)
        result = await again.result()
        assert result.outcome == "completed"
    # Everything was booked again, under the keys it had: one row for each call, and each was asked for twice.
    assert [(seat, attempts) for _, seat, attempts in table(path)] == [("1A", 2), ("1B", 2)]


async def test_the_key_survives_a_reset_of_the_activity_by_the_temporal_command(
    serve: Serve, temporal: Client, tmp_path: Path
) -> None:
    keys: list[tuple[str, int]] = []
    enough = asyncio.Event()

    @tool(effect="idempotent", retry=Retry(attempts=50, initial=0.2, maximum=0.2, jitter=0))
    async def book(context: ToolContext) -> str:
        """Book, when the test has seen enough."""
        keys.append((context.idempotency_key, context.attempt))
        if not enough.is_set():
            raise RuntimeError("try again")
        return "booked"

    def counts_again() -> bool:
        """From 1, or from 2 where the reset came in the middle of an attempt."""
        return any(later[1] <= earlier[1] for earlier, later in pairwise(keys))

    async with serve(agent("activity-reset", [call("book")], [book])) as served:
        run = await served.start("activity-reset")
        for _ in range(500):
            if len(keys) >= 3:
                break
            await asyncio.sleep(0.05)
        described = json.loads(
            await processes.command(temporal, "workflow", "describe", "-w", run.id, "--output", "json")
        )
        [activity] = described["pendingActivities"]
        await processes.command(
            temporal, "activity", "reset", "-w", run.id, "--activity-id", activity["activityId"],
        )  # fmt: skip
        for _ in range(500):
            if counts_again():
                break
            await asyncio.sleep(0.05)
        enough.set()
        await served.end(run)
    assert counts_again()
    assert len({key for key, _ in keys}) == 1


async def test_keys_and_what_is_known_survive_continue_as_new(tmp_path: Path, serve: Serve, forgetful: Client) -> None:
    path, quoted = tmp_path / "booked.db", list[int]()

    @tool(effect="read", valid_for=600, cache=True)
    def quote() -> int:
        """A price."""
        quoted.append(1)
        return 10

    turns = [call("quote"), *(call("book", seat=f"{number:02}") for number in range(12)), call("quote")]
    booker = agent("continued", turns, [booking(path, failures=1), quote])
    async with serve(booker, client=forgetful) as served:
        run = await served.start("continued", f"go {uuid.uuid4().hex}")
        result = await served.end(run)
        assert result.outcome == "completed"
        last = await forgetful.get_workflow_handle(run.id).describe()
        assert last.run_id != run.handle.first_execution_run_id
    assert [attempts for _, _, attempts in table(path)] == [2] * 12
    assert quoted == [1]
