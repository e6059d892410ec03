"""What the provider billed <= what Interlock charged <= the limit: for single runs, whatever the provider does."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from temporalio.testing import WorkflowEnvironment

from interlock import Account, Agent, Limits, Models, Price
from interlock.client import Run
from interlock.contracts import RunStatus
from interlock.testing import ScriptedModel, replay, say
from tests.billing import Reply, Request
from tests.billing.behaviours import always
from tests.conftest import Serve, activities
from tests.runs.priced import CHEAP, GOOD, PRICES, agent, billed
from tests.runs.test_accounts import start_ledger, status
from workflows.budget_ledger import BudgetLedger


def looks(request: Request, n: int) -> Reply:
    """Looks things up as long as it may; then it answers."""
    if request.tools:
        return Reply(tool_calls=[("look", {"number": request.turns})], text="Let me look. " * 10)
    return Reply(text="What I know so far.")


@pytest.mark.parametrize("usd", ["0.02", "0.20"])
async def test_dollars_are_hard_usable_and_end_in_a_final_answer(usd: str, serve: Serve) -> None:
    limit = Decimal(usd)
    async with billed(looks) as server, serve(agent()) as served:
        result = await served.run("payer", limits=Limits(usd=limit))
    assert server.bill.usd == result.usage.usd <= limit
    assert server.bill.usd >= limit * Decimal("0.7")
    assert (result.outcome, result.source, result.output) == ("degraded", "final_answer", "What I know so far.")
    assert f"the budget of ${usd} is spent" == result.reason
    assert result.usage.usd_unsettled == 0
    assert all(request.max_tokens is not None for request in server.requests)


async def test_tokens_are_hard_and_usable(serve: Serve) -> None:
    async with billed(looks) as server, serve(agent()) as served:
        result = await served.run("payer", limits=Limits(tokens=20_000))
    assert server.bill.tokens == result.usage.tokens <= 20_000
    assert server.bill.tokens >= 14_000
    assert (result.outcome, result.source) == ("degraded", "final_answer")
    assert result.reason == "the budget of 20000 tokens is spent"


@pytest.mark.parametrize("usd", ["0", "0.0000001", "0.001"])
async def test_a_budget_too_small_for_one_call_makes_none(usd: str, serve: Serve) -> None:
    async with billed(looks) as server, serve(agent()) as served:
        result = await served.run("payer", limits=Limits(usd=usd))
    assert (result.outcome, result.source, server.requests) == ("unavailable", "notice", [])
    assert "is spent" in (result.reason or "")


MISFORTUNES = {
    "dropped after billing": Reply(text="lost", drop="after_billing"),
    "cut in the middle": Reply(text="half of it", truncate=True),
    "hangs": Reply(text="never", hang=True),
    "empty": Reply(text=""),
    "bad call": Reply(tool_calls=[("look", '{"number": "no')]),
    "refused": Reply(status=500),
}


@pytest.mark.parametrize("kind", MISFORTUNES)
async def test_whatever_goes_wrong_is_charged_and_within_the_limit(kind: str, serve: Serve) -> None:
    def unlucky(request: Request, n: int) -> Reply:
        return MISFORTUNES[kind] if n % 2 else looks(request, n)

    limit = Decimal("0.06")
    limits = Limits(step_seconds=0.5 if kind == "hangs" else 20, tool_calls=1000)
    async with billed(unlucky) as server, serve(agent(limits=limits)) as served:
        result = await served.run("payer", limits=Limits(usd=limit))
    assert server.bill.usd <= result.usage.usd <= limit
    assert len(server.requests) > 1
    if kind in ("dropped after billing", "cut in the middle", "hangs"):
        assert result.usage.usd_unsettled > 0
    else:
        assert result.usage.usd == server.bill.usd


async def test_a_retry_is_made_only_when_the_grant_covers_it(serve: Serve) -> None:
    """A limit that pays for one attempt and a bit: the one that was lost is not tried again."""
    async with billed(always(Reply(text="lost", drop="after_billing"))) as server, serve(agent()) as served:
        result = await served.run("payer", limits=Limits(usd="0.013"))
    assert len(server.requests) == 1
    assert server.bill.usd <= result.usage.usd <= Decimal("0.013")
    assert result.usage.usd == result.usage.usd_unsettled > 0
    assert result.outcome == "unavailable"


@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_a_call_that_was_stopped_in_flight_is_charged(end: str, serve: Serve) -> None:
    async with billed(always(Reply(text="late", delay=30))) as server, serve(agent()) as served:
        run = await served.start("payer", limits=Limits(usd="0.10"))
        await server.until(lambda server: bool(server.requests))
        if end == "cancel":
            await run.cancel()
        else:
            await run.kill("enough")
        await served.end(run)
        status = await run.status()
    assert status.outcome == {"cancel": "cancelled", "kill": "killed"}[end]
    assert server.bill.usd <= status.usage.usd <= Decimal("0.10")
    assert status.usage.usd_unsettled > 0
    assert status.usage.attempts == 1  # what was made is charged, not all that was granted


async def test_limits_add_no_event(serve: Serve) -> None:
    """Run limits are kept without asking anybody: the history is the same with them and without."""

    def brief(request: Request, n: int) -> Reply:
        return looks(request, n) if request.turns < 5 else Reply(text="done")

    events: list[list[str]] = []
    async with billed(brief), serve(agent()) as served:
        for limits in (None, Limits(usd="1.00", tokens=1_000_000)):
            run = await served.start("payer", limits=limits)
            assert (await served.end(run)).outcome == "completed"
            events.append(await activities(served.client, run.id))
    assert events[0] == events[1]
    assert "lease" not in events[0]
    assert "settle" not in events[0]


# -- routing ------------------------------------------------------------------------------------------------

TIERS = Models(simple=CHEAP, medium=GOOD, complex=GOOD)


@pytest.mark.parametrize(
    ("complexity", "usd", "model", "reason"),
    [
        ("simple", "1.00", "cheap", "simple task"),
        ("medium", "1.00", "good", "medium task"),
        ("complex", "1.00", "good", "complex task"),
        ("complex", "0.003", "cheap", f"complex task, but the budget of $0.003 is spent for {GOOD}"),
    ],
)
async def test_the_tier_as_long_as_the_budget_affords_it(
    complexity: str, usd: str, model: str, reason: str, serve: Serve
) -> None:
    async with billed(always(Reply(text="done"))) as server, serve(agent(models=TIERS)) as served:
        run = await served.start("payer", complexity=complexity, limits=Limits(usd=usd))
        assert (await served.end(run)).outcome == "completed"
        assert [request.model for request in server.requests] == [model]
        assert [route.reason for route in (await run.status()).routing] == [reason]


async def test_a_cheaper_model_rather_than_the_beginning_of_an_answer(serve: Serve) -> None:
    async with billed(always(Reply(text="done"))) as server, serve(agent(models=TIERS)) as served:
        run = await served.start("payer", complexity="complex", limits=Limits(usd="0.0075"))
        assert (await served.end(run)).outcome == "completed"
        assert [request.model for request in server.requests] == ["cheap"]
        [route] = (await run.status()).routing
        said = re.fullmatch(rf"complex task, but only (\d+) tokens of an answer fit for {GOOD}", route.reason)
        assert said is not None
        assert 64 <= int(said[1]) < 256


async def test_an_answer_that_ends_where_its_money_does_says_so(serve: Serve) -> None:
    async with billed(always(Reply(text="word " * 1000))) as server, serve(agent()) as served:
        result = await served.run("payer", limits=Limits(usd="0.0075"))
    [request] = server.requests
    assert (result.outcome, result.source) == ("degraded", "model")
    assert result.reason == f"the answer was cut off: the budget had room for {request.max_tokens} tokens of it"


async def test_the_final_answer_is_the_cheapest_models_where_money_is_short(serve: Serve) -> None:
    async with billed(looks) as server, serve(agent(models=TIERS)) as served:
        result = await served.run("payer", complexity="complex", limits=Limits(usd="0.05", tool_calls=1000))
    assert (result.outcome, result.source) == ("degraded", "final_answer")
    assert server.requests[-1].model == "cheap"


@pytest.mark.parametrize(
    ("says", "models"),
    [
        (Reply(text="Simple."), ["cheap", "cheap"]),
        (Reply(text="complex"), ["cheap", "good"]),
        (Reply(text="who knows"), ["cheap", "good"]),
        (Reply(status=400), ["cheap", "good"]),
    ],
    ids=["simple", "complex", "nonsense", "refused"],
)
async def test_auto_asks_the_cheapest_model_once_and_pays_for_it(says: Reply, models: list[str], serve: Serve) -> None:
    def behaviour(request: Request, n: int) -> Reply:
        return says if n == 0 else Reply(text="done")

    async with billed(behaviour) as server, serve(agent(models=TIERS)) as served:
        run = await served.start("payer", complexity="auto", limits=Limits(usd="1.00"))
        result = await served.end(run)
    assert result.outcome == "completed"
    assert [request.model for request in server.requests] == models
    assert server.bill.usd == result.usage.usd
    assert server.requests[0].tools == []


# -- the ladder ---------------------------------------------------------------------------------------------


async def test_the_last_good_answer_stands_in_labelled_with_its_age(serve: Serve) -> None:
    up = True

    def behaviour(request: Request, n: int) -> Reply:
        return Reply(text="42") if up else Reply(status=400)

    async with billed(behaviour), serve(agent("oracle")) as served:
        assert (await served.run("oracle", "the question", user_id="ada")).outcome == "completed"
        up = False
        result = await served.run("oracle", "the question", user_id="ada")
        deadline = time.monotonic() + 10
        while result.source != "cache":  # the index is eventually consistent
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
            result = await served.run("oracle", "the question", user_id="ada")
        assert (result.outcome, result.source) == ("degraded", "cache")
        assert result.output.startswith("[Answer from ")
        assert result.output.endswith("42")
        assert result.as_of is not None
        assert "ModelRejected" in (result.reason or "")
        for other in ({"user_id": "bob", "text": "the question"}, {"user_id": "ada", "text": "another"}):
            assert (await served.run("oracle", **other)).source == "notice"
    async with billed(behaviour), serve(agent("oracle", cache_max_age=0.5)) as served:
        await asyncio.sleep(1.5)
        assert (await served.run("oracle", "the question", user_id="ada")).source == "notice"
    async with billed(behaviour), serve(agent("oracle", ladder=("notice",))) as served:
        run = await served.start("oracle", "the question", user_id="ada")
        assert (await served.end(run)).source == "notice"
        assert "recall" not in await activities(served.client, run.id)


async def test_a_run_out_of_money_may_wait_for_a_person(serve: Serve) -> None:
    def behaviour(request: Request, n: int) -> Reply:
        return looks(request, n) if request.turns < 8 else Reply(text="done")

    async with billed(behaviour) as server, serve(agent(on_budget="pause", limits=Limits(usd="0.50"))) as served:
        run = await served.start("payer", limits=Limits(usd="0.01"))
        deadline = time.monotonic() + 10
        while (status := await run.status()).state != "paused":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert "the budget of $0.01 is spent" in (status.reason or "")
        assert server.bill.usd <= Decimal("0.01")
        await run.extend(Limits(usd="0.40"), by="ada")
        result = await served.end(run)
    assert (result.outcome, result.output) == ("completed", "done")
    assert server.bill.usd == result.usage.usd


async def paused(run: Run, said: str) -> RunStatus:
    deadline = time.monotonic() + 60
    while (status := await run.status()).state != "paused" or said not in (status.reason or ""):
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.05)
    return status


async def test_a_plan_waits_for_money_as_a_step_does_and_a_persons_pause_stays_one(serve: Serve) -> None:
    planner = agent(on_budget="pause", plan=True, limits=Limits(usd="0.50"))
    async with billed(always(Reply(text="done"))) as server, serve(planner) as served:
        run = await served.start("payer", limits=Limits(usd="0.0001"))
        await paused(run, "the budget of $0.0001 is spent; extend the run, or kill it")
        assert server.requests == []
        await run.pause("lunch", by="bob")
        await paused(run, "lunch")
        await run.extend(Limits(usd="0.0002"), by="ada")
        await paused(run, "lunch")  # who extends it does not end another's pause
        await run.resume("back", by="bob")
        await paused(run, "the budget of $0.0002 is spent")
        await run.extend(Limits(usd="0.40"), by="ada")
        assert (await served.end(run)).outcome == "completed"
        told = ["".join(message.text for message in request.messages) for request in server.requests]
        assert [text.count("First write a short plan") for text in told] == [1, 1]


async def test_a_pause_that_comes_while_others_hold_the_money_is_kept(serve: Serve) -> None:
    waits = agent("held", on_budget="pause", accounts=[Account("held", usd="1")], limits=Limits(seconds=5))
    async with billed(always(Reply(text="done"))), serve(waits) as served:
        account = await start_ledger(served.client, served.interlock.queue, "held")
        await account.execute_update("set_limit", {"usd": "1", "window": "day"})
        await account.execute_update("lease", {"run": "other", "usd": "1"})
        run = await served.start("held")
        while "lease" not in await activities(served.client, run.id):
            await asyncio.sleep(0.05)
        await run.pause("lunch", by="bob")
        assert (await paused(run, "")).reason == "lunch"  # the lease has been given up by then
        await run.kill()
        await served.end(run)


async def test_a_run_waits_for_its_account_until_the_window_ends(serve: Serve, skipping: WorkflowEnvironment) -> None:
    """Or until an operator raises its limit."""
    model = ScriptedModel("window", [say("done")], Price(input="1", output="1"))
    waits = Agent(
        name="window", instructions="-", models=model.model, on_budget="pause", accounts=[Account("window", usd="1")]
    )
    async with serve(waits, client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            account = await start_ledger(served.client, served.interlock.queue, "window")
            await account.execute_update("set_limit", {"usd": "0.10", "window": "day"})
            await account.execute_update("lease", {"run": "other", "usd": "0.10"})
            await account.execute_update("settle", {"run": "other", "spent_usd": "0.10", "closed": True})
            first, second = [await served.start("window") for _ in range(2)]
            for run in (first, second):
                why = (await paused(run, "its $0.10 for the day is spent; the window ends ")).reason or ""
                assert "interlock budget set window --usd N --window W, then interlock resume" in why
                assert "it asks again at " in why
            await account.execute_update("set_limit", {"usd": "0.20", "window": "day"})
            await first.resume("there is money again", by="ada")
            assert (await served.end(first)).outcome == "completed"
            await account.execute_update("set_limit", {"usd": "0.10", "window": "day"})
            await skipping.fast_forward(account, timedelta(days=1))
            await skipping.fast_forward(second.handle, timedelta(days=1))
            result = await served.end(second)
            assert result.outcome == "completed"
            now = await status(served.client, "window")
            assert (now.spent_usd, now.leases) == (result.usage.usd, 0)
            await replay(served.client, account, BudgetLedger)


async def test_an_account_with_a_free_model_costs_nothing(serve: Serve) -> None:
    free = {GOOD: PRICES[GOOD].model_copy(update={"input": Decimal(0), "output": Decimal(0), "cached_input": None})}
    broke = agent("free", prices=free, accounts=[Account("user:{user_id}", usd="0")])
    async with billed(always(Reply(text="done"))), serve(broke) as served:
        assert (await served.run("free")).outcome == "completed"
