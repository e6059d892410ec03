"""Where the server is, how long a request waits for it, and what to do about what it refuses."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import time
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.client import Client, Plugin
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from interlock.contracts import explain
from interlock.converter import data_converter
from interlock.errors import BadRequest, InterlockError, NoServer, NoWorker

M = TypeVar("M", bound=BaseModel)

DEFAULT_TASK_QUEUE = "interlock"

PATIENCE = timedelta(seconds=4)
"""How long one request waits for a server or a worker before it says that none answers."""


SETTLING = 0.05
"""Seconds a process waits at its end. The SDK's threads may still be handing over the last answers, and one that does
so while the interpreter is being taken down aborts it: 3 of 60 short scripts without this wait, none of 60 with it."""


def _settle() -> None:
    time.sleep(SETTLING)


def task_queue() -> str:
    """``INTERLOCK_TASK_QUEUE``, or ``interlock``."""
    return os.environ.get("INTERLOCK_TASK_QUEUE") or DEFAULT_TASK_QUEUE


async def connect(runtime: Runtime | None = None) -> Client:
    """A Temporal client by Temporal's own configuration (``TEMPORAL_*``, ``temporal.toml``).

    runtime  the SDK's, where a worker has one of its own

    Raises ``NoServer`` when nothing answers within a few seconds."""
    try:
        config = ClientConfig.load_client_connect_config()
    except Exception as error:
        raise NoServer(f"the Temporal configuration cannot be read: {error}") from error
    atexit.unregister(_settle)  # once, however often one connects
    atexit.register(_settle)
    config.setdefault("target_host", "localhost:7233")
    address = config["target_host"]
    try:
        return await asyncio.wait_for(
            Client.connect(**config, data_converter=data_converter(), plugins=_tracing(), runtime=runtime),
            PATIENCE.total_seconds(),
        )
    except ValueError as error:  # what the SDK raises at an address that is none, or certificates that do not fit
        raise NoServer(f"cannot connect to {address!r}: {error}; TEMPORAL_ADDRESS takes HOST:PORT") from error
    except (RuntimeError, TimeoutError, RPCError) as error:
        raise NoServer(
            f"no Temporal server answers at {address}; start one (python worker.py --embedded) or set TEMPORAL_ADDRESS"
        ) from error


def _tracing() -> list[Plugin]:
    """What makes runs part of their caller's trace, where this process has a tracer. One that traces has imported
    OpenTelemetry already: a process that does not is spared the import."""
    loaded = sys.modules.get("opentelemetry.trace")
    if loaded is None or isinstance(loaded.get_tracer_provider(), loaded.ProxyTracerProvider):
        return []
    from interlock.telemetry.traces import plugin

    return [plugin()]


def valid(model: type[M], **fields: object) -> M:
    """``fields`` as ``model``. Raises ``BadRequest`` with one line that names each field that is wrong."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise BadRequest(explain(error, model)) from None


def refused(
    error: RPCError, what: str, missing: InterlockError, silent: InterlockError | None = None
) -> InterlockError:
    """What a refusal of the server means to who asked about ``what``. ``missing``: there is no such thing; ``silent``:
    nobody answers for it."""
    match error.status:
        case RPCStatusCode.NOT_FOUND if error.message.startswith("Namespace "):
            return BadRequest(f"{error.message.rstrip('.')}; set TEMPORAL_NAMESPACE")
        case RPCStatusCode.NOT_FOUND if "completed" in error.message:
            return BadRequest(f"{what} has already ended")
        case RPCStatusCode.NOT_FOUND:
            return missing
        case RPCStatusCode.UNAVAILABLE:
            return NoServer(f"the Temporal server does not answer: {error.message}")
        case RPCStatusCode.DEADLINE_EXCEEDED | RPCStatusCode.CANCELLED:
            return silent or no_worker(what)
        case RPCStatusCode.FAILED_PRECONDITION if "poller" in error.message:
            return silent or no_worker(what)
        case RPCStatusCode.INVALID_ARGUMENT:
            return BadRequest(error.message)
        case _:
            return BadRequest(f"{what}: {error.message}")


def no_worker(what: str, queue: str | None = None) -> NoWorker:
    """Nobody answers for ``what``, which listens on ``queue``."""
    return NoWorker(
        f"{what}: no worker answered; start one (python worker.py) on task queue {(queue or task_queue())!r}"
    )
