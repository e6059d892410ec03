"""The gate: every attempt of a model or tool call passes it, retries included, before it may leave the worker.

    killed?                  RunKilled, and so are calls in flight, at once
    switch out of sight?     FleetUnreachable: tried again; a switch that nobody hears is taken for off
    breaker open?            CircuitOpen, with the time from which asking again makes sense
    half open?               one call in the whole fleet is granted a probe
    nothing proven yet?      a few calls first (``interlock.policies.admission``)

What comes of a call is told to the fleet by ``activities.reports``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from temporalio import activity

from activities.mirror import Mirror
from activities.reports import Reports
from interlock.contracts import Kill, ProbeReply
from interlock.errors import Failure
from interlock.fleet import FleetView
from interlock.policies import switch
from interlock.policies.admission import Go, Out, Refuse, Wait, came_back, judge, soon_enough
from interlock.telemetry import names

log = structlog.get_logger("interlock.gate")


@dataclass(frozen=True)
class Asker(switch.Asking):
    """The run that asks for a call, as an activity of it knows it."""

    @classmethod
    def of_activity(cls, user: str, begun: datetime | None) -> Asker:
        info = activity.info()
        return cls(info.workflow_id or "", user, info.scheduled_time, begun)


@dataclass(eq=False)
class Admission:
    """A call that is out. ``seconds``: how long it may take; ``killed``: the kill that has stopped it."""

    asker: Asker
    dependency: str
    task: asyncio.Task[object] | None
    seconds: float
    generation: int = 0
    probe: bool = False
    killed: Kill | None = None


class Gate:
    """One for each worker process."""

    def __init__(self, mirror: Mirror, reports: Reports) -> None:
        self._mirror = mirror
        self._reports = reports
        self._admitted: set[Admission] = set()
        self._out: dict[str, Out] = {}
        self._turned = asyncio.Event()
        self._probing: set[str] = set()
        self._numbers = itertools.count()
        mirror.changed(self._heard)

    @property
    def fleet(self) -> str:
        """The id of the ``FleetControl`` it obeys."""
        return self._mirror.fleet

    def check(self, asker: Asker) -> None:
        """Raises ``Failure`` when its run is killed, or nobody can know."""
        if self._mirror.blind:
            raise Failure(
                "FleetUnreachable",
                f"this worker has not heard of {self._mirror.fleet} for {self._mirror.age:.0f} s. Nothing was sent: it "
                "cannot know what is killed",
            )
        if (killed := _covering(self._mirror.view, asker)) is not None:
            self._reports.refused(killed)
            raise _killed(killed)

    @asynccontextmanager
    async def admit(self, dependency: str, asker: Asker, *, seconds: float) -> AsyncIterator[Admission]:
        """Let one call out, while the block runs. Raises ``Failure`` instead of letting it out; and when it is killed
        in flight, in place of its cancellation. ``seconds``: how long the call may take."""
        admission = Admission(asker, dependency, asyncio.current_task(), seconds)
        number = next(self._numbers)
        try:
            async with asyncio.timeout(seconds / 2):
                await self._pass(admission)
        except TimeoutError:
            raise _open(dependency, datetime.now(UTC), "other calls are trying it") from None
        out = self._of(dependency, admission.generation)
        out.calls[number] = datetime.now(UTC)
        self._admitted.add(admission)
        failed: bool | None = None
        error = ""
        try:
            self.check(asker)  # while it waited
            yield admission
            failed = False
        except Failure as failure:
            failed, error = (True, f"{failure.kind}: {failure}") if failure.outage else (None, "")
            raise
        except asyncio.CancelledError:
            if admission.killed is None:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            raise _killed(admission.killed, in_flight=True) from None
        finally:
            self._admitted.discard(admission)
            came_back(out, number, failed=failed, now=datetime.now(UTC))
            self._turn()
            watched = self._mirror.view.breaker(dependency).watched
            if failed or admission.probe or (failed is False and watched):
                self._reports.outcome(admission, failed=failed, error=error)

    async def _pass(self, admission: Admission) -> None:
        while True:
            self.check(admission.asker)
            name, view = admission.dependency, self._mirror.view
            breaker, now = view.breaker(name), datetime.now(UTC)
            verdict = judge(view.settings_of(name), breaker, self._of(name, breaker.generation), now)
            match verdict:
                case Go(probe=False):
                    admission.generation = breaker.generation
                    return
                case Go():
                    if await self._probe(admission):
                        return
                case Refuse(retry_at):
                    raise _open(name, retry_at, breaker.error)
                case Wait(until):
                    await self._until_turned((until - now).total_seconds())

    async def _probe(self, admission: Admission) -> bool:
        """Ask the fleet to be the one that tries. One question of a worker at a time: the others see its answer."""
        name = admission.dependency
        if name in self._probing:
            raise _open(name, datetime.now(UTC), "it is being tried")
        self._probing.add(name)
        try:
            reply: ProbeReply = await self._reports.acquire_probe(name, admission.seconds)
        finally:
            self._probing.discard(name)
        if reply.granted:
            admission.generation, admission.probe = reply.generation, True
            return True
        if reply.retry_at is not None:
            view = self._mirror.view
            being_tried = view.breaker(name).model_copy(update={"state": "half_open"})
            retry_at = soon_enough(view.settings_of(name), being_tried, reply.retry_at, datetime.now(UTC))
            raise _open(name, retry_at, being_tried.error)
        await self._until_turned(1.0)  # closed by now: the mirror is about to hear of it
        return False

    def _of(self, dependency: str, generation: int) -> Out:
        out = self._out.get(dependency)
        if out is None or out.generation < generation:
            self._out[dependency] = out = Out(generation=generation)
        return out

    # -- news ----------------------------------------------------------------------------------------------------

    def _heard(self, view: FleetView) -> None:
        for forgotten in [name for name, out in self._out.items() if out.generation and name not in view.breakers]:
            del self._out[forgotten]  # should it have a breaker again, its generations begin anew
        for admission in self._admitted:
            killed = _covering(view, admission.asker)
            if killed is not None and admission.killed is None and admission.task is not None:
                admission.killed = killed
                admission.task.cancel()
                self._reports.stopped(killed)
                asker, dependency = admission.asker, admission.dependency
                log.info(names.CALL_STOPPED, run_id=asker.run, user_id=asker.user, dependency=dependency, by=killed.by)
        self._turn()

    def _turn(self) -> None:
        """Whoever waits at the gate looks again."""
        self._turned.set()
        self._turned = asyncio.Event()

    async def _until_turned(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._turned.wait(), max(seconds, 0.01))
        except TimeoutError:
            return


def _covering(view: FleetView, asker: Asker) -> Kill | None:
    return switch.covering(view.kills, view.released, asker)


def _killed(found: Kill, *, in_flight: bool = False) -> Failure:
    """``told``: what the run says of it."""
    said = f"{switch.words(found)} (by {found.by})"
    told = {"reason": switch.words(found), "by": found.by, "scope": found.scope}
    return Failure("RunKilled", said, fate="unknown" if in_flight else "unbilled", told=told)


def _open(dependency: str, retry_at: datetime, why: str | None) -> Failure:
    said = f"the circuit breaker of {dependency} is open until {retry_at:%H:%M:%S} UTC: {why or 'it fails'}"
    return Failure("CircuitOpen", said, told={"dependency": dependency, "retry_at": retry_at.isoformat()})
