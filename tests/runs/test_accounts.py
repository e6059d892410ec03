"""Shared accounts: no number of runs, and no way to end them, takes more from one than it has."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy

from interlock import Account, Limits
from interlock.accounts import ledger_id
from interlock.contracts import LedgerSettings, LedgerState, LedgerStatus
from interlock.testing import replay
from tests.billing import Reply, Request
from tests.billing.behaviours import always
from tests.conftest import Serve, activities
from tests.runs.priced import agent, billed
from tests.sizes import sized
from workflows.budget_ledger import BudgetLedger

TURNS = 3


def slow(request: Request, n: int) -> Reply:
    """Answers, and takes its time."""
    if request.tools and request.turns < TURNS:
        return Reply(tool_calls=[("look", {"number": request.turns})], text="x" * 400, delay=0.1)
    return Reply(text="done " * 20, delay=0.1)


def unlucky(request: Request, n: int) -> Reply:
    """And now and then fails: before billing, after it, or by saying nothing at all."""
    match n * 7919 % 40:
        case 0 | 1:
            return Reply(status=529)
        case 2:
            return Reply(text="lost", drop="after_billing")
        case 3:
            return Reply(text="half", truncate=True)
        case 4:
            return Reply(hang=True)
    return slow(request, n)


def ledger(client: Client, account: str) -> WorkflowHandle[Any, Any]:
    return client.get_workflow_handle(ledger_id(account))


async def status(client: Client, account: str) -> LedgerStatus:
    found: LedgerStatus = await ledger(client, account).query("status", result_type=LedgerStatus)
    return found


async def start_ledger(client: Client, queue: str, account: str, **settings: Any) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(
        "BudgetLedger",
        LedgerState(account=account, settings=LedgerSettings(**settings)),
        id=ledger_id(account),
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


async def over_midnight() -> None:
    """A day that ends in the middle of a test would be two, each with money of its own."""
    now = datetime.now(UTC)
    left = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now
    if left < timedelta(seconds=45):
        await asyncio.sleep(left.total_seconds() + 1)


@pytest.mark.parametrize("provider", sized([slow, unlucky], [unlucky]))
async def test_fifty_runs_of_one_user_share_a_day_that_pays_for_ten(
    provider: Callable[[Request, int], Reply], serve: Serve
) -> None:
    # An undisturbed run costs about 0.010.
    limit, user = sized(Decimal("0.10"), Decimal("0.06")), f"fifty-{provider.__name__}"
    limits = Limits(step_seconds=4 if provider is unlucky else 5, tool_calls=100, seconds=60)
    payer = agent(accounts=[Account("user:{user_id}", usd=limit)], limits=limits, max_output_tokens=300)
    await over_midnight()
    async with billed(provider) as server, serve(payer) as served:
        runs = await asyncio.gather(*(served.start("payer", user_id=user) for _ in range(sized(50, 14))))
        results = await asyncio.gather(*(run.result() for run in runs))
        for run in runs[:: sized(1, 4)]:
            await served.end(run)
        settled = await status(served.client, f"user:{user}")
        await replay(served.client, ledger(served.client, f"user:{user}"), BudgetLedger)
    charged = sum((result.usage.usd for result in results), Decimal(0))
    assert server.bill.usd <= charged == settled.spent_usd <= limit
    # What is lost with its reply is charged at its bound; all else that is charged was billed.
    assert server.bill.usd + settled.unsettled_usd >= charged >= limit * Decimal("0.7")
    assert settled.leases == settled.leased_usd == 0
    outcomes = Counter(result.outcome for result in results)
    assert outcomes["completed"] >= (sized(7, 4) if provider is slow else sized(2, 1))
    reasons = [result.reason or "" for result in results if result.outcome != "completed"]
    assert any(f"account user:{user}: its ${limit} for the day is spent; the window ends 2" in why for why in reasons)


async def test_a_run_leases_by_the_tranche_and_settles_once(serve: Serve) -> None:
    def brief(request: Request, n: int) -> Reply:
        return Reply(tool_calls=[("look", {"number": n})]) if request.turns < 8 else Reply(text="done")

    rich = agent(
        accounts=[Account("user:{user_id}", usd="5.00"), Account("team of {agent}", usd="100", window="month")]
    )
    async with billed(brief) as server, serve(rich) as served:
        run = await served.start("payer", user_id="rich")
        assert (await served.end(run)).outcome == "completed"
        made = Counter(await activities(served.client, run.id))
        assert (made["lease"], made["settle"]) == (2, 2)  # one tranche and one settlement for each account
        for account in ("user:rich", "team of payer"):
            left = await status(served.client, account)
            assert left.spent_usd == server.bill.usd
            assert left.leases == 0


async def test_a_terminated_run_is_found_out_and_charged_in_full(serve: Serve) -> None:
    payer = agent(accounts=[Account("user:{user_id}", usd="1.00")], limits=Limits(step_seconds=40))
    async with billed(always(Reply(text="late", delay=30))) as server, serve(payer) as served:
        await start_ledger(served.client, served.interlock.queue, "user:gone", audit_after=0.5)
        run = await served.start("payer", user_id="gone")
        await server.until(lambda server: bool(server.requests))
        leased = (await status(served.client, "user:gone")).leased_usd
        assert leased > 0
        await run.handle.terminate("from outside")
        deadline = time.monotonic() + 15
        while (found := await status(served.client, "user:gone")).leases:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert found.spent_usd == found.unsettled_usd == leased >= server.bill.usd
        await replay(served.client, ledger(served.client, "user:gone"), BudgetLedger)


async def test_a_run_under_way_is_not_taken_for_gone(serve: Serve) -> None:
    payer = agent(accounts=[Account("user:{user_id}", usd="1.00")], limits=Limits(step_seconds=20))
    async with billed(always(Reply(text="done", delay=2.5))) as server, serve(payer) as served:
        await start_ledger(served.client, served.interlock.queue, "user:here", audit_after=0.3)
        result = await served.run("payer", user_id="here")
        assert (await status(served.client, "user:here")).spent_usd == result.usage.usd == server.bill.usd


async def test_an_operator_outranks_the_agent_and_bad_requests_change_nothing(serve: Serve) -> None:
    async with (
        billed(always(Reply(text="done"))) as server,
        serve(agent(accounts=[Account("user:x", usd="5")])) as served,
    ):
        handle = await start_ledger(served.client, served.interlock.queue, "user:x")
        bad: list[tuple[str, Any, str]] = [
            ("set_limit", {"usd": "-1", "window": "day"}, "usd"),
            ("set_limit", {"usd": "NaN", "window": "day"}, "usd"),
            ("set_limit", {"usd": "1", "window": "week"}, "window"),
            ("set_limit", {"usd": "1", "window": "day", "who": "me"}, "who: unknown field"),
            ("lease", {"run": "r", "usd": "1"}, "has no limit"),
            ("lease", {"run": "r", "usd": "-1"}, "usd"),
            ("settle", {"run": "r"}, "spent_usd"),
            ("settle", [], "Settlement"),
        ]
        for update, payload, said in bad:
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await handle.execute_update(update, payload)
            assert said in str(refused.value.cause)
        malformed: list[Any] = [[1], "x", {"usd": "1"}, {"run": "r", "usd": "-1", "outcome": "completed"}]
        for payload in malformed:
            await handle.signal("observe", payload)
        assert (await status(served.client, "user:x")).runs == 0
        await handle.execute_update("set_limit", {"usd": "0", "window": "total"})
        result = await served.run("payer")
        assert (result.outcome, server.requests) == ("unavailable", [])
        await handle.execute_update("set_limit", {"usd": "1", "window": "total"})
        assert (await served.run("payer")).outcome == "completed"
        plain = await handle.execute_update("lease", {"run": "r", "usd": "0.30"})
        assert Decimal(plain["granted_usd"]) == Decimal("0.30")
        most = await handle.execute_update("lease", {"run": "s", "usd": "9.00"})
        assert Decimal(most["granted_usd"]) + Decimal("0.30") + server.bill.usd == 1
        await replay(served.client, handle, BudgetLedger)


@contextmanager
def webhook(status_code: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real server that takes alerts."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status_code)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alerts", heard
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("answer", sized([200, 500], [500]))
async def test_a_run_far_dearer_than_the_others_raises_an_alert(
    answer: int, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"dear{answer}"

    def behaviour(request: Request, n: int) -> Reply:
        dear = "dear" in request.messages[0].text
        return Reply(text="word " * (4000 if dear else 10))

    with webhook(answer) as (url, heard):
        monkeypatch.setenv("INTERLOCK_ALERT_WEBHOOK", url)
        async with billed(behaviour), serve(agent(name, max_output_tokens=8000)) as served:
            usual = await asyncio.gather(*(served.start(name) for _ in range(10)))
            await asyncio.gather(*(served.end(run) for run in usual))
            assert heard == []
            run = await served.start(name, "a dear one")
            assert (await served.end(run)).outcome == "completed"
            deadline = time.monotonic() + 10
            while not heard:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert heard[0]["kind"] == "cost_outlier"
            assert heard[0]["fields"]["run"] == run.id
            assert run.id in heard[0]["text"]
            assert (await status(served.client, f"agent:{name}")).runs == 11
