"""A Temporal server of one's own for a benchmark, with both workers on it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from benchmarks import bare
from benchmarks.agent import AGENT
from interlock import Agent, Interlock
from interlock.converter import data_converter
from interlock.embedded import start_server
from interlock.telemetry.logs import configure_logging
from worker import serving

SCRATCH = Path(__file__).parent / ".scratch"
BARE_QUEUE = "bare"


@dataclass(frozen=True)
class Bench:
    """``interlock`` and ``bare``: clients of one server. ``store``: where Interlock keeps large payloads."""

    interlock: Interlock
    bare: Client
    store: Path


@asynccontextmanager
async def bench(agents: Sequence[Agent] = (AGENT,), *, file: bool = False) -> AsyncIterator[Bench]:
    """A server with its database in memory or in a file, Interlock's worker and the bare one in this process."""
    SCRATCH.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(dir=SCRATCH)))
        server = await start_server(database=scratch / "temporal.db" if file else None, ui=False)
        stack.push_async_callback(server.stop)
        store = scratch / "store"
        stack.enter_context(_journal(scratch / "journal.db"))
        stack.enter_context(_logs(scratch / "lines.json"))
        quiet = Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(TelemetryFilter("ERROR", "ERROR"))))
        ours = await Client.connect(server.address, data_converter=data_converter(store), runtime=quiet)
        theirs = await Client.connect(server.address, runtime=quiet)
        await stack.enter_async_context(serving(ours, agents, queue="interlock"))
        await stack.enter_async_context(bare.serving(theirs, BARE_QUEUE))
        yield Bench(Interlock(ours, "interlock"), theirs, store)


@contextmanager
def _logs(path: Path) -> Iterator[None]:
    """Lines are written as a worker in production writes them; not where the progress is shown."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    with path.open("w") as file:
        configure_logging("json", stream=file)
        try:
            yield
        finally:
            root.handlers, root.level = before, level


@contextmanager
def _journal(path: Path) -> Iterator[None]:
    """Workers of this process keep their journal there: what is measured here is of no use to others."""
    before = os.environ.get("INTERLOCK_JOURNAL")
    os.environ["INTERLOCK_JOURNAL"] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["INTERLOCK_JOURNAL"]
        else:
            os.environ["INTERLOCK_JOURNAL"] = before
