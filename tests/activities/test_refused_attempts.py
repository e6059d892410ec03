"""Attempts that a worker's own gate refused: what the next attempt, the bill and the report of a kill make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import on_record
from activities.gate import Gate
from activities.journal import Journal
from activities.mirror import Mirror
from activities.model import ModelActivity
from activities.predicates import Predicates
from activities.providers import Providers
from activities.providers.scripted import Scripted
from activities.reports import Reports
from activities.tools import tool_activity
from activities.transcripts import Transcripts
from interlock import Agent, Price, tool
from interlock.contracts import Attempt, Grant, Kill, ModelCall, ToolCall, Transcript
from interlock.fleet import FleetView
from interlock.testing import ScriptedModel, say

RUN = ActivityEnvironment.default_info()


def gate(client: Client, *, max_age: float = 60.0, killed: bool = False) -> Gate:
    mirror = Mirror(client, "nowhere", max_age)
    if killed:
        mirror.view = FleetView(kills={"all": Kill(scope="all", subject="", at=datetime.now(UTC))})
    return Gate(mirror, Reports(client, "nowhere", "here"))


async def attempted(
    run: Any, call: Any, client: Client | None = None, **info: Any
) -> tuple[ApplicationError, list[Any]]:
    """How an attempt failed, and what its last heartbeat said."""
    environment = ActivityEnvironment(client)
    environment.info = dataclasses.replace(RUN, start_to_close_timeout=timedelta(seconds=10), **info)
    beats: list[Any] = [[]]
    environment.on_heartbeat = lambda *details: beats.append(list(details))
    with pytest.raises(ApplicationError) as failed:
        await environment.run(run, call)
    return failed.value, beats[-1]


# -- models -----------------------------------------------------------------------------------------------------


MODEL = ScriptedModel("refused", [say("never")], Price(input="1", output="1"))
GRANT = Grant(input_tokens=10, max_tokens=10, attempts=4, usd=Decimal(1))
CALL = ModelCall(key="k", step=1, model=MODEL.model, base=0, delta=(), grant=GRANT, price=MODEL.price)


@asynccontextmanager
async def asking(temporal: Client, directory: Path, gate: Gate, *, kept: bool = True) -> AsyncIterator[Any]:
    """The activity of a worker that has the conversation ``kept``, or cannot find it."""
    transcripts = Transcripts(temporal)
    if kept:
        spec = Agent(name="a", instructions="", models=MODEL.model).spec({MODEL.model: MODEL.price})
        transcripts._keep(RUN.workflow_run_id or "", Transcript(spec=spec))
    journal = Journal(directory / "journal.db", temporal.data_converter)
    try:
        yield ModelActivity(Providers({}, Scripted()), transcripts, journal, gate, Predicates(())).model
    finally:
        await journal.close()


@pytest.mark.parametrize("kept", [True, False], ids=["the switch is out of sight", "no conversation to be had"])
async def test_what_never_left_the_worker_is_on_record_as_unbilled(
    kept: bool, temporal: Client, tmp_path: Path
) -> None:
    kind = "FleetUnreachable" if kept else "ModelUnavailable"
    async with asking(temporal, tmp_path, gate(temporal, max_age=0.0), kept=kept) as model:
        error, [told] = await attempted(model, CALL)
        assert (error.type, told) == (kind, [Attempt(number=1, fate="unbilled", error=kind)])
        error, [told] = await attempted(model, CALL, attempt=2, heartbeat_details=[told])
    assert [(each.number, each.fate) for each in told] == [(1, "unbilled"), (2, "unbilled")]
    assert [each.fate for each in error.details[0]] == ["unbilled"]


async def test_after_a_reset_nothing_is_sent_before_the_server_has_it_on_record(
    temporal: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it never has: it does not know the run."""
    monkeypatch.setattr(on_record, "PATIENCE", 0.2)
    before = [Attempt(number=1, fate="unknown")]
    async with asking(temporal, tmp_path, gate(temporal)) as model:
        error, [told] = await attempted(model, CALL, temporal, heartbeat_details=[before])
    assert error.type == "ModelUnavailable"
    assert "has not taken attempt 1 on record after a reset; nothing was sent" in error.message
    assert told == before
    assert MODEL.asked == 0


# -- tools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attempt", "began"), [(1, "False"), (2, "True")])
async def test_a_kill_says_that_a_call_had_not_begun_of_its_first_attempt_alone(
    attempt: int, began: str, temporal: Client
) -> None:
    @tool(effect="idempotent")
    async def book() -> str:
        """Book."""
        return "booked"

    call = ToolCall(call_id="s1c1", key="k", tool="book", arguments="{}", agent="a", user_id="u", step=1)
    error, _ = await attempted(tool_activity(book, gate(temporal, killed=True)), call, attempt=attempt)
    assert error.type == "RunKilled"
    assert error.details[0]["began"] == began
