"""Logs, traces and metrics: the only place that configures globals, and the only one that names what is seen.

names     events, spans, attributes, metrics
logs      one renderer for every line of a process
traces    OpenTelemetry, as the standard ``OTEL_*`` variables say
metrics   Prometheus, served by the SDK's runtime
"""
