"""The gate on its own, against a real ``FleetControl``: what it lets out, and what it tells the fleet of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from temporalio.client import Client

from activities.gate import Admission, Asker, Gate
from activities.mirror import Mirror
from activities.reports import Reports
from interlock import Interlock
from interlock.client_fleet import Fleet
from interlock.contracts import AgentTask, BreakerSettings, FleetSettings, FleetState, Kill, Outcomes, Report
from interlock.errors import Failure
from tests.conftest import Serve, Served
from tests.fleet.environment import QUICK, begun_again, configured, replay_fleet, told, waiting
from tests.until import until

DOWN = Failure("ModelUnavailable", "HTTP 500")


@dataclass
class Here:
    """A worker's gate, without the worker."""

    gate: Gate
    mirror: Mirror

    async def call(self, *, fails: Failure | None = None, run: str = "run", user: str = "ada") -> Admission:
        async with self.gate.admit("d", Asker(run, user, datetime.now(UTC)), seconds=20) as admission:
            if fails is not None:
                raise fails
        return admission

    async def fail(self) -> None:
        with pytest.raises(Failure):
            await self.call(fails=DOWN)

    async def sees(self, state: str) -> None:
        async def seen() -> bool:
            return self.mirror.view.breaker("d").state == state

        await until(seen)


@asynccontextmanager
async def gate(served: Served, worker: str = "here") -> AsyncIterator[Here]:
    fleet = served.interlock.fleet.id
    mirror, reports = Mirror(served.client, fleet), Reports(served.client, fleet, worker)
    made = Gate(mirror, reports)
    await mirror.start()
    reports.start()
    try:
        yield Here(made, mirror)
    finally:
        await reports.stop()
        await mirror.stop()


async def outcomes(served: Served) -> list[Outcomes]:
    """What the fleet was told of ``d``, in order."""
    reports = await told(served.client, served.interlock.fleet.id, "report", Report)
    return [each for report in reports for each in report.outcomes]


async def test_an_outcome_tells_the_generation_it_was_admitted_in_and_whether_it_was_the_try(serve: Serve) -> None:
    async with serve(waiting("a")) as served, gate(served) as here:
        # Open for long enough that a busy machine sees it before the try is due.
        settings = QUICK.model_copy(update={"recovery_seconds": 4.0, "recovery_max": 4.0})
        await configured(served, settings)
        await until(lambda: _known(here, settings))
        out, back = asyncio.Event(), asyncio.Event()
        late = asyncio.create_task(_late(here, out, back))
        await out.wait()
        for _ in range(QUICK.failure_threshold):
            await here.fail()
        await here.sees("open")
        with pytest.raises(Failure, match="the circuit breaker of d is open until") as refused:
            await here.call()
        assert refused.value.kind == "CircuitOpen"
        admission = await _the_try(here)
        assert admission.probe
        await here.sees("closed")
        back.set()
        with pytest.raises(Failure):
            await late

        async def reported() -> bool:
            return sum(each.failures for each in await outcomes(served)) > QUICK.failure_threshold

        await until(reported)
        *before, tried, last = await outcomes(served)
        assert {(each.generation, each.probe) for each in before} == {(0, False)}
        assert sum(each.failures for each in before) == QUICK.failure_threshold
        assert (tried.generation, tried.probe, tried.successes) == (admission.generation, True, 1)
        assert (last.generation, last.failures) == (0, 1)  # of before it opened: it does not count
        assert here.mirror.view.breaker("d").state == "closed"
        await replay_fleet(served)


async def _late(here: Here, out: asyncio.Event, back: asyncio.Event) -> None:
    """A call that is admitted while the breaker is closed, and fails when it is closed again."""
    async with here.gate.admit("d", Asker("late", "ada", datetime.now(UTC)), seconds=60):
        out.set()
        await back.wait()
        raise DOWN


async def _known(here: Here, settings: BreakerSettings) -> bool:
    return here.mirror.view.defaults == settings


