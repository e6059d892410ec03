"""``interlock run`` and ``interlock follow``, where no terminal is."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from interlock import Agent, Price, Retry, tool
from interlock.client import Run
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests import warm
from tests.cli.conftest import CommandLine
from tests.conftest import Serve, activities
from tests.until import until
from worker import serving


@tool(effect="read")
async def search(pattern: str) -> str:
    """Lines that match."""
    return f"three lines match {pattern}"


@tool
async def page(who: str) -> str:
    """Page somebody."""
    raise RuntimeError("the pager is down")


def analyst() -> Agent:
    script = [calls(call("search", pattern="ERROR"), call("page", who="ops")), say("The pool\x1b[31m was exhausted.")]
    model = ScriptedModel("cli-analyst", script, price=Price(input="1000", output="1000"))
    return Agent(name="analyst", instructions="Analyse.", models=model.model, tools=[search, page])


async def test_followed_it_prints_where_it_is_each_call_and_the_answer(serve: Serve, cli: CommandLine) -> None:
    async with serve(analyst()) as served:
        ran = await cli.on(served)("run", "analyst", "Why did it fail?", "--follow", "--id", "my run", "--usd", "9")
        assert (ran.code, ran.err) == (0, "")
        lines = ran.out.splitlines()
        assert lines[0].split(maxsplit=1) == ["run", "my run"]
        described = await served.interlock.describe("my run")
        link = f"http://ui.example/namespaces/default/workflows/my%20run/{described.run_id}/history"
        assert lines[1].split() == ["web", link]
        assert shlex.split(lines[2])[1:] == ["temporal", "workflow", "show", "--workflow-id", "my run"]
        [first, *beside, second] = lines[4:8]
        [found, paged] = sorted(beside)  # the two run side by side: either may end first
        assert first.startswith("✓ cli-analyst · step 1 ")
        assert all(said in first for said in (" in ", " out ", "$"))
        assert found.startswith('✓ search(pattern="ERROR") ')
        assert paged.startswith('✗ page(who="ops") ')
        assert "the pager is down" in paged
        assert second.startswith("✓ cli-analyst · step 2 ")
        assert lines[9] == "The pool[31m was exhausted."  # without what would have turned the terminal red
        assert lines[11].split() == ["outcome", "completed"]
        assert lines[12].startswith("cost ")
        assert lines[12].endswith("2 steps · 2 tool calls")
        again = await cli("follow", "my run")
        assert (again.code, again.out) == (0, ran.out)


async def test_not_followed_it_waits_quietly_and_json_is_all_there_is(serve: Serve, cli: CommandLine) -> None:
    async with serve(analyst()) as served:
        quiet, as_json, loud = await asyncio.gather(
            cli.on(served)("run", "analyst", "Why?"),
            cli.on(served)("run", "analyst", "Why?", "--json", "--user", "ana"),
            cli.on(served)("run", "analyst", "Why?", "--output", "json", "--follow"),
        )
        assert quiet.code == as_json.code == loud.code == 0
        assert "step 1" not in quiet.out
        assert quiet.out.startswith("run ")
        assert as_json.err == quiet.err == ""
        result = as_json.json
        assert result["run"].startswith("analyst-why-")
        assert (result["outcome"], result["steps"], result["by_tool"]) == ("completed", 2, {"search": 1, "page": 1})
        assert loud.json["outcome"] == "completed"
        assert "step 1" in loud.err


async def test_a_run_that_cannot_succeed_is_exit_code_1(serve: Serve, cli: CommandLine) -> None:
    down = ScriptedModel("cli-down", [Say(failure=Failure("ModelRejected", "400: no such model"))])
    agent = Agent(name="down", instructions="-", models=down.model, retry=Retry(attempts=1))
    async with serve(agent) as served:
        mine = cli.on(served)
        unavailable, as_json, unknown, looser = await asyncio.gather(
            mine("run", "down", "go", "--follow"),
            mine("run", "down", "go", "--json"),
            mine("run", "nobody", "go"),
            mine("run", "down", "go", "--tool-calls", "5000"),
        )
        assert (unavailable.code, unavailable.err) == (1, "")
        assert "✗ cli-down · step 1" in unavailable.out
        assert "400: no such model" in unavailable.out
        assert "Service temporarily unavailable" in unavailable.out
        assert (as_json.code, as_json.json["outcome"]) == (1, "unavailable")
        assert (unknown.code, looser.code) == (1, 1)
        assert "no agent is named 'nobody'" in unknown.complaint
        assert "tool_calls: 5000" in looser.complaint


async def test_an_id_under_way_is_refused_and_an_unknown_run_or_namespace_named(serve: Serve, cli: CommandLine) -> None:
    slow = ScriptedModel("cli-slow", [Say(text="late", delay=30)])
    async with serve(Agent(name="slow", instructions="-", models=slow.model)) as served:
        started = await cli.on(served)("run", "slow", "go", "--id", "taken", "--detach", "--json")
        assert (started.code, started.json["run"]) == (0, "taken")
        taken, unknown, nowhere = await asyncio.gather(
            cli.on(served)("run", "slow", "go", "--id", "taken"),
            cli("follow", "no-such-run"),
            cli("run", "slow", "go", "--namespace", "no-such-namespace"),
        )
        assert (taken.code, unknown.code, nowhere.code) == (1, 1, 1)
        assert "'taken' is already under way" in taken.complaint
        assert "there is no run 'no-such-run'" in unknown.complaint
        assert "no-such-namespace is not found" in nowhere.complaint
        await served.interlock.get("taken").kill()
        await served.interlock.get("taken").result()


async def test_with_no_worker_the_run_stays_queued_and_it_says_so(cli: CommandLine, temporal: Client) -> None:
    ran = await cli("run", "analyst", "go", "--task-queue", "deserted", "--id", "queued", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "no worker polls task queue 'deserted'" in ran.complaint
    assert "queued" in ran.complaint
    handle = temporal.get_workflow_handle("queued")
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def test_a_run_whose_only_worker_goes_away_says_what_it_waits_for(
    serve: Serve, cli: CommandLine, temporal: Client, tmp_path: Path
) -> None:
    """Who waits quietly and who follows are both told, once, and have the answer when another worker comes."""
    out, err, shown = tmp_path / "out", tmp_path / "err", tmp_path / "shown"
    agent = Agent(name="left", instructions="-", models=ScriptedModel("cli-left", [Say(text="found", delay=3)]).model)
    async with serve(agent, grace=timedelta(0)) as served:
        there, run = cli.on(served).environment, served.interlock.get("left-alone")
        quiet = warm.begin("interlock", ("run", "left", "go", "--id", run.id), environment=there, out=out, err=err)
        await until(lambda: is_asked(run))
        loud = warm.begin("interlock", ("follow", run.id), environment=there, out=shown, err=tmp_path / "nothing")
    said = f"no worker has taken up the work of run {run.id} on task queue '{served.interlock.queue}' for 10 s"

    async def told() -> bool:
        return said in err.read_text() and said in shown.read_text()

    await until(told)
    async with serving(temporal, [agent], queue=served.interlock.queue, fleet=served.interlock.fleet.id):
        assert (await quiet.wait(), await loud.wait()) == (0, 0)
        await served.end(run)
    assert err.read_text().count("interlock: ") == shown.read_text().count(said) == 1
    assert "found" in out.read_text()
    assert "found" in shown.read_text().partition(said)[2]


async def is_asked(run: Run) -> bool:
    with suppress(RPCError):  # it has not begun yet
        return "model" in await activities(run.handle._client, run.id)
    return False
