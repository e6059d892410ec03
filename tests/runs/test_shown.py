"""What operators see of a run while it goes on: search attributes in lists, summaries in history, current details."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client

from interlock import Account, Agent, Limits, Price, tool
from interlock.cli.index import Found
from interlock.client import Run
from interlock.contracts import KillOrder, Message
from interlock.testing import Say, ScriptedModel, call, replay, say
from tests.conftest import Serve, Served
from workflows.agent_run import AgentRun
from workflows.budget_ledger import BudgetLedger
from workflows.fleet_control import FleetControl

PRICE = Price(input="3.00", output="15.00")


@tool(effect="read")
async def search(pattern: str) -> str:
    """Search."""
    if pattern == "slow":
        await asyncio.sleep(3600)
    return f"{pattern}: nothing"


def chaser(name: str, fast: int, *, thinks: bool = False, **options: object) -> Agent:
    """Makes so many quick steps, and then hangs: in a tool, or in the model itself."""

    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        seen = sum(message.role == "tool" for message in messages)
        if seen < fast:
            return call("search", pattern=f"ERROR {seen}")
        return say("late", delay=3600) if thinks else call("search", pattern="slow")

    model = ScriptedModel(name, turn, PRICE)
    agent = {"limits": Limits(usd="0.50", steps=500, tool_calls=500), **options}
    return Agent(name=name, instructions="Look.", models=model.model, tools=[search], **agent)  # type: ignore[arg-type]


async def until(condition: Callable[[Found], bool], served: Served, run: Run) -> Found:
    tries = 0
    while not condition(found := Found.of(await served.interlock.describe(run.id))):
        tries += 1
        assert tries < 600, f"the index still says: {found}"
        await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def hanging(served: Served, agent: str) -> AsyncIterator[Run]:
    run = await served.start(agent, user_id="ada")
    yield run
    await run.kill("seen enough", "tests")
    await replay(served.client, run.handle, AgentRun)


async def details(client: Client, id: str) -> str:
    told: WorkflowMetadata = await client.get_workflow_handle(id).query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return told.current_details


async def events(run: Run) -> Sequence[HistoryEvent]:
    return (await run.handle.fetch_history()).events


def changes(told: Sequence[HistoryEvent]) -> int:
    return sum(event.HasField("upsert_workflow_search_attributes_event_attributes") for event in told)


async def test_a_run_in_a_long_call_has_its_step_cost_and_calls_in_the_index(serve: Serve) -> None:
    async with serve(chaser("one", 2)) as served, hanging(served, "one") as run:
        found = await until(lambda each: each.steps == 3 and each.tool_calls == 3, served, run)
        assert (found.state, found.model) == ("running", "scripted:one")
        status = await run.status()
        assert (found.usd, found.steps) == (float(status.usage.usd), status.step)
        told = await events(run)
        assert changes(told) <= 2 * 3  # one as each call begins, the first of them with the state
        assert not any(event.HasField("timer_started_event_attributes") for event in told)


async def test_a_run_that_hangs_in_its_first_step_shows_it(serve: Serve) -> None:
    async with serve(chaser("first", 0, thinks=True)) as served, hanging(served, "first") as run:
        await until(lambda each: (each.steps, each.state, each.model) == (1, "running", "scripted:first"), served, run)
        assert changes(await events(run)) == 1


async def test_a_chase_is_put_off_and_then_caught_up_with(serve: Serve) -> None:
    async with serve(chaser("chase", 40)) as served, hanging(served, "chase") as run:
        await until(lambda each: each.steps == 41 and each.tool_calls == 41, served, run)
        told = await events(run)
        assert changes(told) < 60  # of 82 calls, each of which changes something
        started = [event for event in told if event.HasField("timer_started_event_attributes")]
        assert started
        assert len(told) / 41 < 14


async def test_every_activity_and_timer_says_what_it_is_for(serve: Serve) -> None:
    account = Account("user:ada-shown", usd="5.00")
    async with serve(chaser("said", 20, accounts=[account])) as served, hanging(served, "said") as run:
        await until(lambda each: each.steps == 21 and each.tool_calls == 21, served, run)
        said = []
        for event in await events(run):
            activity = event.HasField("activity_task_scheduled_event_attributes")
            if activity or event.HasField("timer_started_event_attributes"):
                summary = event.user_metadata.summary
                [text] = await served.client.data_converter.decode([summary], [str])
                said.append(text)
        assert all(said)
        assert {'search(pattern="ERROR 0")', "lease from user:ada-shown", "resolve the agent"} < set(said)
        assert "said · step 1 · $0.0000 of $0.50" in said


async def test_current_details_of_a_run_of_its_account_and_of_the_fleet(serve: Serve) -> None:
    agent = chaser("detailed", 2, accounts=[Account("user:{user_id}", usd="5.00")])
    async with serve(agent) as served:
        async with hanging(served, "detailed") as run:
            await until(lambda each: each.tool_calls == 3, served, run)
            text = await details(served.client, run.id)
            status = await run.status()
            spent = f"`${status.usage.usd:.4f} of $0.50`"
            assert f"**Running** · step 3 of 500 · `scripted:detailed` · {spent}" in text
            assert f"interlock kill {run.id}" in text
            ledger = await details(served.client, "interlock-ledger-user:ada")
            assert "`user:ada` · `$0.0000` of `$5.00` a day" in ledger
            assert "- leased to runs: `$0.2500`, 1 run" in ledger
            fleet = served.client.get_workflow_handle(served.interlock.fleet.id)
            await fleet.signal("kill", KillOrder(scope="user", subject="grace", reason="loops", by="tests"))
            for number in itertools.count():
                text = await details(served.client, fleet.id)
                if "user `grace` by `tests`" in text and "0 runs ended" in text:
                    break
                assert number < 600, text
                await asyncio.sleep(0.05)
            await replay(served.client, fleet, FleetControl)
            await replay(served.client, served.client.get_workflow_handle("interlock-ledger-user:ada"), BudgetLedger)
        assert "**Killed** · step 3 of 500" in await details(served.client, run.id)
