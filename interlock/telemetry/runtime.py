"""The SDK's runtime of a worker: its metrics on ``/metrics``, and the core's log lines among all others."""

from __future__ import annotations

import logging

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from interlock.errors import BadRequest
from interlock.telemetry.names import METRICS


def worker_runtime(metrics: str | None) -> Runtime:
    """``metrics``: ``HOST:PORT`` to serve them on; ``None``: nobody asked for any. Raises ``BadRequest``."""
    forwarded = LogForwardingConfig(
        logger=logging.getLogger("temporalio.core"),
        append_target_to_name=False,
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    )
    telemetry = TelemetryConfig(
        logging=LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=forwarded),
        metrics=_prometheus(metrics) if metrics else None,
    )
    try:
        return Runtime(telemetry=telemetry)
    except (ValueError, RuntimeError) as error:
        raise BadRequest(f"metrics cannot be served on {metrics}: {error}; name a free HOST:PORT") from error


def _prometheus(address: str) -> PrometheusConfig:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadRequest(f"metrics are served on HOST:PORT, such as 127.0.0.1:9464; got {address!r}")
    return PrometheusConfig(
        bind_address=address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides={metric.name: metric.buckets for metric in METRICS if metric.buckets},
    )
