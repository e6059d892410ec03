"""Agents as tools: what a run gives to the runs that it starts, and what they answer."""

from __future__ import annotations

import asyncio
import uuid
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecution

from interlock import Account, Agent, AgentTask, Interlock, Limits, Price
from interlock.client import Run
from interlock.errors import RunFailed
from interlock.spans.span import Span
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.billing import Reply, Request
from tests.conftest import Serve, Served
from tests.runs.families import agent, ask, boss, child_of, paused, replayed
from tests.runs.priced import agent as payer
from tests.runs.priced import billed, look
from tests.sizes import sized
from tests.until import until
from worker import serving

# -- results ----------------------------------------------------------------------------------------------------


async def listed(served: Served, query: str, count: int) -> list[WorkflowExecution]:
    """What the index has, once it has that many: it is a moment behind."""
    async with asyncio.timeout(60):
        while len(found := [each async for each in served.interlock.list(query)]) < count:
            await asyncio.sleep(0.05)
    return found


async def test_its_answer_is_the_result_and_what_it_used_is_the_parents(serve: Serve) -> None:
    researcher = agent("researcher", [call("look", number=1), say("It was the database.")], look)
    async with serve(boss(researcher)) as served:
        run = await served.start("boss", user_id="ada", metadata={"case": "7"})
        result = await served.end(run)
        child = child_of(served, run)
        theirs = await served.end(child)
        trace = await served.interlock.trace(run.id)
        [found] = await listed(served, "AgentUser = 'ada' AND AgentName = 'researcher'", 1)
    assert (result.outcome, result.output) == ("completed", "It was the database.")
    assert theirs.usage.usd > 0
    assert result.usage.usd > theirs.usage.usd
    assert result.by_model.items() > theirs.by_model.items()
    assert (result.tool_calls, result.by_tool) == (2, {"researcher": 1, "look": 1})
    assert found.id == child.id
    assert found.parent_id == run.id
    assert trace.usage.usd == result.usage.usd
    nested = [span for span in _all(trace) if span.kind == "run"]
    assert [span.name for span in nested] == ["invoke_agent boss", "invoke_agent researcher"]
    assert any(span.name.startswith("execute_tool look") for span in _all(nested[1]))


def _all(span: Span) -> list[Span]:
    return [span, *(each for child in span.children for each in _all(child))]


@pytest.mark.parametrize(
    ("script", "options", "told"),
    [
        (lambda m, t: call("look", number=len(m)) if t else say("so far"), {"limits": Limits(steps=1)},
         "so far\n\n[researcher could not finish: the limit of 1 steps is reached]"),
        (lambda m, t: call("look", number=len(m)), {"limits": Limits(tool_calls=2)},
         "ToolFailed: researcher was killed: more than 2 tool calls (by interlock)"),
        ([say("x")], {"limits": Limits(usd="0.0000001")},
         "ToolFailed: researcher is unavailable: the budget of $0.0000001 is spent"),
        ([say("x" * 70_000)], {}, "the first 65536 are above; the whole is the result of run"),
    ],
)  # fmt: skip
async def test_what_the_model_is_told(script: Any, options: Any, told: str, serve: Serve) -> None:
    price = Price(input="1", output="0")
    async with serve(boss(agent("researcher", script, look, price=price, **options))) as served:
        run = await served.start("boss", user_id=uuid.uuid4().hex)  # who has no earlier answer that could stand in
        result = await served.end(run)
        await replayed(served, child_of(served, run))
    assert result.outcome == "completed"
    assert told in result.output
    assert len(result.output) < 66_000


async def test_one_that_no_worker_knows_is_an_error_and_charged_nothing(temporal: Client) -> None:
    """A worker of another release, which serves the agent that asks and no longer the one that is asked."""
    queue = f"test-{uuid.uuid4().hex[:8]}"
    asking, asked = boss(agent("researcher", [say("x")])), [ask("researcher"), say("done")]
    interlock = Interlock(temporal, queue, f"fleet-{queue}")
    async with serving(temporal, [asking], queue=queue, fleet=f"fleet-{queue}"):
        run = await interlock.start(AgentTask(agent="boss", input="go"))
        await run.pause()
        await until(lambda: paused(run))
    same = Agent(name="boss", instructions="-", models=ScriptedModel(asking.chosen.simple[9:], asked).model)
    async with serving(temporal, [same], queue=queue, fleet=f"fleet-{queue}"):
        await run.resume()
        assert (await run.result()).outcome == "completed"
        said = (await interlock.transcript(run.id)).messages[-2]
        with pytest.raises(RunFailed):
            await interlock.get(f"{run.id}-s1c1").result()
    assert said.role == "tool"
    assert said.content.startswith("ToolFailed: researcher could not begin: UnknownAgent: no agent is named")


