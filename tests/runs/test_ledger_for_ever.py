"""A ledger continues as new for ever, and loses neither money nor a lease on the way."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from temporalio.client import Client

from interlock import Account
from interlock.accounts import ledger_id
from interlock.errors import BadKey
from interlock.open_runs import refuse_foreign
from interlock.testing import replay, temporal_server
from tests.billing import Reply
from tests.billing.behaviours import always
from tests.conftest import Serve
from tests.runs.priced import agent, billed
from tests.runs.sealed import some_keys, with_keys
from tests.runs.test_accounts import start_ledger, status
from tests.sizes import sized
from workflows.budget_ledger import BudgetLedger


async def executions(client: Client, ledger: str) -> list[str]:
    """The executions of a ledger's chain, newest first."""
    return [each.run_id async for each in client.list_workflows(f"WorkflowId = '{ledger}'")]


async def test_a_ledger_is_carried_over_with_runs_under_way(serve: Serve, forgetful: Client) -> None:
    payer = agent(accounts=[Account("user:{user_id}", usd="1.00")])
    async with (
        billed(always(Reply(text="done", delay=0.2))) as server,
        serve(payer, client=forgetful) as served,
    ):
        client, ledger = forgetful, ledger_id("user:long")
        for _ in range(sized(4, 2)):
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


async def test_what_an_account_has_spent_is_not_forgotten_by_a_worker_without_the_key(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It lends nothing there, and such a worker does not start."""
    keys, payer = some_keys(), agent(accounts=[Account("sealed", usd="1.00")])
    async with temporal_server(config={"limit.historyCount.suggestContinueAsNew": 10}) as environment:
        client = with_keys(environment.client, keys, tmp_path / "store")
        other = with_keys(environment.client, some_keys(), tmp_path / "store")
        async with serve(payer, client=client) as served:
            queue = served.interlock.queue
            account = await start_ledger(client, queue, "sealed")
            await account.execute_update("set_limit", {"usd": "1.00", "window": "total"})
            first = (await account.describe()).run_id
            for number in range(1, 20):
                told = {"run": "r", "spent_usd": f"{number}e-2", "closed": False}
                await account.execute_update("lease", {"run": "r", "usd": "0.05"})
                await account.execute_update("settle", told)
                if (await account.describe()).run_id != first:
                    break
            held = (await status(client, "sealed")).leased_usd
            assert held > 0
            await replay(client, account, BudgetLedger)
            # Its task fails there, and with it all that it would have lent: where it reads what was carried to it, and
            # where it reads what it had accepted before.
            second = (await account.describe()).run_id
            for execution, said in (
                (second, "account sealed: what it has spent and lent cannot be"),
                (first, "cannot be"),
            ):
                with pytest.raises(RuntimeError, match="Workflow activation completion failed"):
                    await replay(other, client.get_workflow_handle(account.id, run_id=execution), BudgetLedger)
                assert f"{said} read" in caplog.text
                caplog.clear()
            with pytest.raises(BadKey, match=f"account 'sealed' has spent.*encrypted with key {keys.first}"):
                await refuse_foreign(other, queue, some_keys())
            await refuse_foreign(client, queue, keys)
