"""``sweep``: ends every open run that a kill covers, in order, and however many there are.

The gates have closed by now: no call leaves any worker. What is left is to end the runs: each is signalled, at most
so many a second; those that are still open when no run has ended for a while are cancelled, and then terminated. A
run that merely waits for its turn at a busy worker is not taken for one that cannot hear, and one that has heard is
given time to settle.

It holds no state that matters: one that is lost begins anew, and finds what is left. The index it reads is a little
behind, so it is done when it has found nothing twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeat import Heartbeating
from interlock import ports
from interlock.contracts import Note, Sweep, SweepCall
from interlock.killing import (
    BUSY,
    CANCEL_PATIENCE,
    IN_ORDER,
    RUNGS,
    SIGNAL_PATIENCE,
    Rung,
    hears,
    ids_of_open_runs,
    step,
)
from interlock.policies.switch import name, reach, words

log = structlog.get_logger("interlock.sweep")

SIDE_BY_SIDE = 20
PATIENCE: dict[Rung, float] = {"signal": SIGNAL_PATIENCE, "cancel": CANCEL_PATIENCE, "terminate": CANCEL_PATIENCE}


class SweepActivity(ports.Sweeps):
    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name="sweep")
    async def sweep(self, call: SweepCall) -> Sweep:
        sweeping = _Sweeping(self._client, call)
        async with Heartbeating(lambda: (sweeping.progress(),)):
            return await sweeping.run()


@dataclass
class _Sweeping:
    client: Client
    call: SweepCall
    began: float = field(default_factory=time.monotonic)
    rungs: dict[str, Rung] = field(default_factory=dict)
    cancelled: dict[str, float] = field(default_factory=dict)
    left: int = 0
    ended: int = 0
    moved: float = field(default_factory=time.monotonic)
    done: bool = False

    def progress(self) -> Sweep:
        taken = list(self.rungs.values())
        return Sweep(
            of=name(self.call.kill.scope, self.call.kill.subject),
            signalled=len(taken),
            cancelled=sum(rung != "signal" for rung in taken),
            terminated=taken.count("terminate"),
            ended=self.ended,
            left=self.left,
            seconds=round(time.monotonic() - self.began, 3),
            done=self.done,
        )

    async def run(self) -> Sweep:
        empty = 0
        while empty < 2:
            found = [run async for run in self._open_runs()]
            self._note(found)
            empty = empty + 1 if not found else 0
            await self._take_all(found)
            await asyncio.sleep(0.2 if found else 0.5)
        self.done = True
        swept, killed = self.progress(), self.call.kill
        log.info("sweep.done", scope=killed.scope, subject=killed.subject, **swept.model_dump())
        return swept

    def _open_runs(self) -> AsyncIterator[str]:
        killed = self.call.kill
        last = reach(killed) if killed.released_at is not None else None
        return ids_of_open_runs(self.client, killed.scope, killed.subject, killed.at, last)

    def _note(self, found: list[str]) -> None:
        """Runs that are no longer found have ended; while any do, nobody is given up on."""
        ended = len(self.rungs.keys() - set(found))
        if ended != self.ended:
            self.ended, self.moved = ended, time.monotonic()
        self.left = len(found)

    async def _take_all(self, found: list[str]) -> None:
        pace = 1 / self.call.runs_a_second
        limit = asyncio.Semaphore(SIDE_BY_SIDE)

        async def take(run: str, rung: Rung) -> None:
            async with limit:
                await self._take(run, rung)

        async with asyncio.TaskGroup() as group:
            for run in found:
                if (rung := self._next(run)) is not None:
                    group.create_task(take(run, rung))
                    await asyncio.sleep(pace)

    def _next(self, run: str) -> Rung | None:
        taken = self.rungs.get(run)
        if taken is None:
            return "signal"
        if time.monotonic() - self.moved < PATIENCE[taken]:
            return None
        return RUNGS[min(RUNGS.index(taken) + 1, len(RUNGS) - 1)]

    async def _take(self, run: str, rung: Rung) -> None:
        note = Note(reason=words(self.call.kill)[:2000], by=self.call.kill.by, fleet_knows=True)
        handle = self.client.get_workflow_handle(run)
        try:
            if rung == "terminate" and self._has_time(run) and await hears(handle):
                return
            accepted = await step(handle, rung, note)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:  # it has ended, and the index does not know yet
                self.rungs[run] = self.rungs.get(run, rung)
                return
            if error.status in BUSY:
                self.moved = time.monotonic()  # who cannot be told cannot be late
                log.info("sweep.busy", run_id=run, rung=rung, error=error.message)
                return
            raise
        self.rungs[run] = rung
        self.moved = time.monotonic()
        if rung == "cancel":
            self.cancelled[run] = self.moved
        if not accepted:
            log.warning("sweep.refused", run_id=run, rung=rung)

    def _has_time(self, run: str) -> bool:
        """Whether a run that hears is waited for: what it settles and tells is lost when it is terminated."""
        return time.monotonic() - self.cancelled.get(run, 0.0) < CANCEL_PATIENCE + IN_ORDER
