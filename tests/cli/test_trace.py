"""``interlock trace`` and ``interlock fork``, at the command line, over runs that really ran."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import Client

from interlock import Account, Agent, Models, Price, Retry, tool
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.cli.conftest import COMMAND, CommandLine, environment
from tests.cli.terminal import terminal
from tests.conftest import Serve

PRICE = Price(input="10.00", output="50.00")
QUICK = Retry(attempts=2, initial=0.05, maximum=0.05)


@tool(effect="read")
async def search(pattern: str = "") -> str:
    """Search."""
    return f"{pattern}: two"


@tool(effect="read", retry=QUICK)
async def broken() -> str:
    """Never works."""
    raise RuntimeError("the disk is on fire")


def flaky(name: str, *script: Say, failing: int = 1) -> ScriptedModel:
    """Its first ``failing`` attempts are refused; then it follows its script."""
    asked = 0

    def next_turn(messages: Any, tools: Any) -> Say:
        nonlocal asked
        asked += 1
        if asked <= failing:
            return Say(failure=Failure("ModelRateLimited", "429: slow down"))
        replies: int = sum(message.role == "assistant" for message in messages)
        return script[min(replies, len(script) - 1)]

    return ScriptedModel(name, next_turn, PRICE)


def spans(tree: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    if tree["kind"] == kind:
        yield tree
    for child in tree["children"]:
        yield from spans(child, kind)


def names(tree: dict[str, Any]) -> list[str]:
    return [child["name"] for child in tree["children"]]


def check(tree: dict[str, Any], parent: dict[str, Any] | None = None) -> None:
    """Children are inside their parent's time."""
    if parent is not None:
        assert parent["start"] <= tree["start"]
        assert parent["end"] is None or tree["end"] <= parent["end"]
    for child in tree["children"]:
        check(child, tree)


async def test_a_trace_has_the_steps_the_calls_their_attempts_errors_and_dollars(
    serve: Serve, cli: CommandLine
) -> None:
    model = flaky("trace-flaky", say("1. look"), calls(call("search", pattern="ERROR"), call("broken")), say("Two."))
    tools = [search, broken]
    accounts = [Account("trace-account", usd="5")]
    bounds: dict[str, Any] = {"retry": QUICK, "accounts": accounts, "max_output_tokens": 200}
    agent = Agent(name="analyst", instructions="-", models=model.model, tools=tools, plan=True, **bounds)
    async with serve(agent) as served:
        run = await served.start("analyst")
        result = await served.end(run)
    text, as_json = await asyncio.gather(cli("trace", run.id), cli("trace", run.id, "--json"))
    assert (text.code, text.err, as_json.code) == (0, "", 0)
    tree = as_json.json
    assert (tree["run"], tree["name"], tree["state"]) == (run.id, "invoke_agent analyst", "done")
    stages = [name for name in names(tree) if name.startswith("agent.")]
    assert stages == ["agent.plan", "agent.step.1", "agent.step.2"]
    check(tree)
    assert Decimal(tree["usd"]) == result.usage.usd > 0
    assert sum(Decimal(chat["usd"]) for chat in spans(tree, "chat")) == result.usage.usd
    planning = next(spans(tree, "chat"))
    assert (planning["attempts"], planning["granted"], planning["lost"]) == (2, 2, ["ModelRateLimited"])
    failed = [each for each in spans(tree, "tool") if each["state"] == "failed"]
    assert [(each["name"], each["attempts"], each["lost"]) for each in failed] == [
        ("execute_tool broken()", 2, ["ToolFailed"])
    ]
    assert "the disk is on fire" in failed[0]["error"]
    assert {"lease from trace-account", "settle with trace-account"} <= {
        each["name"] for each in spans(tree, "account")
    }
    lines = text.out.splitlines()
    assert re.search(r"^invoke_agent analyst +\d+\.\d s +\$0\.\d{4}  in [\d,]+ out [\d,]+$", lines[0])
    assert any(
        re.search(r"chat trace-flaky \(attempt 2 of 2; first: ModelRateLimited\) +\d+\.\d s +\$0\.\d{4} ", line)
        for line in lines
    )
    assert any('execute_tool search(pattern="ERROR")' in line for line in lines)
    at = next(number for number, line in enumerate(lines) if "execute_tool broken()" in line)
    assert "ToolFailed: " in lines[at + 1]
    assert "the disk is on fire" in lines[at + 1]


