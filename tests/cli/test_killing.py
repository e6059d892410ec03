"""``interlock kill`` and ``release``: one run, a user's runs, everything; and what is said of what came of it."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from interlock import Agent, Interlock, tool
from interlock.client import Run
from interlock.contracts import Sweep
from interlock.killing import SIGNAL_PATIENCE
from interlock.testing import ScriptedModel, call, calls, say, temporal_server
from tests.cli.conftest import COMMAND, CommandLine, Ran, environment
from tests.cli.terminal import terminal
from tests.conftest import Serve, Served
from tests.fleet.environment import act, asked, in_flight, only_signalled, waiting
from tests.sizes import sized
from tests.until import until
from worker import serving


def rows(out: str) -> dict[str, str]:
    """The fields that are shown."""
    return dict(found for line in out.splitlines() if len(found := re.split(r" {2,}", line, maxsplit=1)) == 2)


async def all_in_flight(runs: list[Run], activity: str = "model") -> None:
    for run in runs:
        await in_flight(run, activity)


# -- one run -----------------------------------------------------------------------------------------------------


async def test_a_killed_run_says_how_it_ended_by_which_rung_and_what_became_of_its_calls(
    serve: Serve, cli: CommandLine
) -> None:
    @tool(effect="write")
    async def quick() -> str:
        """Be done at once."""
        return "done"

    @tool(effect="read")
    async def look() -> str:
        """Look for long."""
        await asyncio.sleep(60)
        return "seen"

    turns = [call("quick"), calls(call("act"), call("look"))]
    async with serve(waiting("a", turns, tools=[quick, look, act])) as served:
        mine, runs = cli.on(served), [await served.start("a"), await served.start("a")]
        for run in runs:
            await in_flight(run, "tool.act")
            await in_flight(run, "tool.look")
        began = time.monotonic()
        text, as_json = await asyncio.gather(
            mine("kill", runs[0].id, "--reason", "enough"), mine("kill", runs[1].id, "--json")
        )
        # On a busy machine a run may not end within the time that its signal is given.
        rungs = ("signal", "cancel") if time.monotonic() - began > SIGNAL_PATIENCE else ("signal",)
        assert (text.code, text.err, as_json.code) == (0, "", 0)
        shown = rows(text.out)
        assert shown["outcome"] == "killed"
        assert shown["reason"].startswith("enough (by ")
        assert shown["rung"] in rungs
        assert shown["stopped"] == "s2c2 look"
        assert shown["completed"] == "s1c1 quick"
        assert shown["unknown"] == "s2c1 act (may have taken effect)"
        told = as_json.json
        assert told["rung"] in rungs
        assert (told["run"], told["result"]["outcome"]) == (runs[1].id, "killed")
        assert told["report"] == {
            "stopped": [{"call_id": "s2c2", "tool": "look"}],
            "completed": [{"call_id": "s1c1", "tool": "quick"}],
            "unknown": [{"call_id": "s2c1", "tool": "act"}],
        }
        for run in runs:
            await served.end(run)


async def test_a_run_that_made_no_call_has_no_rows_for_them_and_who_follows_it_sees_its_end(
    serve: Serve, cli: CommandLine
) -> None:
    async with serve(waiting("a")) as served:
        run = await served.start("a")
        await run.pause()
        watching = asyncio.create_task(cli.on(served)("follow", run.id))
        await until(lambda: _state(run, "paused"))
        killed = await cli.on(served)("kill", run.id)
        assert killed.code == 0
        assert not {"stopped", "completed"} & set(rows(killed.out))
        assert (await watching).code == 1
        late, unknown, empty = await asyncio.gather(
            cli("kill", run.id), cli("kill", "no-such-run"), cli("kill", "no-such-run", "--json")
        )
        assert [ran.code for ran in (late, unknown, empty)] == [1, 1, 1]
        assert f"run {run.id} has already ended: failed" in late.complaint
        assert "there is no run 'no-such-run'; interlock list" in unknown.complaint
        assert empty.out == ""


async def _state(run: Run, state: str) -> bool:
    # The first call may still be under way: it completes, or is dropped with the run.
    return (await run.status()).state == state or bool((await run.status()).step)


async def test_a_run_that_hears_nothing_is_terminated_and_has_no_result(serve: Serve, cli: CommandLine) -> None:
    async with serve(waiting("a"), grace=timedelta()) as served:
        runs = [await served.start("a"), await served.start("a")]
        await all_in_flight(runs)
    text, as_json = await asyncio.gather(cli("kill", runs[0].id), cli("kill", runs[1].id, "--json"))
    assert (text.code, as_json.code) == (0, 0)
    assert rows(text.out)["rung"].startswith("terminated: it heard neither the signal nor the cancellation")
    assert "It has no result" in text.out
    assert as_json.json == {"run": runs[1].id, "rung": "terminate", "result": None, "report": None}
    again = await cli("kill", runs[0].id)
    assert (again.code, "has already ended: terminated" in again.complaint) == (1, True)


# -- a user ------------------------------------------------------------------------------------------------------


async def test_a_user_loses_every_run_and_may_begin_no_more_until_released(serve: Serve, cli: CommandLine) -> None:
    quick = ScriptedModel("cli-quick", [say("fine")])
    async with serve(waiting("a"), Agent(name="quick", instructions="-", models=quick.model)) as served:
        mine, ada = cli.on(served), "ada 'the' one"
        hers, his = [await served.start("a", user_id=ada) for _ in range(5)], await served.start("a", user_id="bob")
        await asked("a", 6)
        await until(lambda: _open(served, "user", ada, 5))
        ran = await mine("kill", "--user", ada, "--reason", "fraud")
        assert (ran.code, ran.err) == (0, "")
        shown = rows(ran.out)
        assert shown["killed"] == f"user {ada}"
        assert shown["reason"].startswith("fraud (by ")
        assert shown["stopped"] == "5 calls in flight"
        assert shown["ended"].startswith("5 runs: ")
        assert shown["left"] == "none"
        assert shown["took"].endswith(" s")
        assert "interlock release --user 'ada '\"'\"'the'\"'\"' one'" in ran.out
        for run in hers:
            assert (await served.end(run)).outcome == "killed"
        assert (await his.status()).state == "running"

        refused = await mine("run", "quick", "go", "--user", ada, "--json")
        assert (refused.code, refused.json["outcome"], refused.json["usage"]["calls"]) == (1, "killed", 0)
        again = await mine("kill", "--user", ada, "--json")
        assert (again.code, again.json["already_killed"], again.json["left"]) == (0, True, 0)
        assert again.json["reason"] == "fraud"
        assert again.json["refused"] >= 1

        released = await mine("release", "--user", ada)
        assert (released.code, released.err) == (0, "")
        assert "what was killed stays killed" in released.out
        assert (await mine("run", "quick", "go", "--user", ada)).code == 0
        twice = await mine("release", "--user", ada)
        assert (twice.code, twice.out) == (1, "")
        assert "is not killed; interlock kills shows what is" in twice.complaint
        assert (await hers[0].result()).outcome == "killed"
        await his.kill()


async def _open(served: Served, scope: Any, subject: str, runs: int) -> bool:
    return await served.interlock.fleet.open_runs(scope, subject) == runs


async def test_where_nobody_serves_the_fleet_it_says_that_nothing_happens(serve: Serve, cli: CommandLine) -> None:
    async with serve(waiting("a")) as served:
        # A fleet that has begun, and that no worker has polled for since.
        deserted = f"{served.interlock.fleet.id}-deserted"
        await served.client.start_workflow("FleetControl", id=deserted, task_queue=deserted)
        there = CommandLine({**cli.environment, "INTERLOCK_FLEET": deserted})
        killed, shown, breakers = await asyncio.gather(
            there("kill", "--user", "ada"), there("kills"), there("breakers")
        )
        released = await there("release", "--user", "ada")
        nowhere = await CommandLine({**cli.environment, "INTERLOCK_FLEET": "no-such-fleet"})("kill", "--all")
        await served.client.get_workflow_handle(deserted).terminate()
    assert (killed.code, killed.out) == (1, "")
    assert f"no worker serves {deserted}: the kill is recorded, and nothing happens before one does" in killed.complaint
    assert (shown.code, shown.out) == (0, "nothing is killed\n")
    assert breakers.code == 0
    assert released.code == 1  # the memo knows of no kill yet, and there is nobody to ask
    assert "no worker answered" in released.complaint
    assert nowhere.code == 1
    assert "no worker has served no-such-fleet here yet, so nothing can be killed" in nowhere.complaint


async def test_ctrl_c_stops_watching_and_not_the_kill(serve: Serve, cli: CommandLine) -> None:
    async with serve(waiting("a")) as served:
        runs = [await served.start("a", user_id="cato") for _ in range(3)]
        # On a queue that nobody serves: it hears nothing, and keeps the sweep busy for five seconds.
        elsewhere = Interlock(served.client, f"{served.interlock.queue}-elsewhere", served.interlock.fleet.id)
        deaf = await elsewhere.start({"agent": "a", "input": "go", "user_id": "cato"})
        await all_in_flight(runs)
        await until(lambda: _open(served, "user", "cato", 4))
        async with terminal(cli.on(served).environment, *COMMAND, "kill", "--user", "cato") as screen:
            await screen.until("Ctrl-C stops watching, not the kill")
            await screen.until("3 of 4")
            screen.process.send_signal(signal.SIGINT)
            assert await screen.code() == 130
            await screen.until("the kill stays in force and the sweep goes on by itself. See it: interlock kills")
            assert "Traceback" not in screen.shown
            assert "\x1b[?25h" in screen.shown  # the cursor is back
        ended = await cli.on(served)("kill", "--user", "cato", "--json")
        assert (ended.code, ended.json["left"], ended.json["sweep"]["terminated"]) == (0, 0, 1)
        again = await cli("kill", deaf.id)
        assert "has already ended: terminated" in again.complaint


# -- everything --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def alone() -> AsyncIterator[tuple[Served, CommandLine]]:
    """A server of its own: everything on it is killed."""
    quick = ScriptedModel("cli-alone", [say("fine")])
    agents = [waiting("a"), Agent(name="quick", instructions="-", models=quick.model)]
    async with temporal_server() as there, serving(there.client, agents, queue="alone", fleet="the-fleet"):
        address = there.client.service_client.config.target_host
        cli = CommandLine(environment(TEMPORAL_ADDRESS=address))
        served = Served(Interlock(there.client, "alone", "the-fleet"))
        yield served, cli.on(served)


MANY = sized(40, 16)


async def test_everything_ends_and_nothing_begins_until_it_is_released() -> None:
    async with alone() as (served, cli):
        runs = [await served.start("a", user_id=f"user-{n % 7}") for n in range(MANY)]
        await until(lambda: _open(served, "all", "", MANY))
        async with terminal(cli.environment, *COMMAND, "kill", "--all") as screen:
            await screen.until(f"Kill everything? {MANY} runs open now")
            screen.process.send_signal(signal.SIGINT)
            assert await screen.code() == 130
        assert await served.interlock.fleet.open_runs("all") == MANY

        ran = await cli("kill", "--all", "--reason", "fire", "--json")
        assert (ran.code, ran.err) == (0, "")
        told = ran.json
        assert (told["scope"], told["open_before"], told["left"]) == ("all", MANY, 0)
        swept = Sweep.model_validate(told["sweep"])
        assert swept.done
        assert only_signalled(swept)
        assert told["stopped"] + told["refused"] >= 1
        assert {(await run.result()).outcome for run in runs} == {"killed"}

        both = await asyncio.gather(cli("kill", "--user", "user-1"), cli("run", "quick", "go", "--user", "user-1"))
        assert [each.code for each in both] == [0, 1]
        listed: Ran = await cli("kills", "--json")
        assert [(each["scope"], each["subject"]) for each in listed.json] == [("all", ""), ("user", "user-1")]
        assert listed.json[0]["reason"] == "fire"
        only = await cli("release", "--user", "user-1")
        assert only.code == 0
        assert "everything is still killed" in only.complaint
        assert (await cli("run", "quick", "go")).code == 1
        assert (await cli("release", "--all", "--json")).json["released"]
        assert (await cli("run", "quick", "go")).code == 0
        assert (await runs[0].result()).outcome == "killed"


async def test_at_a_terminal_it_asks_first_and_shows_how_far_it_is() -> None:
    async with alone() as (served, cli):
        runs = [await served.start("a") for _ in range(12)]
        await all_in_flight(runs)
        async with terminal(cli.environment, *COMMAND, "kill", "--all") as screen:
            await screen.until("Type yes: ")
            screen.press("no\n")
            assert await screen.code() == 1
            await screen.until("interlock: nothing was killed")
        assert (await served.interlock.fleet.view()).kills == {}
        async with terminal(cli.environment, *COMMAND, "kill", "--all") as screen:
            await screen.until("Type yes: ")
            screen.press("yes\n")
            await screen.until("ending runs")
            assert await screen.code() == 0
            await screen.until("interlock release --all")
        async with terminal(cli.environment, *COMMAND, "kill", "--all", "--yes") as screen:
            assert await screen.code() == 0
            await screen.until("everything, as since ")
            assert "Type yes" not in screen.shown
