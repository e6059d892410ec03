"""Attempts that a worker's own gate refused: what the next attempt, the bill and the report of a kill make of them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

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


async def attempted(run: Any, call: Any, **info: Any) -> tuple[ApplicationError, list[Any]]:
    """How an attempt failed, and what its last heartbeat said."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(RUN, start_to_close_timeout=timedelta(seconds=10), **info)
    beats: list[Any] = [[]]
    environment.on_heartbeat = lambda *details: beats.append(list(details))
    with pytest.raises(ApplicationError) as failed:
        await environment.run(run, call)
    return failed.value, beats[-1]


# -- models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False], ids=["the switch is out of sight", "no conversation to be had"])
async def test_what_never_left_the_worker_is_on_record_as_unbilled(
    kept: bool, temporal: Client, tmp_path: Path
) -> None:
    model = ScriptedModel("refused", [say("never")], Price(input="1", output="1"))
    spec = Agent(name="a", instructions="", models=model.model).spec({model.model: model.price})
    transcripts, providers = Transcripts(temporal), Providers({}, Scripted())
    if kept:
        transcripts._keep(RUN.workflow_run_id or "", Transcript(spec=spec))
    journal = Journal(tmp_path / "journal.db", temporal.data_converter)
    activity = ModelActivity(providers, transcripts, journal, gate(temporal, max_age=0.0), Predicates(()))
    grant = Grant(input_tokens=10, max_tokens=10, attempts=4, usd=Decimal(1))
    call = ModelCall(key="k", step=1, model=model.model, base=0, delta=(), grant=grant, price=model.price)
    kind = "FleetUnreachable" if kept else "ModelUnavailable"
    try:
        error, [told] = await attempted(activity.model, call)
        assert (error.type, told) == (kind, [Attempt(number=1, fate="unbilled", error=kind)])
        error, [told] = await attempted(activity.model, call, attempt=2, heartbeat_details=[told])
        assert [(each.number, each.fate) for each in told] == [(1, "unbilled"), (2, "unbilled")]
        assert [each.fate for each in error.details[0]] == ["unbilled"]
    finally:
        journal.close()


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
