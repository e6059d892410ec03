"""One real Temporal server for the whole session; each test has a task queue of its own."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from interlock import Agent, AgentResult, AgentTask, Interlock
from interlock.client import Run
from interlock.testing import replay, temporal_server
from tests.sizes import sized
from worker import serving
from workflows.agent_run import AgentRun

gc.disable()  # until all is imported

# Each process has servers of its own, and all share the machine: one core for each, and less looking for garbage, is a
# quarter less of their CPU.
os.environ |= {"GOMAXPROCS": "1", "GOGC": "400"}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a job that a script has put into the background: all that is started here would ignore it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that stalls for a moment says nothing of what is tested.
settings.register_profile("interlock", deadline=None)
settings.load_profile("interlock")


PATIENCE = sized(3000, 220)
"""Seconds after which a test that waits fails, and says for what."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = _places([item.path for item in items])
    items.sort(key=lambda item: places[item.path])
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _bounded(item.obj)


def _places(paths: Sequence[Path]) -> Mapping[Path, float]:
    """Files that mostly wait are spread among the others, from the first on: side by side they would leave the machine
    idle, and one that is left for last is waited for."""
    files = dict.fromkeys(paths)
    waiting = [path for path in files if path.parent.name in ("alerts", "chaos", "cli", "ui")]
    busy = [path for path in files if path not in waiting]
    return {path: 3 * place for place, path in enumerate(waiting)} | {
        path: place + 0.5 for place, path in enumerate(busy)
    }


def pytest_collection_finish() -> None:
    """What has been imported stays, and a test leaves little: looking through it all again and again takes a tenth of
    the time."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(50_000, 1_000_000)


def pytest_runtest_logfinish() -> None:
    """Between tests, and never in one: hundreds of thousands of objects at once, on a machine that has other work, take
    longer than the two seconds after which the SDK gives up a task of a workflow."""
    if gc.get_count()[1] >= 20:
        gc.collect()


def _bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(test)
    async def bounded(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            await test(*args, **kwargs)

    return bounded


@pytest.fixture(scope="session", autouse=True)
def own_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Journal and store of workers under test, apart from those of whoever runs the tests."""
    directory = tmp_path_factory.mktemp("interlock")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("INTERLOCK_JOURNAL", str(directory / "journal.db"))
        environment.setenv("INTERLOCK_STORE", str(directory / "store"))
        environment.delenv("INTERLOCK_ENCRYPTION_KEY", raising=False)
        # Each HTTP client reads all that the machine trusts, in 20 ms, and there are hundreds. None here speaks TLS.
        for certificate in ssl.create_default_context().get_ca_certs(binary_form=True)[:1]:
            trusted = directory / "trusted.pem"
            trusted.write_text(ssl.DER_cert_to_PEM_cert(certificate))
            environment.setenv("SSL_CERT_FILE", str(trusted))
        yield


@pytest.fixture(scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """The session's server. Its own client starts runs with a clock that tests move: waiting takes no time."""
    async with temporal_server(time_skipping=True) as environment:
        yield environment


@pytest.fixture(scope="session")
async def temporal(skipping: WorkflowEnvironment) -> Client:
    """A client of the session's server whose runs have everybody's clock."""
    return await skipping.connect_client(data_converter=skipping.client.data_converter)


@pytest.fixture(scope="session")
async def forgetful() -> AsyncIterator[Client]:
    """A client of a server that asks workflows to continue as new after 20 events."""
    async with temporal_server(config={"limit.historyCount.suggestContinueAsNew": 20}) as environment:
        yield environment.client


@dataclass
class Served:
    """Agents served by a worker on a queue of their own. ``run`` replays each run it has waited for."""

    interlock: Interlock

    @property
    def client(self) -> Client:
        return self.interlock.client

    async def start(self, agent: str, text: str | None = None, **task: Any) -> Run:
        """``text``: by default one that no other run was asked, so that none is answered from another's history."""
        text = text or f"go {uuid.uuid4().hex}"
        return await self.interlock.start(AgentTask(agent=agent, input=text, **task))

    async def run(self, agent: str, text: str | None = None, **task: Any) -> AgentResult:
        return await self.end(await self.start(agent, text, **task))

    async def end(self, run: Run) -> AgentResult:
        """The result of a run, which must take the same way when it is replayed."""
        result = await run.result()
        await replay(self.client, run.handle, AgentRun)
        return result


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(temporal: Client) -> Serve:
    """``async with serve(agent, ...) as served``: options go to ``worker.serving``."""

    @asynccontextmanager
    async def start(*agents: Agent, client: Client | None = None, **options: Any) -> AsyncIterator[Served]:
        # A fleet of its own for each test: what is killed or broken in one is none of another's business.
        queue = f"test-{uuid.uuid4().hex[:8]}"
        fleet = options.pop("fleet", f"fleet-{queue}")
        async with serving(client or temporal, agents, queue=queue, fleet=fleet, **options):
            yield Served(Interlock(client or temporal, queue, fleet))

    return start


async def activities(client: Client, id: str) -> list[str]:
    """The activities of a run, in the order they were scheduled."""
    history = await client.get_workflow_handle(id).fetch_history()
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]


__all__ = ["Serve", "Served", "activities"]
