"""A real worker process: nothing but JSON lines, metrics on a port, spans at a collector."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.embedded import free_port
from tests.root import source_root
from tests.runs.processes import end, start_worker
from tests.telemetry.story import STORY
from tests.telemetry.watched import families

AGENTS = "tests.telemetry.story:AGENT"


@contextmanager
def collector() -> Iterator[tuple[str, list[ResourceSpans]]]:
    """An OTLP collector, over HTTP: where it is, and what it was sent."""
    received: list[ResourceSpans] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                received.extend(ExportTraceServiceRequest.FromString(body).resource_spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not to the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_a_worker_process_tells_everything_by_the_standard_ways(temporal: Client, tmp_path: Path) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    log = tmp_path / "worker.log"
    address = temporal.service_client.config.target_host
    with collector() as (endpoint, received):
        process = await start_worker(
            address,
            AGENTS,
            "telemetry-process",
            log,
            INTERLOCK_METRICS=metrics,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_BSP_SCHEDULE_DELAY="200",
        )
        try:
            run = await Interlock(temporal, "telemetry-process").start(AgentTask(agent="story", input="go"))
            assert (await run.result()).outcome == "completed"
            exposed = families(f"http://{metrics}/metrics")
        finally:
            code = await end(process, signal.SIGTERM)
        spans = [span for resource in received for scope in resource.scope_spans for span in scope.spans]
    assert code == 0
    assert {"interlock_runs_total", "interlock_tool_seconds", "interlock_cost_microusd_total"} <= exposed.keys()

    lines = [json.loads(line) for line in log.read_text().splitlines()]  # each of them is one, or this fails
    assert all({"timestamp", "level", "event", "logger"} <= line.keys() for line in lines)
    assert list(lines[0])[:3] == ["timestamp", "level", "event"]
    told = [line for line in lines if line.get("run_id") == run.id]
    assert [line["event"] for line in told] == list(STORY)
    traces = {line["trace_id"] for line in told}
    assert all({"user_id", "agent", "step", "attempt"} <= line.keys() for line in told)

    assert {span.trace_id.hex() for span in spans} == traces
    assert sorted(span.name for span in spans if span.name.startswith(("invoke", "agent.step"))) == [
        "agent.step.1",
        "agent.step.2",
        "agent.step.3",
        "invoke_agent story",
    ]
    services = {each.value.string_value for at in received for each in at.resource.attributes if _is_service(each.key)}
    assert services == {"interlock-worker"}


async def test_a_collector_that_is_not_there_harms_nothing(temporal: Client, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    process = await start_worker(
        temporal.service_client.config.target_host,
        AGENTS,
        "telemetry-nowhere",
        log,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_BSP_SCHEDULE_DELAY="50",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    )
    try:
        run = await Interlock(temporal, "telemetry-nowhere").start(AgentTask(agent="story", input="go"))
        assert (await run.result()).outcome == "completed"
    finally:
        async with asyncio.timeout(60):
            assert await end(process, signal.SIGTERM) == 0
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in told if line.get("run_id") == run.id] == list(STORY)


CALLER = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
from interlock import AgentTask, Interlock
from tests.telemetry.story import AGENT
from worker import serving

async def main():
    interlock = await Interlock.connect("somebody-elses")
    with trace.get_tracer("web").start_as_current_span("request") as span:
        run = await interlock.start(AgentTask(agent="story", input="go"))
    print(run.id, trace.format_trace_id(span.get_span_context().trace_id))
    async with serving(interlock.client, [AGENT], queue="own"):  # no worker is refused for whose provider it is
        pass

asyncio.run(main())
"""


async def test_a_run_joins_the_trace_of_a_caller_with_a_provider_of_its_own(temporal: Client, tmp_path: Path) -> None:
    log, address = tmp_path / "worker.log", temporal.service_client.config.target_host
    with collector() as (endpoint, received):
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        process = await start_worker(address, AGENTS, "somebody-elses", log, **settings)
        try:
            caller = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                CALLER,
                cwd=source_root(),
                env={**os.environ, "TEMPORAL_ADDRESS": address},
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await caller.communicate()
            run, trace_id = said.decode().split()
            await temporal.get_workflow_handle(run).result()
        finally:
            assert await end(process, signal.SIGTERM) == 0
        spans = [span for resource in received for scope in resource.scope_spans for span in scope.spans]
    assert caller.returncode == 0
    assert {span.trace_id.hex() for span in spans} == {trace_id}
    assert "invoke_agent story" in {span.name for span in spans}


def _is_service(key: str) -> bool:
    return key == "service.name"
