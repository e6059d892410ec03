"""``interlock doctor``."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from interlock import Agent
from interlock.testing import ScriptedModel, say
from tests.cli.conftest import CommandLine
from tests.conftest import Serve

NAMES = [
    "server",
    "namespace",
    "search attributes",
    "workflow workers",
    "activity workers",
    "fleet switch",
    "model keys",
    "web ui",
]


async def test_it_finds_nothing_broken_where_a_worker_polls(serve: Serve, cli: CommandLine) -> None:
    agent = Agent(name="a", instructions="-", models=ScriptedModel("cli-doctor", [say("hi")]).model)
    async with serve(agent) as served:
        secret = replace(cli.on(served), environment={**cli.on(served).environment, "OPENAI_API_KEY": "sk-secret"})
        while not (as_json := await secret("doctor", "--json")).json["ok"]:
            pass  # the worker's first poll may not have come yet
        text = await secret("doctor")
        assert (as_json.code, text.code, text.err) == (0, 0, "")
        assert [check["name"] for check in as_json.json["checks"]] == NAMES
        assert [check["state"] for check in as_json.json["checks"][:7]] == ["ok"] * 7
        assert len(text.out.splitlines()) == len(NAMES)
        assert "OPENAI_API_KEY" in text.out
        assert "sk-secret" not in text.out


async def test_what_is_broken_comes_with_what_to_do(cli: CommandLine) -> None:
    nobody = replace(cli, environment={**cli.environment, "INTERLOCK_FLEET": "never-served"})
    no_worker, no_server, no_namespace = await asyncio.gather(
        nobody("doctor", "--task-queue", "deserted"),
        cli("doctor", "--address", "127.0.0.1:1"),
        cli("doctor", "--namespace", "no-such-namespace"),
    )
    assert (no_worker.code, no_server.code, no_namespace.code) == (1, 1, 1)
    assert "failed   workflow workers   none polls task queue 'deserted'; start one: python worker.py" in no_worker.out
    assert "failed   fleet switch " in no_worker.out
    assert "no worker has served never-served here yet" in no_worker.out
    assert no_server.out.startswith("failed   server ")
    assert "skipped  namespace " in no_server.out
    assert "temporal operator namespace create no-such-namespace" in no_namespace.out


async def test_it_says_that_the_switch_is_off_or_that_nobody_serves_it(serve: Serve, cli: CommandLine) -> None:
    agent = Agent(name="a", instructions="-", models=ScriptedModel("cli-off", [say("hi")]).model)
    async with serve(agent) as served:
        mine, fleet = cli.on(served), served.interlock.fleet
        await fleet.kill("user", "ada")
        while "note     fleet switch " not in (some := await mine("doctor")).out:
            await asyncio.sleep(0.1)
        await fleet.kill("all", reason="fire", by="ops")
        while "failed   fleet switch " not in (off := await mine("doctor")).out:
            await asyncio.sleep(0.1)
        # Of a fleet that nobody has polled for, in the place of one whose workers left a minute ago.
        deserted = f"{fleet.id}-deserted"
        await served.client.start_workflow("FleetControl", id=deserted, task_queue=deserted)
        unserved = await replace(mine, environment={**mine.environment, "INTERLOCK_FLEET": deserted})("doctor")
        await served.client.get_workflow_handle(deserted).terminate()
    assert "is served; 1 user killed; see: interlock kills" in some.out
    assert "everything is killed: fire (by ops); new runs are let in by: interlock release --all" in off.out
    assert off.code == 1
    assert f"no worker serves {deserted}: nothing can be killed" in unserved.out
    assert unserved.code == 1
