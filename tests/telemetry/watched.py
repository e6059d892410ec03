"""What a run shows of itself: its lines, its spans and its metrics, kept while a test looks."""

from __future__ import annotations

import io
import json
import logging
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, ReplaySafeTracerProvider, create_tracer_provider
from temporalio.runtime import Runtime

from interlock.embedded import free_port
from interlock.telemetry.logs import LogFormat, configure_logging
from interlock.telemetry.runtime import worker_runtime


@contextmanager
def lines(style: LogFormat = "json") -> Iterator[io.StringIO]:
    """Everything this process logs, rendered as in production."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", out)
        configure_logging(style)
    try:
        yield out
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logging.captureWarnings(False)


def events(out: io.StringIO, run: str | None = None) -> list[dict[str, Any]]:
    """The lines as objects, those of one run or all. A line that is none fails the test."""
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    return [each for each in found if run is None or each.get("run_id") == run]


@contextmanager
def spans() -> Iterator[InMemorySpanExporter]:
    """The spans that end meanwhile. A process has one provider for good; each test looks on for its own time."""
    provider = _provider()
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        yield exporter
    finally:
        exporter.shutdown()


def _provider() -> ReplaySafeTracerProvider:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, ReplaySafeTracerProvider):
        provider = create_tracer_provider()
        trace.set_tracer_provider(provider)
    return provider


def tree(found: list[ReadableSpan], root: ReadableSpan) -> Any:
    """``(name, whether it failed, children)`` of a span, children in the order they began."""
    assert root.context is not None
    below = [each for each in found if each.parent and each.parent.span_id == root.context.span_id]
    below.sort(key=lambda each: (each.start_time or 0, each.name))
    return (root.name, not root.status.is_ok and not root.status.is_unset, tuple(tree(found, each) for each in below))


@asynccontextmanager
async def seeing(temporal: Client, *, metrics: bool = False) -> AsyncIterator[tuple[Client, str]]:
    """A client of the same server whose runs are traced and, if asked for, counted; and where the counts are."""
    _provider()
    address = f"127.0.0.1:{free_port()}" if metrics else ""
    runtime: Runtime | None = worker_runtime(address) if metrics else None
    client = await Client.connect(
        temporal.service_client.config.target_host,
        data_converter=temporal.data_converter,
        plugins=[OpenTelemetryPlugin()],
        runtime=runtime,
    )
    yield client, f"http://{address}/metrics"


def samples(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Interlock's samples on ``/metrics``, without the labels that the SDK adds."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(_get(url)):
        for sample in family.samples:
            if sample.name.startswith("interlock_"):
                labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k not in SDK_LABELS))
                found[sample.name, labels] = found.get((sample.name, labels), 0.0) + sample.value
    return found


def families(url: str) -> dict[str, tuple[str, set[str]]]:
    """Interlock's metrics on ``/metrics``: name -> kind and labels."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(_get(url)):
        if not family.name.startswith("interlock_"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - SDK_LABELS - {"le"}
        found[name] = (family.type, labels)
    return found


SDK_LABELS = {"namespace", "task_queue", "workflow_type", "activity_type", "service_name"}


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