def test_what_a_model_is_shown_of_an_agent() -> None:
    researcher = agent("researcher", [say("x")], limits=Limits(usd="2"))
    [spec] = boss(researcher).spec().tools
    assert (spec.name, spec.agent, spec.effect) == ("researcher", "researcher", "write")
    assert spec.description == "You are researcher."
    assert spec.agent_limits == Limits(usd="2", step_seconds=60, tool_calls=100)
    long = Agent(name="long", instructions=f"{'a word ' * 90}\n\nmore", models="openai:m")
    assert len(boss(long).spec().tools[0].description) == 300
    described = Agent(name="d", instructions="secret", description="Finds out.", models="openai:m")
    assert boss(described).spec().tools[0].description == "Finds out."
    with pytest.raises(ValueError, match="agent boss: two tools named look"):
        boss(look, agent("look", [say("x")]))


async def test_they_go_three_deep(serve: Serve) -> None:
    def turn(messages: Any, tools: Any) -> Say:
        told = [message.content for message in messages if message.role == "tool"]
        return say(told[-1]) if told else ask("digger")

    tools: list[Any] = []
    digger = agent("digger", turn)
    digger = Agent(name="digger", instructions="Dig.", models=digger.models, tools=tools, max_output_tokens=100)
    tools.append(digger)
    async with serve(digger) as served:
        run = await served.start("digger")
        result = await served.end(run)
        found = await listed(served, "AgentName = 'digger'", 4)
        deepest = served.interlock.get(f"{run.id}-s1c1-s1c1-s1c1")
        await served.end(deepest)
        assert len([each for each in found if each.id.startswith(run.id)]) == 4
    assert "agents that call agents may go 3 deep" in result.output


# -- budgets ----------------------------------------------------------------------------------------------------


async def limits_of(served: Served, run: Run, call_id: str) -> Limits:
    return (await child_of(served, run, call_id).status()).limits


async def test_its_limits_are_taken_out_of_what_remains_and_shared_by_those_side_by_side(serve: Serve) -> None:
    small = agent("small", [say("s")], limits=Limits(usd="0.01", tool_calls=2, steps=3))
    large = agent("large", [say("l")])
    script = [calls(ask("small"), ask("large"), ask("large")), say("done")]
    limits = Limits(usd="1", tokens=90_000, seconds=500, tool_calls=13)
    async with serve(boss(small, large, script=script, limits=limits)) as served:
        run = await served.start("boss")
        assert (await served.end(run)).outcome == "completed"
        given = [await limits_of(served, run, f"s1c{n}") for n in (1, 2, 3)]
        await replayed(served, *(child_of(served, run, f"s1c{n}") for n in (1, 2, 3)))
    assert (given[0].usd, given[0].tool_calls, given[0].steps) == (Decimal("0.01"), 2, 3)
    assert sum(each.usd or 0 for each in given) < 1
    assert given[1].usd == given[2].usd
    assert (given[1].usd or 0) > Decimal("0.3")
    assert sum(each.tokens or 0 for each in given) < 90_000
    assert sum(each.tool_calls or 0 for each in given) <= 10  # three of thirteen are the calls themselves
    assert all(each.seconds is not None and each.seconds <= 500 - 60 for each in given)


def deep(request: Request, n: int) -> Reply:
    """Asks two researchers at a time as long as it may; they look things up as long as they may."""
    if "look" in request.tools:
        return Reply(tool_calls=[("look", {"number": request.turns})], text="Looking. " * 5)
    if "researcher" in request.tools:
        return Reply(tool_calls=[("researcher", {"input": f"{n} {side}"}) for side in "ab"])
    return Reply(text="What I know.")


@pytest.mark.parametrize("every", sized([0, 4], [4]))
async def test_billed_is_charged_and_charged_is_within_the_limit(every: int, serve: Serve) -> None:
    """Also where every fourth answer is paid for and lost."""

    def unlucky(request: Request, n: int) -> Reply:
        return Reply(text="lost", drop="after_billing") if every and n % every == 0 else deep(request, n)

    limit = Decimal("0.15")
    limits = Limits(step_seconds=5, tool_calls=1000, usd="0.05")
    researcher = payer("researcher", limits=limits)
    asking = payer("boss", tools=[researcher], limits=Limits(step_seconds=5, tool_calls=1000))
    async with billed(unlucky) as server, serve(asking) as served:
        run = await served.start("boss", limits=Limits(usd=limit))
        result = await served.end(run)
        await replayed(served, child_of(served, run, "s1c1"), child_of(served, run, "s1c2"))
    assert server.bill.usd <= result.usage.usd <= limit
    assert server.bill.usd >= limit / (4 if every else 2)  # what may have been billed is charged
    assert result.outcome in ("degraded", "unavailable")
    if not every:
        assert result.usage.usd == server.bill.usd


async def test_an_account_of_both_is_leased_from_once(serve: Serve) -> None:
    name = f"shared-{uuid.uuid4().hex[:8]}"
    account = Account(name, usd="5", window="total")
    researcher = agent("researcher", [call("look"), say("found")], look, accounts=[account])
    async with serve(boss(researcher, accounts=[account, Account(f"{name}-boss", usd="5")])) as served:
        run = await served.start("boss")
        result = await served.end(run)
        for status in [await served.interlock.account(each).status() for each in (name, f"{name}-boss")]:
            # The boss's own account pays for what it has done for it.
            assert (status.spent_usd, status.leases) == (result.usage.usd, 0)
        await replayed(served, child_of(served, run))
