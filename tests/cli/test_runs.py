"""``interlock status``, ``list`` and ``transcript``."""

from __future__ import annotations

import asyncio

from interlock import Agent, tool
from interlock.testing import Say, ScriptedModel, call, say
from tests.cli.conftest import CommandLine, Ran
from tests.conftest import Serve

USER = 'o\'brien "the\\rock"'


@tool(effect="read")
async def read(file: str) -> str:
    """What a file says."""
    return "x" * 300


def reader() -> Agent:
    model = ScriptedModel("cli-reader", [call("read", file="notes.txt"), say("It says x.")])
    return Agent(name="reader", instructions="Read.", models=model.model, tools=[read])


async def listed(cli: CommandLine, *arguments: str, runs: int) -> Ran:
    """The index is eventually consistent: ask until it has them."""
    for _ in range(10):
        ran = await cli("list", "--json", *arguments)
        if ran.code or len(ran.json) >= runs:
            return ran
        await asyncio.sleep(0.2)
    raise AssertionError(f"{arguments}: not listed")


async def test_runs_are_found_by_user_state_and_query(serve: Serve, cli: CommandLine) -> None:
    async with serve(reader()) as served:
        run = await served.start("reader", user_id=USER)
        await served.end(run)
        found = await listed(cli, "--user", USER, "--state", "closed", runs=1)
        [one] = found.json
        assert (one["run"], one["agent"], one["user"], one["outcome"]) == (run.id, "reader", USER, "completed")
        assert (one["state"], one["steps"], one["tool_calls"], one["usd"]) == ("closed", 2, 1, 0.0)
        text, none, wrong = await asyncio.gather(
            cli("list", "--query", f"WorkflowId = '{run.id}'"),
            cli("list", "--user", USER, "--state", "running"),
            cli("list", "--query", "AgentUser =="),
        )
        heading, line = text.out.splitlines()
        assert heading.split() == ["RUN", "AGENT", "USER", "STATE", "OUTCOME", "STEP", "TOOLS", "COST", "AGE"]
        assert line.startswith(f"{run.id}  reader")
        assert (none.code, none.out) == (0, "no runs\n")
        assert wrong.code == 2
        assert "--query" in wrong.complaint


async def test_a_transcript_is_whole_and_needs_no_worker(serve: Serve, cli: CommandLine) -> None:
    async with serve(reader()) as served:
        run = await served.start("reader", "What does it say?")
        await served.end(run)
    text, as_json, unknown = await asyncio.gather(
        cli("transcript", run.id), cli("transcript", run.id, "--json"), cli("transcript", "no-such-run")
    )
    assert text.code == 0
    for said in ("What does it say?", '→ read {"file": "notes.txt"}', "x" * 300, "It says x."):
        assert said in text.out
    assert [message["role"] for message in as_json.json["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert unknown.code == 1
    assert "there is no run 'no-such-run'" in unknown.complaint


async def test_status_asks_the_run_and_without_a_worker_the_index(serve: Serve, cli: CommandLine) -> None:
    slow = ScriptedModel("cli-status", [Say(text="late", delay=30)])
    async with serve(Agent(name="waiting", instructions="-", models=slow.model), reader()) as served:
        run = await served.start("waiting", limits={"steps": 7})
        closed = await served.start("reader")
        await closed.result()
        while (await run.status()).state != "running":
            await asyncio.sleep(0.05)
        text, as_json, ended = await asyncio.gather(
            cli("status", run.id), cli("status", run.id, "-o", "json"), cli("status", closed.id, "--json")
        )
        assert (text.code, text.err) == (0, "")
        assert ["state", "running"] in [line.split() for line in text.out.splitlines()]
        assert ["model", "scripted:cli-status", "·", "step", "1,", "medium", "task"] in [
            line.split() for line in text.out.splitlines()
        ]
        assert ["steps", "1", "7", "6"] in [line.split() for line in text.out.splitlines()]
        assert (as_json.json["state"], as_json.json["answered_by"]) == ("running", "run")
        assert (ended.json["ended"], ended.json["spent"]["tool_calls"]) == ("completed", "1")
        await run.kill()
        await run.result()
    gone, unknown = await asyncio.gather(cli("status", run.id, "--json"), cli("status", "no-such-run"))
    assert (gone.code, gone.json["ended"], gone.json["answered_by"]) == (0, "killed", "index")
    assert "no worker answers" in gone.complaint
    assert unknown.code == 1
    assert "there is no run 'no-such-run'" in unknown.complaint
