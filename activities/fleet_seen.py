"""What a worker sees of the fleet, as log lines and metrics: kills, breakers that turn, how old its mirror is.

That it does not see the fleet any more it tells people itself: no entity that could is in its reach then."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from activities.alerting import Alerting
from activities.mirror import Mirror
from interlock.fleet import FleetView
from interlock.policies import alerts
from interlock.telemetry import names
from interlock.telemetry.metrics import WorkerMetrics

log = structlog.get_logger("interlock.fleet")

EVERY = 5.0
"""Seconds between two looks at the age of the mirror."""


class FleetSeen:
    """For one worker. What was so already when it started is nothing that it has seen happen."""

    def __init__(self, mirror: Mirror, metrics: WorkerMetrics, alerting: Alerting, worker: str) -> None:
        self._mirror = mirror
        self._metrics = metrics
        self._alerting = alerting
        self._worker = worker
        self._losses = 0
        self._lost = False
        self._before = mirror.view
        for name, breaker in mirror.view.breakers.items():
            metrics.breaker_state(name, breaker.state)
        mirror.changed(self._changed)

    def _changed(self, view: FleetView) -> None:
        for name, breaker in view.breakers.items():
            was = self._before.breaker(name)
            if breaker.state == was.state:
                continue
            self._metrics.breaker_state(name, breaker.state)
            self._metrics.breaker_transition(name, breaker.state)
            match breaker.state:
                case "open":
                    log.warning(
                        names.BREAKER_OPENED, dependency=name, retry_at=str(breaker.retry_at), error=breaker.error
                    )
                case "closed":
                    log.info(names.BREAKER_CLOSED, dependency=name)
                case "half_open":
                    log.info(names.BREAKER_TRIED, dependency=name)
        for key in view.kills.keys() - self._before.kills.keys():
            killed = view.kills[key]
            self._metrics.kill(killed.scope)
            self._metrics.kill_latency(killed.scope, (datetime.now(UTC) - killed.at).total_seconds())
        self._before = view

    async def watch(self) -> None:
        """Show the mirror's age, for as long as the worker runs, and tell people once each time that it goes blind."""
        while True:
            self._metrics.mirror_age(self._mirror.age)
            lost, self._lost = self._lost, self._mirror.blind
            if self._lost and not lost:
                self._losses += 1
                stale = alerts.mirror_stale(self._mirror.fleet, self._worker, self._mirror.age, self._losses)
                self._alerting.raise_directly(stale, self._metrics)
            elif lost and not self._lost:
                log.info(names.MIRROR_BACK, fleet=self._mirror.fleet)
            await asyncio.sleep(EVERY)