async def test_a_live_run_that_waits_and_what_people_said_to_it(serve: Serve, cli: CommandLine) -> None:
    model = ScriptedModel("trace-paused", [Say(calls=(("search", "{}"),), delay=1.5), say("done")], PRICE)
    slow = ScriptedModel("trace-slow", [Say(text="late", delay=60)], PRICE)
    agents = [Agent(name=each.name, instructions="-", models=each.model, tools=[search]) for each in (model, slow)]
    async with serve(*agents) as served:
        run, other = await served.start("trace-paused"), await served.start("trace-slow")
        await run.pause("lunch", "ada")
        while (await run.status()).state != "paused" or (await other.status()).step < 1:
            await asyncio.sleep(0.05)
        live, running = await asyncio.gather(cli("trace", run.id), cli("trace", other.id))
        assert "pause asked by ada: lunch" in live.out
        assert re.search(r"─ paused · under way +\d+\.\d s$", live.out, re.MULTILINE)
        assert live.out.splitlines()[0].startswith("invoke_agent trace-paused · under way")
        assert re.search(r"─ chat trace-slow · under way +\d+\.\d s +\$0.0000$", running.out, re.MULTILINE)
        await run.resume("", "ada")
        await served.end(run)
        await other.kill("enough", "ada")
        killed = await served.end(other)
    after, ended = await asyncio.gather(cli("trace", run.id, "--json"), cli("trace", other.id, "--json"))
    check(after.json)
    assert [wait["name"] for wait in spans(after.json, "wait")] == ["paused"]
    assert [wait["state"] for wait in spans(after.json, "wait")] == ["done"]
    assert (ended.json["state"], ended.json["error"]) == ("failed", "RunKilled: killed: enough (by ada)")
    assert [chat["state"] for chat in spans(ended.json, "chat")] == ["cancelled"]
    # The call that was stopped in flight may have been billed: it is charged at its bound, and the sum says so.
    assert Decimal(ended.json["usd"]) == killed.usage.usd > 0
    assert Decimal(ended.json["usd_unsettled"]) == killed.usage.usd_unsettled > 0


async def test_a_failed_call_is_charged_where_it_failed_and_the_sum_is_the_results(
    serve: Serve, cli: CommandLine
) -> None:
    no_answer = Failure("ModelTimeout", "no answer came", fate="unknown")
    lost = ScriptedModel("trace-lost", [Say(failure=no_answer)], PRICE)
    other = ScriptedModel("trace-other", [say("done")], PRICE)

    models = Models(simple=lost.model, medium=lost.model, complex=lost.model, fallback=(other.model,))
    agent = Agent(
        name="unlucky",
        instructions="-",
        models=models,
        retry=Retry(attempts=1),
        max_output_tokens=200,
    )
    async with serve(agent) as served:
        run = await served.start("unlucky")
        result = await served.end(run)
    traced = await cli("trace", run.id, "--json")
    first, second = spans(traced.json, "chat")
    assert (first["state"], second["state"], second["name"]) == ("failed", "done", "chat trace-other")
    assert first["error"] == "ModelTimeout: no answer came"
    assert Decimal(first["usd"]) == Decimal(first["usd_unsettled"]) == result.usage.usd_unsettled > 0
    assert Decimal(traced.json["usd"]) == result.usage.usd
    assert [stage["state"] for stage in spans(traced.json, "stage")] == ["done"]


async def test_runs_that_cannot_begin_or_are_not_there(serve: Serve, cli: CommandLine) -> None:
    model = ScriptedModel("trace-none", [say("x")])
    async with serve(Agent(name="known", instructions="-", models=model.model)) as served:
        run = await served.start("stranger")
        with pytest.raises(Exception, match="stranger"):
            await run.result()
    failed, unknown = await asyncio.gather(cli("trace", run.id), cli("trace", "no-such-run"))
    assert failed.code == 0
    assert "UnknownAgent: " in failed.out
    assert unknown.code == 1
    assert "there is no run 'no-such-run'" in unknown.complaint


