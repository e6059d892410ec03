"""OpenTelemetry traces: whether there are any, and where they go.

Importing this module imports OpenTelemetry; a client that never traces does not need to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode, Tracer, TracerProvider
from temporalio.client import Interceptor, OutboundInterceptor, Plugin
from temporalio.contrib.opentelemetry import (
    OpenTelemetryInterceptor,
    OpenTelemetryPlugin,
    ReplaySafeTracerProvider,
    create_tracer_provider,
)
from temporalio.exceptions import ApplicationError
from temporalio.plugin import SimplePlugin

from interlock.secrets import redacted
from interlock.telemetry import names

log = structlog.get_logger("interlock.telemetry")


def configure_tracing() -> bool:
    """Export this process's spans by OTLP over HTTP where the standard variables name an endpoint; whether they do.

    ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``; ``OTEL_SDK_DISABLED=true`` and
    ``OTEL_TRACES_EXPORTER=none`` switch it off. Headers, time-outs, samplers, service name and resource: by their
    own variables."""
    if not wanted(os.environ):
        return False
    # The exporter is of the worker's extra: client code that only passes its trace on does without.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        log.warning("traces.protocol", asked=protocol, used="http/protobuf")
    provider = create_tracer_provider(resource=_resource())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces by OTLP."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() not in ("", "otlp"):
        return False
    return bool(environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def plugin() -> Plugin:
    """For a client: what makes its runs part of their caller's trace, and traces them where it has a worker.

    The SDK refuses to run workers with a provider that tells everything again on replay, such as one that an
    agent's own library has set: it is then of use to callers alone."""
    if isinstance(trace.get_tracer_provider(), ReplaySafeTracerProvider):
        return OpenTelemetryPlugin()
    return SimplePlugin("interlock.caller", interceptors=[_OfCaller()])


class _OfCaller(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return OpenTelemetryInterceptor().intercept_client(next)


def _resource() -> Resource:
    found = Resource.create()
    named = not str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    return found if named else found.merge(Resource({SERVICE_NAME: "interlock-worker"}))


def workflow_tracer() -> Tracer | None:
    """The tracer for spans inside a workflow; ``None`` when nothing is traced, or by a provider that would tell
    everything again on replay."""
    provider = trace.get_tracer_provider()
    return _tracer(provider) if isinstance(provider, ReplaySafeTracerProvider) else None


@cache
def _tracer(provider: TracerProvider) -> Tracer:
    return provider.get_tracer(names.TRACER)


def tracer() -> Tracer:
    """The tracer for spans outside of workflows."""
    return _tracer(trace.get_tracer_provider())


def trace_id(span: Span = INVALID_SPAN) -> str | None:
    """The trace that ``span``, or else the current one, belongs to; ``None``: to none."""
    context = (trace.get_current_span() if span is INVALID_SPAN else span).get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def failed(span: Span, error: BaseException) -> None:
    """Mark ``span`` as failed, by the kind of error as far as it has one."""
    kind = error.type if isinstance(error, ApplicationError) and error.type else type(error).__name__
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR, redacted(f"{kind}: {error}")[:500]))
