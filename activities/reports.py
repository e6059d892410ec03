"""What a worker tells ``FleetControl``: outcomes of calls and what its gate did about kills, in batches.

At most ``A_SECOND`` reports a second, the first at once. One that was not delivered, or of which nobody knows whether
it was, is sent again as it was, under the id by which the server takes it once: a breaker would count twice what it
holds. What comes meanwhile is in the next. A healthy worker has nothing to tell.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError

from interlock.contracts import AcquireProbe, Kill, Outcomes, ProbeReply, Report, Scope, Stopped
from interlock.errors import Failure

log = structlog.get_logger("interlock.reports")

A_SECOND = 4
LONGEST_NAME, MOST = 300, 1_000_000
"""What a report may hold: a longer name of a dependency, or a greater number, is refused with the whole of it."""

AT_ONCE = 500
"""Outcomes in one report: what is behind it waits for the next."""


class Admitted(Protocol):
    """What is known of a call that was out."""

    dependency: str
    generation: int
    probe: bool


@dataclass
class _Tally:
    failures: int = 0
    successes: int = 0
    error: str | None = None


@dataclass
class _Done:
    stopped: int = 0
    refused: int = 0


@dataclass
class Reports:
    """One for each worker process. ``worker`` names it in the fleet's history."""

    client: Client
    fleet: str
    worker: str
    _tallies: defaultdict[tuple[str, int, bool], _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    _kills: defaultdict[tuple[Scope, str], _Done] = field(default_factory=lambda: defaultdict(_Done))
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _sending: asyncio.Task[None] | None = None
    _report: tuple[str, Report] | None = None

    def start(self) -> None:
        self._sending = asyncio.create_task(self._send_for_ever())

    async def stop(self) -> None:
        """Deliver what there is, once, and end."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        try:
            while self._report or self._tallies or self._kills:
                await self._send()
        except RPCError as error:
            log.warning("report.lost", fleet=self.fleet, error=error.message)
        except Exception:
            log.exception("report.lost", fleet=self.fleet)

    # -- what happens ----------------------------------------------------------------------------------------------

    def outcome(self, call: Admitted, *, failed: bool | None, error: str) -> None:
        if len(call.dependency) > LONGEST_NAME:
            log.warning("report.unnamed", dependency=call.dependency[:100], characters=len(call.dependency))
            return  # it would hold up all others: nothing that long has a breaker
        tally = self._tallies[call.dependency, call.generation, call.probe]
        tally.failures += failed is True
        tally.successes += failed is False
        tally.error = error[:500] or tally.error
        self._news.set()

    def stopped(self, killed: Kill) -> None:
        self._kills[killed.scope, killed.subject].stopped += 1
        self._news.set()

    def refused(self, killed: Kill) -> None:
        self._kills[killed.scope, killed.subject].refused += 1
        self._news.set()

    async def acquire_probe(self, dependency: str, seconds: float) -> ProbeReply:
        """Ask to try it, with a call that takes at most ``seconds``: for so long nobody else may, should this worker
        die. Raises ``Failure`` when the fleet does not answer: nothing is tried then."""
        asked = AcquireProbe(dependency=dependency, worker=self.worker, seconds=seconds)
        handle = self.client.get_workflow_handle(self.fleet)
        try:
            reply: ProbeReply = await handle.execute_update(
                "acquire_probe", asked, result_type=ProbeReply, rpc_timeout=timedelta(seconds=10)
            )
        except (RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise Failure(
                "FleetUnreachable", f"{self.fleet} does not say whether {dependency} may be tried: {error}"
            ) from error
        return reply

    # -- telling it --------------------------------------------------------------------------------------------------

    async def _send_for_ever(self) -> None:
        while True:
            await self._news.wait()
            try:
                await self._send()
            except RPCError as error:
                log.warning("report.delayed", fleet=self.fleet, error=error.message)
                await self._later()
            except Exception:
                # Whatever it is, a codec's key or a store out of reach: a sender that stopped for it would be silent.
                log.exception("report.failed", fleet=self.fleet)
                await self._later()
            await asyncio.sleep(1 / A_SECOND)

    async def _later(self) -> None:
        self._news.set()
        await asyncio.sleep(1.0)

    async def _send(self) -> None:
        self._news.clear()
        self._report = request_id, report = self._report or (uuid.uuid4().hex, self._taken())
        bound = WorkflowSerializationContext(namespace=self.client.namespace, workflow_id=self.fleet)
        payloads = await self.client.data_converter.with_context(bound).encode([report])
        # Not the client's own signal, which has another id each time.
        await self.client.workflow_service.signal_workflow_execution(
            SignalWorkflowExecutionRequest(
                namespace=self.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=self.fleet),
                signal_name="report",
                input=Payloads(payloads=payloads),
                identity=self.client.identity,
                request_id=request_id,
            ),
            retry=True,
            timeout=timedelta(seconds=5),
        )
        self._report = None
        if self._tallies or self._kills:
            self._news.set()

    def _taken(self) -> Report:
        """The next report: what it holds is not in another."""
        tallies = {key: self._tallies.pop(key) for key in list(self._tallies)[:AT_ONCE]}
        kills = {subject: self._kills.pop(subject) for subject in list(self._kills)[:AT_ONCE]}
        return Report(
            worker=self.worker,
            outcomes=tuple(
                Outcomes(
                    dependency=dependency,
                    failures=min(tally.failures, MOST),
                    successes=min(tally.successes, MOST),
                    error=tally.error,
                    generation=generation,
                    probe=probe,
                )
                for (dependency, generation, probe), tally in tallies.items()
            ),
            kills=tuple(
                Stopped(scope=scope, subject=subject, stopped=min(each.stopped, MOST), refused=min(each.refused, MOST))
                for (scope, subject), each in kills.items()
            ),
        )