async def test_a_trace_and_a_fork_reach_over_continue_as_new(serve: Serve, forgetful: Client) -> None:
    def turn(messages: Any, tools: Any) -> Say:
        read = sum(message.role == "tool" for message in messages)
        return call("search", pattern=str(read)) if read < 12 else say("read 12")

    model = ScriptedModel("trace-long", turn, PRICE)
    agent = Agent(name="long", instructions="-", models=model.model, tools=[search])
    cli = CommandLine(environment(TEMPORAL_ADDRESS=forgetful.service_client.config.target_host))
    async with serve(agent, client=forgetful) as served:
        run = await served.start("long")
        result = await served.end(run)
        executions = [each async for each in forgetful.list_workflows(f"WorkflowId = '{run.id}'")]
        assert len(executions) >= 2
        traced = await cli("trace", run.id, "--json")
        assert [name for name in names(traced.json) if name.startswith("agent.")] == [
            f"agent.step.{step}" for step in range(1, 14)
        ]
        assert len(list(spans(traced.json, "tool"))) == 12
        assert Decimal(traced.json["usd"]) == result.usage.usd
        check(traced.json)
        # A step of the first execution, and one of the last.
        for step in (2, 13):
            forked = await served.interlock.fork(run.id, step)
            assert (await served.end(forked)).output == "read 12"


async def test_at_a_terminal_there_is_a_bar_of_when_and_nothing_is_wider_than_it(
    serve: Serve, cli: CommandLine
) -> None:
    model = ScriptedModel("trace-bar", [call("search", pattern="x" * 200), say("done")], PRICE)
    async with serve(Agent(name="barred", instructions="-", models=model.model, tools=[search])) as served:
        run = await served.start("barred")
        await served.end(run)
    async with terminal(cli.environment, *COMMAND, "trace", run.id) as screen:
        assert await screen.code() == 0
        await screen.until("agent.step.2")
        await screen.until("━")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.shown)
    assert max(len(line) for line in plain.splitlines()) <= 120


async def test_an_agent_that_was_called_as_a_tool_is_inside_the_step_that_called_it(
    serve: Serve, cli: CommandLine
) -> None:
    asked = ScriptedModel("trace-asked", [call("search", pattern="a"), say("two")], PRICE)
    asking = ScriptedModel("trace-asking", [call("asked", input="look"), say("done")], PRICE)
    tools = [Agent(name="asked", instructions="-", models=asked.model, tools=[search])]
    async with serve(Agent(name="asking", instructions="-", models=asking.model, tools=tools)) as served:
        run = await served.start("asking")
        result = await served.end(run)
    tree = (await cli("trace", run.id, "--json")).json
    check(tree)
    assert names(tree)[-2:] == ["agent.step.1", "agent.step.2"]
    [step, _] = tree["children"][-2:]
    assert names(step) == ["chat trace-asking", "invoke_agent asked"]
    assert names(step["children"][1])[-2:] == ["agent.step.1", "agent.step.2"]
    assert Decimal(tree["usd"]) == result.usage.usd > 0


async def test_a_fork_is_started_named_and_followed(serve: Serve, cli: CommandLine) -> None:
    model = ScriptedModel("fork-cli", [call("search", pattern="a"), say("One."), say("Two.")])
    async with serve(Agent(name="forked", instructions="-", models=model.model, tools=[search])) as served:
        run = await served.start("forked")
        await served.end(run)
        started, followed, again, wrong, empty, unknown = await asyncio.gather(
            cli("fork", run.id, "--step", "2", "--id", f"{run.id}-b"),
            cli("fork", run.id, "--step", "3", "--message", "And then?", "--follow"),
            cli("fork", run.id, "--step", "2", "--json"),
            cli("fork", run.id, "--step", "9"),
            cli("fork", run.id, "--step", "2", "--message", ""),
            cli("fork", "no-such-run", "--step", "1"),
        )
        assert (started.code, started.err) == (0, "")
        assert started.out.split()[:2] == ["run", f"{run.id}-b"]
        assert f"/workflows/{run.id}-b/" in started.out
        assert followed.code == 0
        assert "\nTwo.\n" in followed.out
        assert (again.code, sorted(again.json)) == (0, ["run", "run_id", "ui"])
        assert (wrong.code, empty.code, unknown.code) == (1, 2, 1)
        assert f"run {run.id} cannot go on from before step 9: it has 2 steps" in wrong.complaint
        assert "--message" in empty.complaint
        assert "there is no run 'no-such-run'" in unknown.complaint
        for forked in (f"{run.id}-b", again.json["run"]):
            assert (await served.end(served.interlock.get(forked))).output == "One."
