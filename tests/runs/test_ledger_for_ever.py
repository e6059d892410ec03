"""A ledger continues as new for ever, and loses neither money nor a lease on the way."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from temporalio.client import Client

from interlock import Account
from interlock.accounts import ledger_id
from interlock.testing import replay, temporal_server
from tests.billing import Reply
from tests.billing.behaviours import always
from tests.conftest import Serve
from tests.runs.priced import agent, billed
from tests.runs.test_accounts import status
from workflows.budget_ledger import BudgetLedger


async def executions(client: Client, ledger: str) -> list[str]:
    """The executions of a ledger's chain, newest first."""
    return [each.run_id async for each in client.list_workflows(f"WorkflowId = '{ledger}'")]


async def test_a_ledger_is_carried_over_with_runs_under_way(serve: Serve) -> None:
    payer = agent(accounts=[Account("user:{user_id}", usd="1.00")])
    async with (
        temporal_server(config={"limit.historyCount.suggestContinueAsNew": 40}) as environment,
        billed(always(Reply(text="done", delay=0.2))) as server,
        serve(payer, client=environment.client) as served,
    ):
        client, ledger = environment.client, ledger_id("user:long")
        for _ in range(4):
            runs = await asyncio.gather(*(served.start("payer", user_id="long") for _ in range(6)))
            for run in runs:
                assert (await served.end(run)).outcome == "completed"
        for _ in range(100):
            if len(await executions(client, ledger)) > 2:
                break
            await asyncio.sleep(0.1)
        chain = await executions(client, ledger)
        assert len(chain) > 2
        left = await status(client, "user:long")
        assert left.spent_usd == server.bill.usd > 0
        assert left.leases == 0
        assert left.remaining_usd == Decimal(1) - server.bill.usd
        await replay(client, client.get_workflow_handle(ledger, run_id=chain[-1]), BudgetLedger)
