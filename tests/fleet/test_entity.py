"""``FleetControl`` as an entity: nothing can make it raise, it goes on for ever, and begins again when it was ended."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError

from interlock import Account, Price
from interlock.accounts import ledger_id
from interlock.contracts import BreakerSettings, FleetStatus
from interlock.errors import BadRequest
from interlock.testing import Say, replay, say
from tests.conftest import Serve
from tests.fleet.environment import begun_again, in_flight, replay_fleet, waiting
from tests.sizes import sized
from tests.until import until
from workflows.budget_ledger import BudgetLedger
from workflows.fleet_control import FleetControl

ODD: list[Any] = [
    None, "", "kill", 0, -1, 1.5, True, [], {}, [{}], {"scope": "run"}, {"scope": "user", "subject": ""},
    {"scope": "everything", "subject": "x"}, {"scope": "run", "subject": 7}, {"subject": "x"}, {"reason": {}},
    {"scope": "run", "subject": "x" * 5000}, {"scope": "all", "extra": 1}, {"reason": "x" * 50_000}, {"by": "y" * 500},
    {"worker": "w", "outcomes": "x"}, {"worker": "", "outcomes": []}, {"worker": "w", "outcomes": [{"dependency": ""}]},
    {"worker": "w", "outcomes": [{"dependency": "d", "failures": -3}]}, {"message": ["x"]}, {"message": None},
    {"worker": "w", "outcomes": [{"dependency": "d", "failures": 10**30}]}, {"limits": {"usd": "NaN"}},
    {"worker": "w", "outcomes": [{"dependency": "d", "failures": True, "generation": "x"}]}, {"run": 3},
    {"dependency": "d", "settings": {"failure_rate": 7}}, {"settings": {}}, {"dependency": "d", "worker": []},
    {"call_id": [], "approve": "perhaps"}, {"limits": {"steps": -1}, "by": 4}, {"\ud800": "\udfff"}, {"a": {"b": {}}},
]  # fmt: skip


def payloads(seed: int, count: int) -> list[list[Any]]:
    """Arguments as anybody may send them: odd ones, none, several, and nested ones."""
    chance = random.Random(seed)
    found: list[list[Any]] = []
    for _ in range(count):
        one = chance.choice(ODD)
        match chance.randrange(6):
            case 0:
                found.append([])
            case 1:
                found.append([one, chance.choice(ODD)])
            case 2:
                found.append([{"scope": one, "subject": one, "reason": one, "by": one}])
            case _:
                found.append([one])
    return [each for each in found if _sendable(each)]


def _sendable(arguments: list[Any]) -> bool:
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def batched(all_of_them: list[list[Any]], size: int = 10) -> list[list[list[Any]]]:
    """So many at a time that several come with one workflow task, as they do when there is trouble."""
    return [all_of_them[begin : begin + size] for begin in range(0, len(all_of_them), size)]


async def test_no_signal_update_or_query_can_harm_a_run_or_the_fleet(serve: Serve) -> None:
    """Thousands of them, and the run goes on, can be asked, and can be killed."""
    async with serve(waiting("a", [Say(text="late", delay=600)])) as served:
        run = await served.start("a")
        await in_flight(run, "model")
        fleet = served.client.get_workflow_handle(served.interlock.fleet.id)
        # What is well-formed would do what it says: kills of runs that nobody has are harmless, kill on the run is not.
        targets = [
            *((run.handle, name) for name in ("pause", "resume", "steer", "child_ended", "child_waits", "unknown")),
            *((fleet, name) for name in ("release", "report", "unknown")),
        ]
        sent = 0
        for several in batched(payloads(1, sized(585, 50))):
            await asyncio.gather(
                *(handle.signal(name, args=arguments) for arguments in several for handle, name in targets)
            )
            sent += len(several) * len(targets)
        for arguments in payloads(2, sized(150, 40)):
            if not (arguments and isinstance(arguments[0], dict) and set(arguments[0]) <= {"reason", "by"}):
                if arguments not in ([], [{}], [None]):
                    await run.handle.signal("kill", args=arguments)
                await fleet.signal("kill", args=arguments if arguments != [{"scope": "all"}] else [])
                sent += 2
        for handle, names in ((run.handle, ("decide", "extend")), (fleet, ("configure", "acquire_probe"))):
            for name in names:
                for arguments in payloads(3, sized(60, 15)):
                    with pytest.raises((WorkflowUpdateFailedError, RPCError)):
                        await handle.execute_update(name, args=arguments)
                    sent += 1
        for arguments in payloads(4, sized(100, 15)):
            await run.handle.query("status", args=arguments)
            await fleet.query("status", args=arguments)
            sent += 2
        assert sent >= sized(5000, 500)
        await run.resume()
        status = await run.status()
        assert status.state in ("running", "paused")
        assert status.ignored_signals > sent / 10
        assert (await served.interlock.fleet.status()).ignored_signals > sent / 10
        await run.handle.signal("kill", {"reason": "after all that", "by": "ada"})
        assert (await served.end(run)).reason == "after all that (by ada)"
        await replay_fleet(served)


async def test_no_signal_update_or_query_can_harm_an_account(serve: Serve) -> None:
    prices = {"scripted:a-model": Price(input="1.00", output="1.00")}
    payer = waiting("a", [say("done")], accounts=[Account("user:{user_id}", usd="1.00")], prices=prices)
    async with serve(payer) as served:
        user = uuid.uuid4().hex
        await served.run("a", user_id=user)
        ledger = served.client.get_workflow_handle(ledger_id(f"user:{user}"))
        for several in batched(payloads(5, sized(300, 40))):
            await asyncio.gather(
                *(ledger.signal(name, args=arguments) for arguments in several for name in ("observe", "unknown"))
            )
        for name in ("lease", "settle", "set_limit"):
            for arguments in payloads(6, sized(60, 15)):
                with pytest.raises((WorkflowUpdateFailedError, RPCError)):
                    await ledger.execute_update(name, args=arguments)
        for arguments in payloads(7, sized(60, 15)):
            await ledger.query("status", args=arguments)
        assert (await served.run("a", user_id=user)).outcome == "completed"
        status = await served.interlock.account(f"user:{user}").status()
        assert status.leases == 0
        assert status.ignored_signals > 10
        await replay(served.client, ledger, BudgetLedger)


async def test_kills_and_settings_outlive_continue_as_new(serve: Serve, forgetful: Client) -> None:
    async with serve(waiting("a", [say("done")]), client=forgetful) as served:
        fleet = served.interlock.fleet
        handle = served.client.get_workflow_handle(fleet.id)
        first = (await handle.describe()).run_id
        await fleet.kill("user", "ada", "fraud", by="ops")
        await fleet.configure(BreakerSettings(failure_threshold=9), "openai:x")
        await until(lambda: _swept(fleet.status))
        for _ in range(30):
            await handle.signal("report", {"worker": "w", "outcomes": [{"dependency": "d", "failures": 1}]})
        await begun_again(handle, first)
        # At once: the server lets the next execution have its first task a second after it has begun.
        assert (await served.run("a", user_id="ada")).outcome == "killed"
        started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
        assert set(started.memo.fields) == {"settings", "kill/user:ada", "breaker/d"}
        status = await fleet.status()
        assert [(each.scope, each.subject, each.reason) for each in status.kills] == [("user", "ada", "fraud")]
        assert status.settings["openai:x"].failure_threshold == 9
        assert status.breakers["d"].state == "open"
        # The mirror has followed: what it obeys is what the new execution says.
        await fleet.release("user", "ada")
        await fleet.kill("user", "bob", "fraud", by="ops")

        async def turned() -> bool:
            return (await served.run("a", user_id="bob")).outcome == "killed"

        await until(turned)

        async def let_in() -> bool:
            return (await served.run("a", user_id="ada")).outcome == "completed"

        await until(let_in)  # his may have been ended by the sweep, before the mirror had followed
        await replay(served.client, served.client.get_workflow_handle(fleet.id, run_id=first), FleetControl)


async def _swept(status: Any) -> bool:
    told: FleetStatus = await status()
    return all(each.sweep is not None for each in told.kills if each.scope != "run")


async def test_a_fleet_that_was_terminated_begins_again_with_its_kills(serve: Serve) -> None:
    async with serve(waiting("a", [say("done")])) as served:
        fleet = served.interlock.fleet
        await fleet.kill("user", "ada", "fraud", by="ops")
        assert (await served.run("a", user_id="ada")).outcome == "killed"
        handle = served.client.get_workflow_handle(fleet.id)
        first = (await handle.describe()).run_id
        await handle.terminate("by mistake")
        await begun_again(handle, first)
        assert set((await fleet.view()).kills) == {"user:ada"}
        assert (await served.run("a", user_id="ada")).outcome == "killed"
        assert (await served.run("a", user_id="bob")).outcome == "completed"


async def test_a_fleet_that_was_ended_while_no_worker_ran_begins_again_as_it_was(serve: Serve) -> None:
    async with serve(waiting("a")) as served:
        fleet = served.interlock.fleet
        handle = served.client.get_workflow_handle(fleet.id)
        await handle.signal("report", {"worker": "w", "outcomes": [{"dependency": "d", "failures": 9, "error": "500"}]})
        await fleet.configure(BreakerSettings(failure_threshold=7), "openai:x")
        await fleet.kill("user", "ada", "fraud", by="ops")
        await until(lambda: _swept(fleet.status))
        before = await fleet.view()
    await handle.terminate("by mistake")
    async with serve(waiting("a", [say("done")]), fleet=fleet.id) as served:
        after = await served.interlock.fleet.view()
        assert (after.kills, after.settings, after.breakers) == (before.kills, before.settings, before.breakers)
        assert after.breakers["d"].state == "open"
        assert (await served.run("a", user_id="ada")).outcome == "killed"


async def test_updates_of_the_fleet_are_refused_with_a_sentence(serve: Serve) -> None:
    async with serve(waiting("a")) as served:
        handle = served.client.get_workflow_handle(served.interlock.fleet.id)
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update("configure", {"dependency": "d", "settings": {"failure_rate": 7}})
        assert "settings.failure_rate" in str(failed.value.cause)
        granted = await handle.execute_update("acquire_probe", {"dependency": "nobody", "worker": "w"})
        assert granted["granted"] is False
        with pytest.raises(BadRequest, match="dependency"):
            await served.interlock.fleet.configure(BreakerSettings(), "x" * 400)
