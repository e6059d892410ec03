"""Prometheus metrics, served by the SDK's runtime beside its own.

Instruments are made once for each meter. A run's meter (``workflow.metric_meter()``) is silent on replay; the
runtime's is for what the worker itself sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import get_args

from temporalio.client import Client
from temporalio.common import MetricCounter, MetricGaugeFloat, MetricHistogramFloat, MetricMeter

from interlock.contracts import AlertKind, Circuit, Scope
from interlock.telemetry import names
from interlock.telemetry.names import Metric

CIRCUITS: dict[Circuit, int] = {"closed": 0, "half_open": 1, "open": 2}


class Instruments:
    """Records under the names of ``names``. Raises ``KeyError`` when a metric's label is not given."""

    def __init__(self, meter: MetricMeter) -> None:
        self._meter = meter
        self._counters: dict[str, MetricCounter] = {}
        self._histograms: dict[str, MetricHistogramFloat] = {}
        self._gauges: dict[str, MetricGaugeFloat] = {}

    def add(self, metric: Metric, value: int = 1, **labels: str) -> None:
        """Count. The SDK's counters take whole numbers only, and zero makes a series appear."""
        found = self._counters.get(metric.name)
        if found is None:
            found = self._counters[metric.name] = self._meter.create_counter(metric.name, metric.description)
        found.add(value, {label: labels[label] for label in metric.labels})

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        found = self._histograms.get(metric.name)
        if found is None:
            found = self._meter.create_histogram_float(metric.name, metric.description)
            self._histograms[metric.name] = found
        found.record(max(value, 0.0), {label: labels[label] for label in metric.labels})

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        found = self._gauges.get(metric.name)
        if found is None:
            found = self._gauges[metric.name] = self._meter.create_gauge_float(metric.name, metric.description)
        found.set(max(value, 0.0), {label: labels[label] for label in metric.labels})


class WorkerMetrics(Instruments):
    """What a worker sees outside of runs and activities: the fleet's breakers and kills, and its view of them."""

    def __init__(self, meter: MetricMeter) -> None:
        super().__init__(meter)
        self.live = meter is not MetricMeter.noop
        """Whether anybody can see them."""

    def begin(self, dependencies: Iterable[str]) -> None:
        """Show what may be counted at zero: the first event of a series that begins with it is an increase to nobody.
        ``dependencies``: those that this worker's agents have."""
        for scope in get_args(Scope):
            self.add(names.KILLS, 0, scope=scope)
        for kind in get_args(AlertKind):
            self.add(names.ALERTS, 0, kind=kind)
        for dependency in dependencies:
            for state in CIRCUITS:
                self.add(names.BREAKER_TRANSITIONS, 0, dependency=dependency, to=state)

    def breaker_state(self, dependency: str, state: Circuit) -> None:
        self.set(names.BREAKER_STATE, CIRCUITS[state], dependency=dependency)

    def breaker_transition(self, dependency: str, to: Circuit) -> None:
        self.add(names.BREAKER_TRANSITIONS, dependency=dependency, to=to)

    def kill(self, scope: Scope) -> None:
        self.add(names.KILLS, scope=scope)

    def kill_latency(self, scope: Scope, seconds: float) -> None:
        self.observe(names.KILL_LATENCY, seconds, scope=scope)

    def mirror_age(self, seconds: float) -> None:
        self.set(names.MIRROR_AGE, seconds)

    def approvals_waiting(self, agent: str, runs: int) -> None:
        self.set(names.APPROVALS_WAITING, runs, agent=agent)

    def ledger_used(self, account: str, ratio: float) -> None:
        self.set(names.LEDGER_USED, ratio, account=account)


def of_client(client: Client) -> WorkerMetrics:
    """The metrics of the runtime that ``client`` was connected with; the same for all of its clients."""
    runtime = client.service_client.config.runtime
    return _of_meter(runtime.metric_meter if runtime is not None else MetricMeter.noop)


@lru_cache(maxsize=16)
def _of_meter(meter: MetricMeter) -> WorkerMetrics:
    return WorkerMetrics(meter)
