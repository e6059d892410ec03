"""Client code's way to the fleet's switch and breakers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError

from interlock.connection import PATIENCE, refused, valid
from interlock.contracts import BreakerSettings, Configure, FleetStatus, Kill, KillOrder, Scope, Sweep
from interlock.errors import BadRequest, NoWorker
from interlock.fleet import FleetView
from interlock.killing import ids_of_open_runs, open_runs
from interlock.policies.switch import name

T = TypeVar("T")


def _covers(kills: Iterable[Kill], order: KillOrder) -> bool:
    return any((each.scope, each.subject) == (order.scope, order.subject) for each in kills)


def _order(scope: Scope, subject: str, reason: str, by: str) -> KillOrder:
    if scope == "all" and subject:
        raise BadRequest(f"scope 'all' takes no subject, and {subject!r} is one; of a user it is scope 'user'")
    return valid(KillOrder, scope=scope, subject=subject, reason=reason, by=by)


@dataclass(frozen=True)
class Fleet:
    """``FleetControl``. Methods raise ``NoWorker`` or ``BadRequest`` in one line."""

    client: Client
    id: str

    async def view(self) -> FleetView:
        """Kills in force and breakers, from its memo. Needs no worker."""
        return FleetView.of(await (await self._describe()).memo())

    async def status(self) -> FleetStatus:
        """What it says itself, with what has been done about each kill. Needs a worker."""
        handle = self.client.get_workflow_handle(self.id)
        return await self._ask(handle.query("status", result_type=FleetStatus, rpc_timeout=PATIENCE))

    async def kill(self, scope: Scope, subject: str = "", reason: str = "", by: str = "client") -> None:
        """Kill a user's runs, or everything, until it is released. Gates close within tens of milliseconds; a sweep
        then ends the open runs: ``sweep`` tells how far it is, ``open_runs`` how many there are.

        For a single run use ``Run.kill``, which makes sure that it ends."""
        await self._signal("kill", _order(scope, subject, reason, by))

    async def release(self, scope: Scope, subject: str = "", reason: str = "", by: str = "client") -> None:
        """Let new runs in again. What was killed stays killed. Raises ``BadRequest`` when nothing was killed."""
        order = _order(scope, subject, reason, by)
        # A kill that was given a moment ago may not be in the memo yet: then the switch itself is asked.
        if not (_covers((await self.view()).kills.values(), order) or _covers((await self.status()).kills, order)):
            what = "everything is not killed" if scope == "all" else f"{scope} {subject!r} is not killed"
            raise BadRequest(f"{what}; interlock kills shows what is")
        await self._signal("release", order)

    async def configure(self, settings: BreakerSettings, dependency: str = "") -> FleetStatus:
        """Set how a dependency's breaker judges; without one, how all do that have no settings of their own."""
        asked = valid(Configure, dependency=dependency, settings=settings)
        handle = self.client.get_workflow_handle(self.id)
        return await self._ask(handle.execute_update("configure", asked, result_type=FleetStatus))

    async def sweep(self, scope: Scope, subject: str = "") -> Sweep | None:
        """How far the sweep of a kill is; ``None``: none is under way, or it has not said yet. Needs no worker."""
        described = await self._describe()
        for pending in described.raw_description.pending_activities:
            if pending.activity_type.name == "sweep" and pending.HasField("heartbeat_details"):
                converter = self.client.data_converter
                [told] = await converter.decode(list(pending.heartbeat_details.payloads), [Sweep])
                if isinstance(told, Sweep) and told.of == name(scope, subject):
                    return told
        return None

    async def open_runs(self, scope: Scope, subject: str = "", at: datetime | None = None) -> int:
        """How many runs are open that a kill covers, as the index knows it: a moment behind. ``at``: when the kill was
        given; runs that were started later, which are refused, are not counted."""
        if scope == "all":
            return (await self.client.count_workflows(open_runs(scope, subject, at), rpc_timeout=PATIENCE)).count
        return len([run async for run in ids_of_open_runs(self.client, scope, subject, at)])

    async def failing(self) -> int:
        """How often the task of its workflow has failed since it last went well: more than once or twice, and it does
        nothing until that is mended. Needs no worker."""
        return max(0, (await self._describe()).raw_description.pending_workflow_task.attempt - 1)

    async def _describe(self) -> WorkflowExecutionDescription:
        try:
            described = await self.client.get_workflow_handle(self.id).describe(rpc_timeout=PATIENCE)
        except RPCError as error:
            raise refused(error, f"fleet {self.id}", self._missing) from error
        if described.status is not WorkflowExecutionStatus.RUNNING:
            raise NoWorker(f"{self.id} has ended; the next worker that starts begins it again: python worker.py")
        return described

    async def _signal(self, name: str, order: KillOrder) -> None:
        await self._ask(self.client.get_workflow_handle(self.id).signal(name, order, rpc_timeout=PATIENCE))

    async def _ask(self, request: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(request, PATIENCE.total_seconds())
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise self._silent from error
        except WorkflowUpdateFailedError as error:
            raise BadRequest(getattr(error.cause, "message", "") or str(error.cause)) from error
        except RPCError as error:
            raise refused(error, f"fleet {self.id}", self._missing, self._silent) from error

    @property
    def _silent(self) -> NoWorker:
        return NoWorker(f"fleet {self.id}: no worker answered; start one: python worker.py")

    @property
    def _missing(self) -> NoWorker:
        return NoWorker(
            f"no worker has served {self.id} here yet, so nothing can be killed; start one: python worker.py"
        )
