"""What a line says, and what it never says."""

from __future__ import annotations

import asyncio
import json
import logging
import warnings
from typing import Any

import pytest
import structlog
from temporalio.client import Client

from interlock import Agent, Limits
from interlock.client import Run
from interlock.errors import BadRequest
from interlock.search_attributes import AGENT_STATE
from interlock.telemetry.logs import configure_logging
from interlock.telemetry.redaction import Redaction, redaction
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.conftest import Serve
from tests.fleet.environment import asked, waiting
from tests.runs.world import World, agent, waits
from tests.telemetry.story import AGENT, look
from tests.telemetry.watched import events, lines


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("authorization", "Bearer k", "[redacted]"),
        ("Authorization", "Bearer k", "[redacted]"),
        ("x-api-key", "k", "[redacted]"),
        ("client_secret", "k", "[redacted]"),
        ("Set-Cookie", "k", "[redacted]"),
        ("token", "k", "[redacted]"),
        ("tokens_in", 7, 7),
        ("max_tokens", 7, 7),
        ("monkey", "george", "george"),
        ("card", "4111", "[redacted]"),
        ("headers", {"Accept": "a", "Authorization": "b"}, {"Accept": "a", "Authorization": "[redacted]"}),
        ("deep", [{"a": [{"password": "p", "b": 1}]}], [{"a": [{"password": "[redacted]", "b": 1}]}]),
        ("both", ({"card": 1},), [{"card": "[redacted]"}]),
    ],
)
def test_what_stands_under_a_secrets_name_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, field: str, value: Any, shown: Any
) -> None:
    monkeypatch.setenv("INTERLOCK_LOG_REDACT", "Card, iban")
    with lines() as out:
        logging.getLogger("somebody.else").warning("a request", extra={field: value})
        structlog.get_logger("ours").warning("a request", **{field: value})
    assert [line[field] for line in events(out)] == [shown, shown]


def test_what_has_no_end_is_cut_off() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert "[redacted]" in json.dumps(redaction().of(endless))
    assert Redaction(["x"]).of({"x": 1, "y": {"z": {"x": 2}}}) == {"x": "[redacted]", "y": {"z": {"x": "[redacted]"}}}


def test_lines_for_people() -> None:
    with lines("console") as out:
        structlog.get_logger("interlock.model").info("llm.response", model="m", tokens_in=7, api_key="k-1")
        logging.getLogger("other").error("it broke: %s", "badly")
    first, second = out.getvalue().splitlines()
    assert "llm.response" in first
    assert "tokens_in=7" in first
    assert "k-1" not in first
    assert "it broke: badly" in second
    assert not first.startswith("{")


def test_every_line_of_a_process_is_one_object_whoever_writes_it() -> None:
    with lines() as out:
        logging.getLogger("library").warning("several\nlines")
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger("library").exception("failed")
            structlog.get_logger("ours").exception("failed")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", UserWarning, stacklevel=1)
    found = events(out)
    assert [(line["event"].split(": ")[-1].strip(), line["level"]) for line in found[:3]] == [
        ("several\nlines", "warning"),
        ("failed", "error"),
        ("failed", "error"),
    ]
    assert all(line["exception"][0]["exc_type"] == "ValueError" for line in found[1:3])
    assert found[3]["logger"] == "py.warnings"


async def test_prompts_and_outputs_are_in_no_line_unless_asked_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told() -> tuple[str, list[dict[str, Any]]]:
        with lines() as out:
            async with serve(AGENT) as served:
                run = await served.start(
                    "story", f"{'a question ' * 10}where is the treasure?"
                )  # its first words are its id
                await run.result()
        return out.getvalue(), events(out, run.id)

    text, _ = await told()
    assert not [word for word in ("treasure", "secret plan", "hunter2", "k-123", "an entry") if word in text]

    monkeypatch.setenv("INTERLOCK_LOG_CONTENT", "1")
    text, said = await told()
    replies = [each for each in said if each["event"] == "llm.response"]
    assert "where is the treasure?" in replies[0]["prompt"]
    assert replies[-1]["output"] == "a secret plan was found"
    [looked] = [each for each in said if each["event"] == "tool.executed" and each["tool"] == "look"]
    assert json.loads(looked["arguments"]) == {"password": "[redacted]"}
    assert json.loads(looked["output"]) == {"api_key": "[redacted]", "found": "an entry"}


async def test_content_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_LOG_CONTENT", "1")
    long = Agent(name="long", instructions="", models=ScriptedModel("long", [say("é" * 5000)]).model)
    with lines() as out:
        async with serve(long) as served:
            run = await served.start("long")
            await run.result()
    [reply] = [each for each in events(out, run.id) if each["event"] == "llm.response"]
    assert reply["output"] == "é" * 1024 + "…"


async def shows(run: Run, state: str) -> None:
    """Wait until the index shows it. Not a query: one that comes while a task of a run ends that is not in memory is
    replayed with that task as its newest, and the SDK takes it for no replay."""
    while (await run.handle.describe()).typed_search_attributes.get(AGENT_STATE) != state:
        await asyncio.sleep(0.02)


