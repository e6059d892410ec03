"""Alerts of real entities and real workers, and runs that do not care what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from interlock import Account, Agent, Limits, Retry
from interlock.accounts import ledger_id
from interlock.contracts import BreakerSettings
from interlock.embedded import free_port, start_server
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel, replay
from tests.alerts.webhooks import KEY, webhook
from tests.billing import Reply
from tests.billing.behaviours import always
from tests.conftest import Serve
from tests.fleet.environment import configured, replay_fleet
from tests.runs.priced import agent, billed
from tests.runs.processes import worker
from tests.runs.test_accounts import start_ledger, status
from tests.sizes import sized
from tests.until import until
from workflows.budget_ledger import BudgetLedger


async def test_an_account_tells_at_80_and_at_100_percent_once_each(serve: Serve) -> None:
    with webhook(lambda number: 500 if number == 0 else 200) as there:
        async with serve(agent("limited")) as served:
            handle = await start_ledger(served.client, served.interlock.queue, "team:red", audit_after=3600)

            async def spend(run: str, usd: str) -> None:
                await handle.execute_update("lease", {"run": run, "usd": usd})
                settlement = {"run": run, "spent_usd": usd, "closed": True}
                for _ in range(2):
                    await handle.execute_update("settle", settlement)

            await handle.execute_update("set_limit", {"usd": "1.00", "window": "total"})
            await handle.execute_update("lease", {"run": "hoards", "usd": "0.10"})
            await spend("a", "0.70")  # with what is leased it is 80 %: not spent yet
            await spend("b", "0.10")
            [alert] = await there.until(1)
            assert len(there.tried) == 2  # refused once
            assert (alert["kind"], alert["fields"]["percent"]) == ("account_limit", "80")
            assert alert["text"] == (
                "account team:red has reached 80 % of its $1.00 for all time: $0.8000 is spent. "
                "interlock budget set team:red --usd N --window total raises it"
            )
            await spend("c", "0.05")
            refused = await handle.execute_update("lease", {"run": "d", "usd": "0.50", "at_least": "0.50"})
            assert Decimal(refused["granted_usd"]) == 0
            again = await handle.execute_update("lease", {"run": "e", "usd": "0.50", "at_least": "0.50"})
            assert Decimal(again["granted_usd"]) == 0
            _, full = await there.until(2)
            assert full["fields"]["percent"] == "100"
            assert "its runs step down" in full["text"]
            await handle.execute_update("set_limit", {"usd": "2.00", "window": "total"})
            await spend("f", "0.80")  # 1.65 of 2.00
            assert (await there.until(3))[2]["fields"]["percent"] == "80"
            await replay(served.client, handle, BudgetLedger)
    assert [each["fields"]["percent"] for each in there.taken] == ["80", "100", "80"]


async def test_a_breaker_that_opens_is_told_of_once_by_whichever_worker(serve: Serve) -> None:
    down = ScriptedModel("goes-down", [Say(failure=Failure("ModelOverloaded", "HTTP 529: overloaded"))])
    caller = Agent(name="caller", instructions="", models=down.model, retry=Retry(attempts=3, initial=0.05))
    with webhook() as there:
        async with serve(caller) as served:
            await configured(served, BreakerSettings(failure_threshold=2, recovery_seconds=600))
            result = await served.run("caller", limits=Limits(seconds=60))
            [opened] = await there.until(1)
            await replay_fleet(served)
    assert result.outcome == "unavailable"  # there is no time to wait for the breaker, and nobody else to ask
    assert (opened["kind"], opened["fields"]["dependency"]) == ("breaker_opened", "scripted:goes-down")
    assert "HTTP 529: overloaded" in opened["text"]
    assert len(there.tried) == 1


@pytest.mark.parametrize("answer", sized([500, None], [None]))
async def test_runs_go_on_while_the_webhook_refuses_or_hangs(answer: int | None, serve: Serve) -> None:
    account = f"user:down-{answer}"
    payer = agent(accounts=[Account(account, usd="0.04")], limits=Limits(step_seconds=30))
    with webhook(lambda number: answer) as there:
        async with billed(always(Reply(text="word " * 200))), serve(payer) as served:
            results = [await served.run("payer")]
            while results[-1].outcome != "unavailable" and len(results) < 100:
                results.append(await served.run("payer"))
            assert (await status(served.client, account)).leases == 0

            async def tried() -> bool:
                return bool(there.tried)

            await until(tried)
            ledger = served.client.get_workflow_handle(ledger_id(account))
            pending = (await ledger.describe()).raw_description.pending_activities
            assert {each.activity_type.name for each in pending} <= {"alert"}
    outcomes = [result.outcome for result in results]
    assert outcomes[0] == "completed"
    assert outcomes[-1] == "unavailable"  # the account is spent, and that is all that was wrong
    assert there.taken == []
    assert there.tried[0]["fields"]["account"] == account


async def test_a_worker_whose_server_goes_away_says_so_once(tmp_path: Path) -> None:
    port, database, log = free_port(), tmp_path / "temporal.db", tmp_path / "worker.log"
    patient: dict[str, object] = {"history.longPollExpirationInterval": "1s"}  # an idle server is heard every second
    server = await start_server(database=database, port=port, ui=False, config=patient)
    client = await Client.connect(server.address)
    with webhook() as there:
        environment = {"INTERLOCK_MIRROR_MAX_AGE": "5", "INTERLOCK_ALERT_WEBHOOK": there.url}
        async with worker(server.address, "tests.telemetry.story:AGENT", "lonely", log, **environment) as process:
            await server.kill()
            [stale] = await there.until(1)
            assert (stale["kind"], stale["fields"]["fleet"]) == ("mirror_stale", "fleet-lonely")
            assert "interlock doctor" in stale["text"]
            await asyncio.sleep(6)  # it looks every five seconds
            assert len(there.tried) == 1
            again = await start_server(database=database, port=port, ui=False, config=patient)
            try:
                await client.service_client.check_health()
                await heard(log, "mirror.back")
                await again.kill()
                assert (await there.until(2))[1]["key"] != stale["key"]
            finally:
                await again.stop()
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
    told = [line for line in parsed(log) if line["event"] == "alert"]
    assert [line["kind"] for line in told] == ["mirror_stale"] * 2
    assert KEY not in log.read_text()


def parsed(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


async def heard(log: Path, event: str) -> None:
    async def said() -> bool:
        return any(line["event"] == event for line in parsed(log))

    await until(said, seconds=90)
