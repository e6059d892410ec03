"""What a demonstration runs on: the embedded Temporal server and a worker process, both stopped at its end.

Both are started in sessions of their own, so that Ctrl-C in the terminal reaches the demonstration alone, which then
stops the worker first and the server after it. Nothing is ended that was not started here.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from interlock import Interlock
from interlock.converter import data_converter
from interlock.embedded import Server, embedded_server, free_port

ROOT = Path(__file__).parent.parent
PORT, UI_PORT = 7233, 8233
STOP_SECONDS = 8.0


class Broken(Exception):
    """The demonstration cannot go on; the text says why, in one line."""


@dataclass(frozen=True)
class Stack:
    server: Server
    worker: asyncio.subprocess.Process
    interlock: Interlock
    database: Path
    log: Path
    log_start: int

    def link(self, run: str) -> str:
        return f"{self.server.ui}/namespaces/{self.interlock.client.namespace}/workflows/{run}"

    @property
    def usual(self) -> bool:
        """Whether the server is where every client looks for it."""
        return self.server.address.endswith(f":{PORT}")

    async def worker_ended(self) -> None:
        """Wait until the worker ends by itself, which it should not; raises ``Broken`` then."""
        code = await self.worker.wait()
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            said = file.read().decode(errors="replace").strip().splitlines()
        last = said[-1][:300] if said else "nothing"
        raise Broken(f"the worker ended with code {code}; {self.log} ends with: {last}")


@asynccontextmanager
async def started(state: Path, agents: str, logs: Path, *, grace: float = 2.0) -> AsyncIterator[Stack]:
    """A server with its data in ``state`` and a worker that serves ``agents`` over the log files in ``logs``."""
    port = PORT if _is_free(PORT) else free_port()
    ui_port = UI_PORT if _is_free(UI_PORT) else free_port()
    with _database(state, own=port != PORT) as database:
        async with embedded_server(database, port=port, ui_port=ui_port) as server:
            client = await Client.connect(server.address, data_converter=data_converter(state / "store"))
            log = state / "worker.log"
            command = [sys.executable, str(ROOT / "worker.py"), "--agents", agents, "--grace", str(grace)]
            async with _process(command, _environment(server, state, logs), log) as (worker, log_start):
                yield Stack(server, worker, Interlock(client), database, log, log_start)


@contextmanager
def _database(state: Path, *, own: bool) -> Iterator[Path]:
    """A database file that nobody else has open. Whoever holds the usual port may hold the usual file with it
    (``worker.py --embedded`` does), and two servers on one file would ruin it."""
    state.mkdir(parents=True, exist_ok=True)
    number = 2 if own else 1
    while True:
        path = state / ("temporal.db" if number == 1 else f"temporal-{number}.db")
        with path.with_suffix(".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                number += 1
                continue
            yield path
            return


def _environment(server: Server, state: Path, logs: Path) -> dict[str, str]:
    """The worker's. What ours says of some other server is not for it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")} | {
        "TEMPORAL_ADDRESS": server.address,
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "INTERLOCK_DEMO_DIR": str(logs),
        "INTERLOCK_STORE": str(state / "store"),
    }


@asynccontextmanager
async def _process(
    command: list[str], environment: dict[str, str], log: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process that runs while the block does, with its output appended to ``log`` from the given place on."""
    with log.open("ab") as out:
        start = out.tell()
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process, start
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not a port that was in use a moment ago
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
