"""``interlock steer``, ``pause``, ``resume`` and ``extend``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from interlock import Agent, tool
from interlock.contracts import Message
from interlock.testing import Say, ScriptedModel, call
from tests.cli.conftest import CommandLine
from tests.conftest import Serve
from tests.fleet.environment import in_flight


async def test_a_run_is_paused_steered_extended_and_resumed(serve: Serve, cli: CommandLine) -> None:
    told = asyncio.Event()

    @tool(effect="read")
    async def hold() -> str:
        """Wait until the test has said what it has to say."""
        await told.wait()
        return "held"

    def obedient(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        return Say(text=str([each.text for each in messages if each.role == "user"])) if messages[1:] else call("hold")

    model = ScriptedModel("cli-obedient", obedient)
    async with serve(Agent(name="obedient", instructions="-", models=model.model, tools=[hold])) as served:
        run = await served.start("obedient", "go", limits={"steps": 2, "usd": "1"})
        await in_flight(run, "tool.hold")  # a word that comes before the first call is in it
        paused, steered = await asyncio.gather(
            cli("pause", run.id, "--reason", "lunch"), cli("steer", run.id, "stop now")
        )
        assert (paused.code, steered.code) == (0, 0)
        assert paused.out == f"pause sent to {run.id}: it waits before its next call\n"
        told.set()
        while (await run.status()).state != "paused":
            await asyncio.sleep(0.05)
        extended, lower = await asyncio.gather(
            cli("extend", run.id, "--usd", "2.50", "--json"), cli("extend", run.id, "--steps", "1")
        )
        assert extended.json["limits"]["usd"] == "2.50"
        assert lower.code == 1
        assert "limits.steps: 1 does not raise 2" in lower.complaint
        resumed = await cli("resume", run.id, "--json")
        assert resumed.json == {"run": run.id, "sent": "resume"}
        assert (await served.end(run)).output == "['go', 'stop now']"
        followed = await cli("follow", run.id)
        for remark in (": lunch\n", ": stop now\n", ": usd 2.50\n"):
            assert remark in followed.out


async def test_without_a_worker_a_signal_waits_and_an_update_says_so(serve: Serve, cli: CommandLine) -> None:
    slow = ScriptedModel("cli-left", [Say(text="late", delay=30)])
    async with serve(Agent(name="slow", instructions="-", models=slow.model), grace=timedelta()) as served:
        run = await served.interlock.start({"agent": "slow", "input": "go"})
    paused, extended = await asyncio.gather(cli("pause", run.id), cli("extend", run.id, "--steps", "3"))
    assert paused.code == 0
    assert extended.code == 1
    assert "no worker answers" in extended.complaint
    await run.handle.terminate()


async def test_a_run_that_has_ended_or_never_was_cannot_be_told_anything(serve: Serve, cli: CommandLine) -> None:
    model = ScriptedModel("cli-told-late", [Say(text="done")])
    async with serve(Agent(name="quick", instructions="-", models=model.model)) as served:
        run = await served.start("quick")
        await served.end(run)
        late, unknown = await asyncio.gather(cli("pause", run.id), cli("steer", "no-such-run", "hello"))
    assert (late.code, unknown.code) == (1, 1)
    assert "has already ended" in late.complaint
    assert "there is no run 'no-such-run'" in unknown.complaint
