"""Runs that Interlock ends by itself, and the alert that says so."""

from __future__ import annotations

import json

import pytest
from temporalio.api.enums.v1 import EventType

from interlock import Agent, tool
from interlock.contracts import Repeats
from interlock.policies.anomaly import fingerprint, repeated
from interlock.testing import ScriptedModel, call, calls, say
from tests.conftest import Serve
from tests.fleet.environment import events, replay_fleet
from tests.until import until


@tool(effect="read")
def look(number: int = 0) -> str:
    """Look, always the same."""
    return "nothing new"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (5, ["go on", "go on", "go on", "warn", "kill"]),
        (2, ["go on", "warn", "kill"]),
        (3, ["go on", "warn", "kill"]),
    ],
)
def test_the_same_again_and_again(limit: int, said: list[str]) -> None:
    seen, verdicts = Repeats(), []
    for _ in said:
        seen, verdict = repeated(seen, limit, "x")
        verdicts.append(verdict)
    assert verdicts == said


def test_another_call_between_begins_anew_and_a_warning_is_given_time() -> None:
    seen = Repeats(call="x", times=4, warned=True)
    assert repeated(seen, 5, "y") == (Repeats(call="y", times=1), "go on")
    assert repeated(seen, 5, "x", hold=True)[1] == "go on"
    assert repeated(seen, 5, "x")[1] == "kill"


def test_a_call_is_the_same_in_whatever_order_its_arguments_stand() -> None:
    assert fingerprint("t", '{"a": 1, "b": 2}', "r") == fingerprint("t", '{"b":2,"a":1}', "r")
    assert fingerprint("t", "{}", "r") == fingerprint("t", "", "r")
    assert len({fingerprint("t", "{", "r"), fingerprint("t", "{}", "r"), fingerprint("t", "{}", "s")}) == 3
    assert fingerprint("t", "[" * 100_000, "r")


async def test_a_run_that_repeats_itself_is_warned_and_then_killed_and_people_hear_of_it(serve: Serve) -> None:
    model = ScriptedModel("again", lambda messages, tools: call("look"))
    async with serve(Agent(name="a", instructions="", models=model.model, tools=[look])) as served:
        run = await served.start("a")
        result = await served.end(run)
        assert (result.outcome, result.tool_calls) == ("killed", 5)
        assert result.reason == "look was called 5 times in a row with the same arguments and result (by interlock)"
        told = [each.text for each in (await served.interlock.transcript(run.id)).messages if each.role == "user"]
        assert len(told) == 2
        assert "4 times in a row" in told[1]

        async def alerted() -> bool:
            kind = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            return await events(served.client, served.interlock.fleet.id, kind) >= 1

        await until(alerted)
        history = await served.client.get_workflow_handle(served.interlock.fleet.id).fetch_history()
        [alert] = [
            json.loads(event.activity_task_scheduled_event_attributes.input.payloads[0].data)
            for event in history.events
            if event.HasField("activity_task_scheduled_event_attributes")
        ]
        assert (alert["kind"], alert["fields"]["run"]) == ("anomaly_kill", run.id)
        await replay_fleet(served)


async def test_a_run_that_heeds_the_warning_goes_on(serve: Serve) -> None:
    turns = [*[call("look")] * 4, call("look", number=1), *[call("look")] * 3, say("done")]
    agent = Agent(name="a", instructions="", models=ScriptedModel("heeds", turns).model, tools=[look])
    async with serve(agent) as served:
        assert (await served.run("a")).outcome == "completed"


async def test_the_same_call_many_times_in_one_reply_is_warned_of_and_not_killed(serve: Serve) -> None:
    turns = [calls(*[call("look")] * 8), say("done")]
    agent = Agent(name="a", instructions="", models=ScriptedModel("once", turns).model, tools=[look])
    async with serve(agent) as served:
        assert (await served.run("a")).outcome == "completed"
