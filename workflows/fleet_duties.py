"""What ``FleetControl`` has done for it while it goes on listening: alerts raised, and killed runs ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from interlock import options, ports
from interlock.contracts import Alert, Breaker, FleetSettings, Kill, KillOrder, Sweep, SweepCall


class Duties:
    """Alerts one after the other, sweeps side by side. ``swept`` is told how each sweep ended."""

    def __init__(self, rules: FleetSettings, swept: Callable[[str, Sweep], None]) -> None:
        self._rules = rules
        self._swept = swept
        self._alerts: list[Alert] = []
        self._alerting: asyncio.Task[None] | None = None
        self._sweeps: dict[str, asyncio.Task[None]] = {}

    @property
    def sweeping(self) -> bool:
        return bool(self._sweeps)

    @property
    def alerting(self) -> bool:
        return bool(self._alerts) or (self._alerting is not None and not self._alerting.done())

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

    # -- alerts --------------------------------------------------------------------------------------------------

    def opened(self, name: str, found: Breaker) -> None:
        """A breaker has opened."""
        text = f"circuit breaker of {name} opened: {found.error or 'it fails'}"
        until = "" if found.retry_at is None else found.retry_at.isoformat()
        fields = {"dependency": name, "retry_at": until, "error": found.error or ""}
        self._alert(Alert(kind="breaker_opened", key=f"breaker:{name}:{found.opened}", text=text, fields=fields))

    def killed(self, order: KillOrder) -> None:
        """Interlock itself has killed a run."""
        text = f"{order.subject} was killed by interlock: {order.reason}"
        fields = {"run": order.subject, "reason": order.reason}
        self._alert(Alert(kind="anomaly_kill", key=f"kill:{order.subject}", text=text, fields=fields))

    def _alert(self, alert: Alert) -> None:
        if len(self._alerts) < self._rules.kept_alerts:
            self._alerts.append(alert)
        if self._alerting is None or self._alerting.done():
            self._alerting = asyncio.create_task(self._raise_all())

    async def _raise_all(self) -> None:
        while self._alerts:
            alert = self._alerts.pop(0)
            try:
                await workflow.execute_activity_method(ports.Alerts.alert, alert, **options.alert(alert.text))
            except ActivityError as error:
                workflow.logger.warning("alert not delivered: %s: %s", alert.text, error.cause)