async def test_pause_resume_and_kill_are_told_once(serve: Serve, temporal: Client) -> None:
    slow = Agent(name="slow", instructions="", models=ScriptedModel("slow-one", [Say("never", delay=60)]).model)
    with lines() as out:
        async with serve(slow, max_cached_workflows=0) as served:
            run = await served.start("slow", user_id="ada")
            await run.pause("lunch", by="ada")
            await shows(run, "paused")
            await run.resume("fed", by="eve")
            await shows(run, "running")
            await run.handle.signal("pause", "nonsense")
            await run.handle.signal("kill", {"reason": "enough", "by": "ops"})
            await served.end(run)
    said = events(out, run.id)
    told = [each["event"] for each in said]
    assert [name for name in told if name.startswith("run.")] == ["run.paused", "run.resumed", "run.killed"]
    by_event = {each["event"]: each for each in said}
    assert (by_event["run.paused"]["reason"], by_event["run.paused"]["by"]) == ("lunch", "ada")
    assert (by_event["run.resumed"]["reason"], by_event["run.resumed"]["by"]) == ("fed", "eve")
    assert (by_event["run.killed"]["reason"], by_event["run.killed"]["by"]) == ("enough", "ops")
    assert by_event["signal.ignored"]["signal"] == "pause"
    assert by_event["agent.complete"]["outcome"] == "killed"
    assert told.count("agent.complete") == 1
    assert [each for each in said if each.get("user_id") != "ada"] == []


async def test_a_call_that_a_kill_of_its_user_stops_is_told_with_run_and_user(serve: Serve) -> None:
    async with serve(waiting("stopped")) as served:
        with lines() as out:
            run = await served.start("stopped", user_id="ada")
            await asked("stopped", 1)
            await served.interlock.fleet.kill("user", "ada", "enough", by="ops")
            await served.end(run)
        [stopped] = [each for each in events(out, run.id) if each["event"] == "call.stopped"]
    assert (stopped["user_id"], stopped["by"], stopped["level"]) == ("ada", "ops", "info")


async def test_a_run_that_goes_on_to_wait_for_a_person_says_so_too(serve: Serve) -> None:
    world = World()
    two = agent("mailer", [calls(call("send_email", to="ada"), call("send_email", to="bob"))], [world.send()])
    with lines() as out:
        async with serve(two) as served:
            run = await served.start("mailer")
            await waits(run, "s1c1", "s1c2")
            await run.pause("lunch", by="ada")
            await run.decide("s1c1", approve=True, by="ann")
            while (await run.status()).state != "paused":
                pass
            await run.resume("fed", by="eve")
            while (await run.status()).state != "waiting_approval":
                pass
            await run.decide("s1c2", approve=False, by="ann")
            await served.end(run)
    told = [each for each in events(out, run.id) if each["event"] in ("run.paused", "run.resumed")]
    assert [(each["event"], each["reason"], each["by"]) for each in told] == [
        ("run.paused", "lunch", "ada"),
        ("run.resumed", "fed", "eve"),
    ]


@pytest.mark.parametrize(
    ("variable", "given", "said"),
    [
        ("INTERLOCK_LOG", "jsn", "INTERLOCK_LOG is one of json, console; got 'jsn'"),
        ("INTERLOCK_LOG_LEVEL", "verbose", "INTERLOCK_LOG_LEVEL is one of DEBUG, INFO"),
        ("INTERLOCK_LOG_LEVEL", "NOTSET", "INTERLOCK_LOG_LEVEL is one of DEBUG, INFO"),
    ],
)
def test_a_setting_that_is_none_is_refused_in_words(
    variable: str, given: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = logging.getLogger().handlers
    monkeypatch.setenv(variable, given)
    with pytest.raises(BadRequest, match=f"^{said}"):
        configure_logging()
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(("given", "level"), [("debug", logging.DEBUG), (" Warning ", logging.WARNING), ("", 20)])
def test_a_level_counts_in_whatever_case(given: str, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_LOG_LEVEL", given)
    with lines():
        assert logging.getLogger().level == level


async def test_a_low_budget_is_told_once_for_each_limit(serve: Serve) -> None:
    again = Say(calls=call("look", password="x").calls, input_tokens=1000, output_tokens=50)
    agent = Agent(
        name="poor",
        instructions="",
        models=ScriptedModel("poor", [again, again, say("well", input_tokens=1000, output_tokens=50)]).model,
        tools=[look],
        max_output_tokens=64,
        limits=Limits(tokens=3900, steps=3),
    )
    with lines() as out:
        async with serve(agent) as served:
            run = await served.start("poor")
            await served.end(run)
    low = [(each["limit"], each["left"], each["of"]) for each in events(out, run.id) if each["event"] == "budget.low"]
    assert sorted(low) == [("steps", "0", "3"), ("tokens", "750", "3900")]


async def test_a_run_that_cannot_begin_says_why(serve: Serve) -> None:
    with lines() as out:
        async with serve(AGENT) as served:
            run = await served.start("nobody")
            with pytest.raises(Exception, match="no agent is named"):
                await run.result()
    last = events(out, run.id)[-1]
    assert (last["event"], last["outcome"]) == ("agent.complete", "failed")
    assert "no agent is named 'nobody'" in last["reason"]


async def test_a_fork_begins_and_what_is_carried_over_goes_on(serve: Serve, forgetful: Client) -> None:
    turns = [call("look", password=str(number)) for number in range(6)]
    model = ScriptedModel("logs-far", [*turns, say("done")])
    far = Agent(name="far", instructions="-", models=model.model, tools=[look])
    with lines() as out:
        async with serve(far, client=forgetful) as served:
            run = await served.start("far")
            await served.end(run)
            fork = await served.interlock.fork(run.id, 2)
            await served.end(fork)
    begun = [line["run_id"] for line in events(out) if line["event"] == "agent.start"]
    assert begun == [run.id, fork.id]
