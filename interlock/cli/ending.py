"""A kill or a release carried out: told to the fleet, taken up by it, and watched until no run is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from interlock.cli import BROKEN, OK, proof, screen
from interlock.cli.options import Common
from interlock.cli.proof import Ended
from interlock.cli.session import complain
from interlock.cli.sweeping import Watch, waiting, watching
from interlock.client import Run
from interlock.client_fleet import Fleet
from interlock.contracts import AgentResult, Kill, KillOrder, Note
from interlock.errors import BadRequest, NoWorker, RunFailed
from interlock.fleet import FleetView
from interlock.killing import Rung
from interlock.policies.switch import name
from interlock.pollers import pollers

TAKEN_WITHIN = 2.5
"""Seconds within which an idle worker has taken up an order many times over."""

SILENT_FOR = 15.0
"""Seconds without a word after which nobody is taken to serve the fleet. Work of a worker that has died waits for a
few, and one on a busy machine needs some."""

LOOK_EVERY = 0.3

INDEXED_WITHIN = 10.0
"""Seconds that the index may be behind the end of a sweep, which has found nothing in it twice."""


async def run(common: Common, target: Run, note: Note) -> int:
    """End one run, and say how it ended."""
    live = screen.is_live(stderr=common.json)
    with waiting(screen.console(stderr=common.json), f"ending {target.id}", live=live):
        rung = await target.kill(note.reason, note.by)
        result, instead = await _result(target, rung)
    if common.json:
        screen.write_json(proof.run_json(target.id, rung, result))
    else:
        proof.show_run(screen.console(), target.id, rung, result, instead)
    return OK


async def _result(target: Run, rung: Rung) -> tuple[AgentResult | None, str]:
    """How it ended, or why there is no result."""
    if rung == "terminate":
        return None, ""
    try:
        return await target.result(), ""
    except RunFailed as error:  # somebody else was quicker
        return None, str(error)


async def release(fleet: Fleet, order: KillOrder) -> bool:
    """Wait until new runs are let in. Returns whether everything is killed still."""
    key, before = name(order.scope, order.subject), await _seen(fleet)
    await fleet.release(order.scope, order.subject, order.reason, order.by)
    view = await _taken_up(fleet, lambda view: key not in view.kills, before, "release")
    return "all" in view.kills


async def many(common: Common, fleet: Fleet, order: KillOrder, told: list[bool]) -> int:
    """Kill a user's runs, or all, and watch until none is left. ``told`` is filled once the fleet has the order."""
    key, again = name(order.scope, order.subject), name(order.scope, order.subject) in (await fleet.view()).kills
    open_before, before = await fleet.open_runs(order.scope, order.subject), await _seen(fleet)
    began = time.monotonic()
    await fleet.kill(order.scope, order.subject, order.reason, order.by)
    told.append(True)
    live = screen.is_live(stderr=common.json)
    with watching(screen.console(stderr=common.json), open_before, live=live) as watch:
        view = await _taken_up(fleet, lambda view: key in view.kills, before, "kill")
        kill, left, problem = await _until_none_is_left(fleet, view.kills[key], watch)
    ended = Ended(kill, again, open_before, left, time.monotonic() - began)
    if common.json:
        screen.write_json(proof.many_json(ended))
    else:
        proof.show_many(screen.console(), ended)
    if problem:
        complain(problem)
    return BROKEN if problem or left else OK


async def _seen(fleet: Fleet) -> datetime | None:
    """When a worker last asked for the fleet's work, by the server's clock."""
    found = await pollers(fleet.client, fleet.id, "workflow")
    return found[0].seen if found else None


async def _taken_up(fleet: Fleet, taken: Callable[[FleetView], bool], before: datetime | None, what: str) -> FleetView:
    """Wait until the fleet has taken an order up. ``before``: when a worker had last asked for its work until then."""
    began = time.monotonic()
    while True:
        view = await fleet.view()
        if taken(view):
            return view
        waited = time.monotonic() - began
        if waited > TAKEN_WITHIN:
            now = await _seen(fleet)
            if now is None or (waited > SILENT_FOR and now == before):
                raise NoWorker(
                    f"no worker serves {fleet.id}: the {what} is recorded, and nothing happens before one does; "
                    "start one: python worker.py"
                )
            if waited > SILENT_FOR:
                await _refused(fleet, taken, what)
        await asyncio.sleep(0.05 if waited < 1 else LOOK_EVERY)


async def _refused(fleet: Fleet, taken: Callable[[FleetView], bool], what: str) -> None:
    """Raises ``BadRequest`` where the fleet answers without having done it; ``NoWorker`` where it does not."""
    users = sum(kill.scope == "user" for kill in (await fleet.status()).kills)
    if not taken(await fleet.view()):
        raise BadRequest(f"{fleet.id} has not taken the {what}: {users:,} users are killed; release some of them")


async def _until_none_is_left(fleet: Fleet, kill: Kill, watch: Watch) -> tuple[Kill, int, str]:
    """The kill as the fleet last told it, how many runs are left, and why it is not over although nobody waits."""
    answered, swept = time.monotonic(), 0.0
    while True:
        left = await fleet.open_runs(kill.scope, kill.subject, kill.at)
        watch.note(left, await fleet.sweep(kill.scope, kill.subject))
        try:
            status = await fleet.status()
        except NoWorker as error:
            if time.monotonic() - answered > SILENT_FOR:
                return kill, left, f"{error}. The kill stays in force"
            continue
        answered = time.monotonic()
        found = [each for each in status.kills if (each.scope, each.subject) == (kill.scope, kill.subject)]
        if not found:
            return kill, left, "it was released before every run had ended; the sweep goes on"
        [kill] = found
        if kill.sweep is not None:
            swept = swept or answered
            if not kill.sweep.done:
                return kill, left, "the sweep has failed; release it and kill again. The worker's log says why"
            if left == 0 or answered - swept > INDEXED_WITHIN:
                return kill, left, ""
        await asyncio.sleep(LOOK_EVERY)
