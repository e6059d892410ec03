"""What ``FleetControl`` has done for it while it goes on listening: alerts raised, and killed runs ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from interlock import options, ports
from interlock.contracts import Alert, Breaker, FleetSettings, Kill, KillOrder, Note, Sweep, SweepCall
from interlock.policies import alerts
from workflows.raising import Raising


class Duties:
    """Alerts and sweeps, side by side. ``swept`` is told how each sweep ended."""

    def __init__(self, rules: FleetSettings, swept: Callable[[str, Kill, Sweep], None]) -> None:
        self._rules = rules
        self._swept = swept
        self._alerts = Raising(rules.alerts_at_once)
        self._sweeps: dict[str, tuple[Kill, asyncio.Task[None]]] = {}
        self._untold: dict[str, KillOrder] = {}
        self._runs_told: set[asyncio.Task[None]] = set()

    @property
    def sweeping(self) -> bool:
        return bool(self._sweeps)

    @property
    def telling_runs(self) -> bool:
        return bool(self._untold or self._runs_told)

    @property
    def alerting(self) -> bool:
        return self._alerts.under_way

    def stop(self) -> None:
        """Before continuing as new: sweeps are begun again by the next execution."""
        for _, task in self._sweeps.values():
            task.cancel()

    # -- sweeps --------------------------------------------------------------------------------------------------

    def sweep(self, to_sweep: Iterable[tuple[str, Kill]]) -> None:
        """End the runs of these kills, a few at a time. One that was released meanwhile is swept anew, within what it
        covers still."""
        wanted = dict(to_sweep)
        for key in [key for key, (killed, _) in self._sweeps.items() if not _same(killed, wanted.get(key))]:
            self._sweeps.pop(key)[1].cancel()
        for key, each in wanted.items():
            crowded = len(self._sweeps) >= self._rules.sweeps_at_once and each.scope != "all"
            if key not in self._sweeps and not crowded:
                self._sweeps[key] = each, asyncio.create_task(self._sweep(key, each))

    async def _sweep(self, key: str, killed: Kill) -> None:
        try:
            done = await workflow.execute_activity_method(
                ports.Sweeps.sweep, SweepCall(kill=killed), **options.sweep(f"end the runs of {key}")
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                return
            workflow.logger.error("the sweep of %s failed: %s", key, error.cause)
            done = Sweep(done=False)
        if (mine := self._sweeps.get(key)) is not None and mine[1] is asyncio.current_task():
            del self._sweeps[key]
            self._swept(key, killed, done)

    # -- killed runs ---------------------------------------------------------------------------------------------

    def tell(self, order: KillOrder) -> None:
        """Tell a run that it is killed: what its gate does not let out, it goes on asking for."""
        self._untold.setdefault(order.subject, order)
        self._tell_some()

    def _tell_some(self, done: asyncio.Task[None] | None = None) -> None:
        if done is not None:
            self._runs_told.discard(done)
        while self._untold and len(self._runs_told) < self._rules.told_at_once:
            task = asyncio.create_task(self._tell(self._untold.pop(next(iter(self._untold)))))
            self._runs_told.add(task)
            task.add_done_callback(self._tell_some)

    async def _tell(self, order: KillOrder) -> None:
        # Not ``fleet_knows``: the order does not cover the calls that the run asks for until it hears of it.
        note = Note(reason=order.reason, by=order.by)
        try:
            await workflow.get_external_workflow_handle(order.subject).signal("kill", note)
        except ApplicationError as error:  # there is no such run, or it has ended
            workflow.logger.info("run %s was not told of its kill: %s", order.subject, error)

    # -- alerts --------------------------------------------------------------------------------------------------

    def opened(self, name: str, found: Breaker) -> None:
        """A breaker has opened."""
        self._alert(alerts.breaker_opened(name, found))

    def killed(self, order: KillOrder) -> None:
        """Interlock itself has killed a run."""
        self._alert(alerts.anomaly_kill(order))

    def _alert(self, alert: Alert) -> None:
        if self._alerts.waiting < self._rules.kept_alerts:
            self._alerts.add(alert)


def _same(killed: Kill, wanted: Kill | None) -> bool:
    return wanted is not None and (killed.at, killed.released_at) == (wanted.at, wanted.released_at)
