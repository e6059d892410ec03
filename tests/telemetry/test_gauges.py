"""The figures that a worker asks the server for: one that cannot be had stands in nobody's way, itself included."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.gauges import counting
from interlock import Account, Agent, Price
from interlock.accounts import ledger_id
from interlock.contracts import LedgerStatus
from interlock.telemetry.metrics import of_client
from interlock.testing import ScriptedModel, say
from tests.telemetry.watched import events, lines, samples, seeing

ODD, LATER = f"a-{uuid.uuid4().hex[:8]}", f"b-{uuid.uuid4().hex[:8]}"
AGENT = Agent(
    name="gauged",
    instructions="",
    models=ScriptedModel("gauged", [say("x")], Price(input="3.00", output="15.00")).model,
    accounts=[Account(ODD, usd="1"), Account(LATER, usd="1")],
)
GOOD = LedgerStatus(
    account="any",
    limit_usd=Decimal(4),
    window=None,
    window_ends=None,
    spent_usd=Decimal(1),
    unsettled_usd=Decimal(0),
    leased_usd=Decimal(1),
    remaining_usd=Decimal(2),
    leases=1,
    runs=1,
)


@workflow.defn(name="OddLedger")
class OddLedger:
    """Stands where a ledger should, and answers what no ledger does."""

    def __init__(self) -> None:
        self._answer: object = "nonsense"

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def mend(self, answer: dict[str, object]) -> None:
        self._answer = answer

    @workflow.query
    def status(self) -> object:
        return self._answer


async def test_a_figure_that_cannot_be_read_is_told_and_asked_for_again(temporal: Client) -> None:
    queue = f"odd-{uuid.uuid4().hex[:8]}"
    async with (
        seeing(temporal, metrics=True) as (client, url),
        Worker(client, task_queue=queue, workflows=[OddLedger], workflow_runner=UnsandboxedWorkflowRunner()),
    ):
        odd = await client.start_workflow("OddLedger", id=ledger_id(ODD), task_queue=queue)
        later = await client.start_workflow("OddLedger", id=ledger_id(LATER), task_queue=queue)
        await later.signal("mend", GOOD)

        async def shows(account: str) -> None:
            async with asyncio.timeout(60):
                while ("interlock_ledger_used_ratio", (("account", account),)) not in samples(url):
                    await asyncio.sleep(0.05)

        with lines() as out:
            async with counting(client, [AGENT], of_client(client), every=timedelta(milliseconds=50)):
                await shows(LATER)
                failed = [each for each in events(out) if each["event"] == "gauge.failed"]
                assert {(each["level"], each["account"]) for each in failed} == {("warning", ODD)}
                await odd.signal("mend", GOOD)
                await shows(ODD)
        assert samples(url)["interlock_ledger_used_ratio", (("account", ODD),)] == pytest.approx(0.5)
        for handle in (odd, later):
            await handle.terminate()
