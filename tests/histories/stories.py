"""What runs go through, each kind once, in few events: the stories whose histories ``record`` writes down.

A story returns the ids of the workflows that tell it. Models follow scripts; all else is as in production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

from temporalio.client import WorkflowFailureError

from interlock import Account, Agent, Limits, Models, Price, Retry, tool
from interlock.accounts import ledger_id
from interlock.client import Run
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.conftest import Served
from tests.fleet.environment import QUICK, configured, in_flight, in_state
from tests.runs.world import World, waits

Story: TypeAlias = Callable[[Served], Awaitable[list[str]]]

PRICE = Price(input="10", output="50")
DOWN = Failure("ModelUnavailable", "it is down")


def model(name: str, turns: list[Say] | Any) -> str:
    return ScriptedModel(name, turns, PRICE).model


def agent(name: str, models: str | Models, *tools: Any, **options: Any) -> Agent:
    settings = {"max_output_tokens": 100, "retry": Retry(attempts=2, initial=0.05, maximum=0.1), **options}
    return Agent(name=name, instructions=f"You are the {name}.", models=models, tools=tools, **settings)


@tool(effect="read")
def look(number: int) -> str:
    """Look at something."""
    return f"seen {number}"


@tool(effect="write")
async def hold() -> str:
    """Hold on."""
    await asyncio.sleep(60)
    return "held"


def looking(turns: int) -> Any:
    """Looks so often, and says so; or when it may not."""

    def turn(messages: Any, tools: Any) -> Say:
        done = sum(message.role == "assistant" for message in messages)
        return call("look", number=done) if tools and done < turns else say("all I know")

    return turn


WORLD = World()
QUOTE = WORLD.quote(valid_for=0.2)
BUY = call("buy", symbol="A")
HELPER = agent("helper", model("helper", [call("look", number=1), say("It was the database.")]), look)


def thinking(messages: Any, tools: Any) -> Say:
    """A plan, four calls of which two cannot be run, a reply that is cut off in the middle of a call, an answer."""
    match sum(message.role == "assistant" for message in messages):
        case 0:
            return say("First look, then answer.")
        case 1:
            return calls(call("look", number=1), call("look", number=2), call("fly"), call("look", number="x"))
        case _ if messages[-1].role == "tool":
            return Say(calls=(("look", '{"numb'),), finish="length")
        case _:
            return say("Seen 1 and 2.")


AGENTS = (
    agent(
        "planner",
        Models(simple=model("judge", [say("complex")]), medium="scripted:judge", complex=model("thinker", thinking)),
        look,
        plan=True,
    ),
    agent("spender", model("spender", looking(99)), look, accounts=[Account("purse", usd="1", window="total")]),
    agent(
        "unlucky",
        Models(
            simple=model("down", [Say(failure=DOWN)]),
            medium=model("refusing", [Say(failure=Failure("ModelRejected", "no such model"))]),
            complex="scripted:down",
        ),
    ),
    agent("buyer", model("buyer", [call("quote", symbol="A"), BUY, BUY, say("no")]), QUOTE,
          WORLD.buy(QUOTE, approval=True)),
    agent("holder", model("holder", [call("hold"), say("held")]), hold),
    agent("walker", model("walker", looking(7)), look),
    HELPER,
    agent("boss", model("boss", [call("helper", input="find out"), say("The helper knows.")]), HELPER),
    agent("repeater", model("repeater", [call("look", number=1)]), look),
    agent("patient", model("patient", [Say(failure=DOWN)])),
)  # fmt: skip


async def planned(served: Served) -> list[str]:
    """Judged, planned, calls side by side, two of which cannot be run, a reply that is cut, an answer."""
    run = await served.start("planner", "plan it", complexity="auto")
    result = await run.result()
    assert (result.outcome, result.by_tool) == ("completed", {"look": 2}), result
    return [run.id]


async def out_of_money(served: Served) -> list[str]:
    """Leases from an account, and answers from what it has when its own budget is spent."""
    run = await served.start("spender", "spend it", limits={"usd": "0.02"})
    result = await run.result()
    assert (result.outcome, result.source) == ("degraded", "final_answer"), result
    ledger = served.client.get_workflow_handle(ledger_id("purse"))
    await ledger.execute_update("set_limit", {"usd": "2", "window": "day"})
    return [run.id, ledger.id]


async def unavailable(served: Served) -> list[str]:
    """Every model fails, and nobody has asked the same before."""
    run = await served.start("unlucky", "try it")
    assert (await run.result()).outcome == "unavailable"
    return [run.id]


async def approved(served: Served) -> list[str]:
    """Ann agrees to a call; what it relies on has changed meanwhile, so it is not made. To the next she does not."""
    run = await served.start("buyer", "buy it")
    await waits(run, "s2c1")
    WORLD.price = 11
    await run.decide("s2c1", approve=True, by="ann")
    [again] = await waits(run, "s3c1")
    await run.decide("s3c1", approve=False, reason="too dear", by="ann", arguments_hash=again.arguments_hash)
    await run.result()
    return [run.id]


async def told(served: Served) -> list[str]:
    """Paused, steered, given more, resumed; and a signal that nobody can read."""
    run = await served.start("walker", "walk", limits={"steps": 2})
    await run.pause("lunch", by="ann")
    await in_state(run, "paused")
    await run.steer("Look twice.", by="ann")
    await run.handle.signal("steer", {"massage": "?"})
    await run.extend(Limits(steps=20), by="ann")
    await run.resume(by="ann")
    assert (await run.result()).outcome == "completed"
    return [run.id]


async def killed(served: Served) -> list[str]:
    """By a person, while a write is in flight; and by Interlock, for making one call again and again."""
    run = await _holding(served, "kill it")
    await run.kill("enough", by="ann")
    anomaly = await served.start("repeater", "again")
    assert ((await run.result()).outcome, (await anomaly.result()).outcome) == ("killed", "killed")
    return [run.id, anomaly.id]


async def cancelled(served: Served) -> list[str]:
    run = await _holding(served, "cancel it")
    await run.cancel()
    assert (await run.result()).outcome == "cancelled"
    return [run.id]


async def family(served: Served) -> list[str]:
    """A run that starts another, and is told of its answer."""
    run = await served.start("boss", "delegate it")
    assert (await run.result()).by_tool == {"helper": 1, "look": 1}
    return [run.id, f"{run.id}-s1c1"]


async def waited_for_a_breaker(served: Served) -> list[str]:
    """A model that is down opens its breaker, a run waits for it, and one probe closes it. Then the switch is used."""
    await configured(served, QUICK)
    for _ in range(2):
        await (await served.start("patient", limits={"seconds": 1})).result()
    run = await served.start("patient", "wait for it", limits={"seconds": 60})
    await in_state(run, "waiting_breaker")
    ScriptedModel("patient", [say("well again")], PRICE)
    assert (await run.result()).outcome == "completed"
    await served.interlock.fleet.kill("user", "mallory", reason="looks stolen", by="ann")
    await served.interlock.fleet.release("user", "mallory", by="ann")
    return [run.id, served.interlock.fleet.id]


async def refused(served: Served) -> list[str]:
    """Tasks that cannot run."""
    malformed = await served.client.start_workflow(
        "AgentRun", {"agent": "walker", "colour": "red"}, id="malformed", task_queue=served.interlock.queue
    )
    unknown = await served.start("nobody", "try it")
    for handle in (malformed, unknown.handle):
        with suppress(WorkflowFailureError):
            await handle.result()
    return [malformed.id, unknown.id]


async def carried(served: Served) -> list[str]:
    """Over several executions."""
    run = await served.start("walker", "walk far")
    assert (await run.result()).outcome == "completed"
    return [run.id]


async def numbered(served: Served) -> list[str]:
    """The first two, of which no call is named by its words any more."""
    return [*await planned(served), (await out_of_money(served))[0]]


async def _holding(served: Served, text: str) -> Run:
    run = await served.start("holder", text)
    await in_flight(run, "tool.hold")
    return run


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        planned, out_of_money, unavailable, approved, told, killed, cancelled, family, waited_for_a_breaker, refused,
        carried, numbered,
    )
}  # fmt: skip
SHORT_EXECUTIONS = frozenset({"carried"})
"""Told on a server that asks workflows to continue as new after 20 events."""