async def _the_try(here: Here) -> Admission:
    """The next call that is let out, once it is time."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await here.call()
            except Failure:
                await asyncio.sleep(0.05)


async def test_a_try_that_is_killed_is_nobodys_verdict_and_another_may_have_it(serve: Serve) -> None:
    async with serve(waiting("a")) as served, gate(served) as here:
        await configured(served, QUICK)
        await until(lambda: _known(here, QUICK))
        for _ in range(QUICK.failure_threshold):
            await here.fail()
        await here.sees("open")
        holder = asyncio.create_task(_hold(here, "victim", "eve"))
        await here.sees("half_open")
        await served.interlock.fleet.kill("user", "eve", "fraud", by="ops")
        with pytest.raises(Failure, match="user eve: fraud") as killed:
            await holder
        assert (killed.value.kind, killed.value.fate) == ("RunKilled", "unknown")
        assert (await _the_try(here)).probe
        await here.sees("closed")
        assert [(each.failures, each.successes) for each in await outcomes(served) if each.probe] == [(0, 0), (0, 1)]


async def _hold(here: Here, run: str, user: str) -> None:
    """Be let out, as soon as that may be, and stay out."""
    while True:
        try:
            async with here.gate.admit("d", Asker(run, user, datetime.now(UTC)), seconds=20):
                await asyncio.sleep(60)
        except Failure as failure:
            if failure.kind != "CircuitOpen":
                raise
            await asyncio.sleep(0.05)


async def test_a_try_whose_holder_has_died_delays_the_next_and_blocks_nothing(serve: Serve, temporal: Client) -> None:
    fleet = f"fleet-{uuid.uuid4().hex[:8]}"
    rules = FleetSettings(probe_margin=0.1)
    await temporal.start_workflow("FleetControl", FleetState(rules=rules), id=fleet, task_queue=fleet)
    handle = temporal.get_workflow_handle(fleet)
    async with serve(waiting("a"), fleet=fleet) as served:
        await configured(served, QUICK)

        async def report(worker: str, **outcome: Any) -> None:
            await handle.signal("report", {"worker": worker, "outcomes": [{"dependency": "d", **outcome}]})

        async def granted(worker: str) -> dict[str, Any]:
            asked = {"dependency": "d", "worker": worker, "seconds": 5.0}
            reply: dict[str, Any] = {}

            async def is_granted() -> bool:
                reply.update(await handle.execute_update("acquire_probe", asked))
                return bool(reply["granted"])

            await until(is_granted)
            return reply

        await report("w", failures=9)
        dead = await granted("dead")
        refused = await handle.execute_update("acquire_probe", {"dependency": "d", "worker": "other", "seconds": 9})
        assert not refused["granted"]
        other = await granted("other")
        assert other["generation"] > dead["generation"]
        await report("dead", failures=1, probe=True, generation=dead["generation"])  # back from the dead
        assert (await served.interlock.fleet.view()).breaker("d").state == "half_open"
        await report("other", successes=1, probe=True, generation=other["generation"])

        async def closed() -> bool:
            return (await served.interlock.fleet.view()).breaker("d").state == "closed"

        await until(closed)
        await replay_fleet(served)


async def test_a_released_kill_holds_for_what_was_open_until_its_sweep_is_done(serve: Serve) -> None:
    async with serve(waiting("a")) as served, gate(served) as here:
        fleet, user = served.interlock.fleet, uuid.uuid4().hex
        # Nobody serves this one: the sweep is not done before it has been terminated.
        unheard = await Interlock(served.client, f"queue-{user}", fleet.id).start(
            AgentTask(agent="a", input="x", user_id=user)
        )
        begun = datetime.now(UTC)
        await fleet.kill("user", user, "drill", by="ops")
        await until(partial(_taken_in, fleet, user))
        await fleet.release("user", user)
        await until(lambda: _is(here.mirror.view.released, user))
        later = begun + timedelta(hours=1)
        with pytest.raises(Failure, match=f"user {user}: drill"):
            here.gate.check(Asker("old", user, since=later, begun=begun - timedelta(hours=1)))
        here.gate.check(Asker("new", user, since=later, begun=later))
        await unheard.handle.terminate()


async def test_a_kill_is_obeyed_before_anybody_has_taken_it_in_and_is_taken_in_later(serve: Serve) -> None:
    """As when the worker that serves the switch freezes with its task in hand."""
    async with AsyncExitStack() as stack:
        async with serve(waiting("a")) as served:
            here = await stack.enter_async_context(gate(served))
        fleet = served.interlock.fleet  # which nobody serves now
        holding = asyncio.create_task(_hold(here, "victim", "eve"))
        await until(lambda: _let_out(here, "ada"))
        for order in ("garbage", {"scope": "planet"}, {"scope": "user", "subject": "ada", "reason": "drill"}):
            await served.client.get_workflow_handle(fleet.id).signal("kill", order)
        await fleet.kill("user", "eve", "fraud", by="ops")
        with pytest.raises(Failure, match="user eve: fraud") as killed:
            await holding
        assert (killed.value.kind, killed.value.fate) == ("RunKilled", "unknown")
        await served.client.get_workflow_handle(fleet.id).signal("release", {"scope": "user", "subject": "ada"})
        await until(lambda: _let_out(here, "ada"))
        assert not (await fleet.view()).kills
        assert set(here.mirror.view.kills) == {"user:eve"}
        async with serve(waiting("a"), fleet=fleet.id) as again, gate(again, "there") as there:
            await until(lambda: _is(there.mirror.view.kills, "eve"))
            assert set((await fleet.view()).kills) == {"user:eve"}
            for one in (here, there):
                with pytest.raises(Failure, match="user eve: fraud"):
                    one.gate.check(Asker("next", "eve", datetime.now(UTC)))
            await fleet.release("user", "eve")
            for one in (here, there):
                await until(partial(_let_out, one, "eve"))
            await replay_fleet(again)


async def test_a_switch_that_is_ended_before_it_has_taken_a_kill_in_begins_again_with_it(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        async with serve(waiting("a")) as served:
            here = await stack.enter_async_context(gate(served))
        fleet = served.interlock.fleet  # which nobody serves now: all it says is what it was begun with
        handle = served.client.get_workflow_handle(fleet.id)
        await fleet.kill("user", "eve", "fraud", by="ops")
        await until(partial(_obeyed, here, "eve"))
        first = (await handle.describe()).run_id
        await handle.terminate("by mistake")
        await begun_again(handle, first)
        assert set((await fleet.view()).kills) == {"user:eve"}
        with pytest.raises(Failure, match="user eve: fraud"):
            here.gate.check(Asker("next", "eve", datetime.now(UTC)))
        async with serve(waiting("a"), fleet=fleet.id) as again_served:
            assert [each.subject for each in (await fleet.status()).kills] == ["eve"]
            await replay_fleet(again_served)


async def _obeyed(here: Here, user: str) -> bool:
    return f"user:{user}" in here.mirror.view.kills


async def _let_out(here: Here, user: str) -> bool:
    try:
        await here.call(user=user)
    except Failure as failure:
        if failure.kind != "RunKilled":
            raise
        return False
    return True


async def _taken_in(fleet: Fleet, user: str) -> bool:
    return await _is((await fleet.view()).kills, user)


async def _is(kills: Mapping[str, Kill], user: str) -> bool:
    return f"user:{user}" in kills
