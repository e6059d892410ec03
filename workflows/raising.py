"""Alerts, told to people beside what their workflow goes on with: a webhook that hangs holds nothing else up."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError

from interlock import options, ports
from interlock.contracts import Alert
from interlock.telemetry import names
from workflows.seen import warn


class Raising:
    """Raises alerts side by side, ``at_once`` at most: each that hangs holds its place for a while."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: list[Alert] = []
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many nobody is being told of yet."""
        return len(self._waiting)

    @property
    def under_way(self) -> bool:
        return bool(self._waiting or self._telling)

    def add(self, alert: Alert) -> None:
        self._waiting.append(alert)
        self._begin()

    def _begin(self, done: asyncio.Task[None] | None = None) -> None:
        if done is not None:
            self._telling.discard(done)
        while self._waiting and len(self._telling) < self._at_once:
            task = asyncio.create_task(_tell(self._waiting.pop(0)))
            self._telling.add(task)
            task.add_done_callback(self._begin)


async def _tell(alert: Alert) -> None:
    try:
        await workflow.execute_activity_method(ports.Alerts.alert, alert, **options.alert(alert.text))
    except ActivityError as error:
        warn(names.ALERT_FAILED, key=alert.key, error=str(error.cause))
