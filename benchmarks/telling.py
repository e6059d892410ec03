"""Worker processes that tell different amounts of what they do, on one server, and a collector that listens."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.client import Client

from benchmarks.server import SCRATCH
from interlock.converter import data_converter
from interlock.embedded import free_port, start_server

NOTHING, ALL = "nothing", "all"
TELLING: Mapping[str, frozenset[str]] = {
    NOTHING: frozenset(),
    "logs": frozenset({"logs"}),
    "metrics": frozenset({"metrics"}),
    "traces": frozenset({"traces"}),
    ALL: frozenset({"logs", "metrics", "traces"}),
}


@dataclass(frozen=True)
class Telling:
    """``client``: one that tells nothing itself. ``pids``: of the workers."""

    client: Client
    pids: Mapping[str, int]

    def queue(self, name: str) -> str:
        return f"telling-{name}"


@asynccontextmanager
async def telling() -> AsyncIterator[Telling]:
    """A server with its database in memory, and a worker of each kind."""
    SCRATCH.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=SCRATCH)))
        server = await start_server(database=None, ui=False)
        stack.push_async_callback(server.stop)
        endpoint = stack.enter_context(_collector())
        client = await Client.connect(server.address, data_converter=data_converter(scratch / "store"))
        found = Telling(client, pids := {})
        for name, parts in TELLING.items():
            process = await _start(found.queue(name), scratch, server.address, _settings(parts, endpoint))
            stack.push_async_callback(_end, process)
            pids[name] = process.pid
        yield found


def _settings(parts: frozenset[str], endpoint: str) -> dict[str, str]:
    return {
        "INTERLOCK_LOG": "json",
        "INTERLOCK_LOG_LEVEL": "INFO" if "logs" in parts else "ERROR",
        **({"INTERLOCK_METRICS": f"127.0.0.1:{free_port()}"} if "metrics" in parts else {}),
        **({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if "traces" in parts else {}),
    }


async def _start(queue: str, scratch: Path, address: str, settings: dict[str, str]) -> Process:
    ours = ("OTEL_", "INTERLOCK_", "TEMPORAL_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    files = {"INTERLOCK_JOURNAL": str(scratch / "journal.db"), "INTERLOCK_STORE": str(scratch / "store")}
    with (scratch / f"{queue}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "worker.py", "--agents", "benchmarks.agent:AGENT", "--task-queue", queue),
            cwd=Path(__file__).parent.parent,
            env={**environment, **files, **settings, "TEMPORAL_ADDRESS": address},
            stdout=log,
            stderr=log,
        )


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


@contextmanager
def _collector() -> Iterator[str]:
    """Takes what it is sent, and throws it away."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the benchmark's own lines are on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
