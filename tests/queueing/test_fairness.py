"""Who goes first where runs wait for a worker: the user whose turn it is, and before that the priority."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from temporalio.api.common.v1 import Priority
from temporalio.client import Client

from interlock import Agent, AgentTask, Interlock
from interlock.client import Run
from interlock.contracts import Message, fairness_key
from interlock.errors import BadRequest
from interlock.queues import Limits
from interlock.testing import Say, ScriptedModel, replay, say
from tests.conftest import Serve
from tests.sizes import sized
from worker import serving
from workflows.agent_run import AgentRun

BURST = sized(500, 60)


def note_who(note: Callable[[str], None]) -> Callable[[Sequence[Message], Sequence[str]], Say]:
    """A model that answers at once, and notes who has asked: the first word of a run's input."""

    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        [first, *_] = [message.text for message in messages if message.role == "user"]
        note(first.split()[0])
        return say("done")

    return turn


async def many(interlock: Interlock, count: int, **task: object) -> list[Run]:
    """Start runs, some at a time."""
    runs: list[Run] = []
    for _ in range(0, count, 25):
        runs += await asyncio.gather(*(interlock.start({"agent": "a", **task}) for _ in range(min(25, count))))
    return runs


async def ended(runs: Sequence[Run]) -> None:
    """None is left on the server of the session."""
    for at in range(0, len(runs), 25):
        await asyncio.gather(*(run.handle.terminate() for run in runs[at : at + 25]), return_exceptions=True)


async def test_a_burst_of_one_user_does_not_keep_another_waiting(temporal: Client) -> None:
    asked: list[str] = []
    agent = Agent(name="a", instructions="", models=ScriptedModel("burst", note_who(asked.append)).model)
    queue = f"burst-{uuid.uuid4().hex[:8]}"
    interlock = Interlock(temporal, queue, f"fleet-{queue}")
    burst = await many(interlock, BURST, input="many of them", user_id="loud")
    try:
        single = await interlock.start(AgentTask(agent="a", input="one only", user_id="quiet"))
        async with serving(temporal, [agent], queue=queue, fleet=f"fleet-{queue}", limits=Limits(model_calls=2)):
            assert (await single.result()).outcome == "completed"
        before = asked.index("one")
        # As many as are decided at once may be in line before it.
        assert before <= max(BURST / 10, 25), f"{before} calls of the burst were made before that of another"
        await replay(temporal, single.handle, AgentRun)
    finally:
        await ended(burst)


async def test_the_same_holds_for_runs_that_a_plain_client_starts(temporal: Client) -> None:
    """Their runs have no fairness key: they are decided in the order they came. Their calls have one."""
    asked: list[tuple[str, datetime]] = []
    turn = note_who(lambda who: asked.append((who, datetime.now(UTC))))
    agent = Agent(name="a", instructions="", models=ScriptedModel("plain", turn).model)
    queue = f"plain-{uuid.uuid4().hex[:8]}"

    async def start(text: str, user: str) -> Run:
        task = {"agent": "a", "input": text, "user_id": user}
        name = f"{queue}-{uuid.uuid4().hex[:8]}"
        await temporal.start_workflow("AgentRun", task, id=name, task_queue=queue)
        return Run(temporal.get_workflow_handle(name))

    burst = [await start("many", "loud") for _ in range(60)]
    try:
        single = await start("one", "quiet")
        limits = Limits(calls_per_second=2.0)  # so that all of them wait for their calls
        async with serving(temporal, [agent], queue=queue, fleet=f"fleet-{queue}", limits=limits):
            await single.handle.result()
        in_line = await scheduled(single, "model")
        since = [who for who, at in asked if at > in_line]
        assert since.index("one") <= 5, f"{len(asked) - len(since)} calls of the burst had been made by then"
    finally:
        await ended(burst)


async def scheduled(run: Run, activity: str) -> datetime:
    """When its only call of that type began to wait for a worker."""
    events = (await run.handle.fetch_history()).events
    [at] = [
        event.event_time.ToDatetime(UTC)
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == activity
    ]
    return at


async def test_a_task_of_a_higher_priority_goes_first(temporal: Client) -> None:
    asked: list[str] = []
    agent = Agent(name="a", instructions="", models=ScriptedModel("prior", note_who(asked.append)).model)
    queue = f"prior-{uuid.uuid4().hex[:8]}"
    interlock = Interlock(temporal, queue, f"fleet-{queue}")
    each = sized(25, 10)
    runs = await many(interlock, each, input="later", priority=5)
    runs += await many(interlock, each, input="usual")
    urgent = await interlock.start(AgentTask(agent="a", input="urgent", priority=1))
    limits = Limits(model_calls=1)
    async with serving(temporal, [agent], queue=queue, fleet=f"fleet-{queue}", limits=limits):
        await asyncio.gather(urgent.result(), *(run.result() for run in runs))
    assert asked.index("urgent") <= 10
    middle = sorted(place for place, who in enumerate(asked) if who == "usual")[each // 2]
    late = sorted(place for place, who in enumerate(asked) if who == "later")[each // 2]
    assert middle < late


async def test_a_run_and_all_its_calls_carry_the_user_and_the_priority(serve: Serve) -> None:
    agent = Agent(name="a", instructions="", models=ScriptedModel("carries", [say("done")]).model)
    async with serve(agent) as served:
        run = await served.start("a", user_id="ada", priority=2)
        await served.end(run)
        history = await run.handle.fetch_history()
    expected = Priority(priority_key=2, fairness_key="ada")
    assert history.events[0].workflow_execution_started_event_attributes.priority == expected
    calls = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [call.activity_type.name for call in calls] == ["resolve_agent", "model"]
    assert {call.priority.SerializeToString() for call in calls} == {expected.SerializeToString()}


async def test_a_user_whose_name_is_long_is_served(serve: Serve) -> None:
    agent = Agent(name="a", instructions="", models=ScriptedModel("long", [say("done")]).model)
    async with serve(agent) as served:
        assert (await served.run("a", user_id="ü" * 200)).outcome == "completed"


@pytest.mark.parametrize("user", ["ada", "x" * 64, "x" * 65, "ü" * 33, "ü" * 200, "\ud800"])
def test_a_fairness_key_is_one_that_temporal_takes(user: str) -> None:
    key = fairness_key(user)
    assert 0 < len(key.encode()) <= 64
    assert (key == user) == (len(user.encode(errors="replace")) <= 64 and user.isprintable())
    assert key != fairness_key(user + "y")


@pytest.mark.parametrize("priority", [0, 6, -1, 2.5, "high", None, True])
async def test_a_priority_that_is_none_is_refused_by_name(priority: object, temporal: Client) -> None:
    with pytest.raises(BadRequest, match="priority"):
        await Interlock(temporal, "nobody").start({"agent": "a", "input": "x", "priority": priority})
