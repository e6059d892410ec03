"""What ``FleetControl`` has done for it while it goes on listening: alerts raised, and killed runs ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from interlock import options, ports
from interlock.contracts import Alert, Breaker, FleetSettings, Kill, KillOrder, Note, Sweep, SweepCall
from interlock.policies import alerts
from interlock.telemetry import names
from workflows.seen import warn

MOST_AT_ONCE = 20
"""Alerts under way side by side: a webhook that hangs holds each for a while."""


class Duties:
    """Alerts and sweeps, side by side. ``swept`` is told how each sweep ended."""

    def __init__(self, rules: FleetSettings, swept: Callable[[str, Sweep], None]) -> None:
        self._rules = rules
        self._swept = swept
        self._alerts: list[Alert] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._sweeps: dict[str, asyncio.Task[None]] = {}
        self._runs_told: set[asyncio.Task[None]] = set()

    @property
    def sweeping(self) -> bool:
        return bool(self._sweeps)

    @property
    def alerting(self) -> bool:
        return bool(self._alerts or self._telling)

    def stop(self) -> None:
        """Before continuing as new: sweeps are begun again by the next execution."""
        for task in self._sweeps.values():
            task.cancel()

    # -- sweeps --------------------------------------------------------------------------------------------------

    def sweep(self, kills: Mapping[str, Kill]) -> None:
        """End the runs of each kill that has not been swept yet; leave those of a kill that was released."""
        for key in [key for key in self._sweeps if key not in kills]:
            self._sweeps.pop(key).cancel()
        for key, each in kills.items():
            if each.scope != "run" and each.sweep is None and key not in self._sweeps:
                self._sweeps[key] = asyncio.create_task(self._sweep(key, each))

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
        if self._sweeps.get(key) is asyncio.current_task():
            del self._sweeps[key]
            self._swept(key, done)

    def tell(self, order: KillOrder) -> None:
        """Tell a run that it is killed: what its gate does not let out, it goes on asking for."""
        task = asyncio.create_task(self._tell(order))
        self._runs_told.add(task)
        task.add_done_callback(self._runs_told.discard)

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
        if len(self._alerts) < self._rules.kept_alerts:
            self._alerts.append(alert)
        self._raise_some()

    def _raise_some(self, done: asyncio.Task[None] | None = None) -> None:
        if done is not None:
            self._telling.discard(done)
        while self._alerts and len(self._telling) < MOST_AT_ONCE:
            task = asyncio.create_task(self._raise(self._alerts.pop(0)))
            self._telling.add(task)
            task.add_done_callback(self._raise_some)

    async def _raise(self, alert: Alert) -> None:
        try:
            await workflow.execute_activity_method(ports.Alerts.alert, alert, **options.alert(alert.text))
        except ActivityError as error:
            warn(names.ALERT_FAILED, key=alert.key, error=str(error.cause))
