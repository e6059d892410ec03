"""Heartbeats while a block runs: a lost worker is noticed, and a cancellation is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from temporalio import activity

from interlock import options


class Heartbeating(AbstractAsyncContextManager[None]):
    """Heartbeat every ``options.HEARTBEAT_EVERY``, with what ``details`` returns at the time. Not at once: most calls
    are over by then, and each heartbeat is a request to the server and a write of its.

    A timer and not a task: that would be made, begun and cancelled for each call."""

    def __init__(self, details: Callable[[], tuple[Any, ...]] = tuple) -> None:
        self._details = details
        self._waiting: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        self._wait()

    async def __aexit__(self, *raised: object) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _wait(self) -> None:
        self._waiting = asyncio.get_running_loop().call_later(options.HEARTBEAT_EVERY.total_seconds(), self._beat)

    def _beat(self) -> None:
        self._wait()
        activity.heartbeat(*self._details())


def asked_for() -> bool:
    """Whether its run has asked for the cancellation of this activity. It has not when the worker ends, when an
    operator resets or pauses the activity, or when the server, just started again, does not know the attempt: then the
    call is broken off, and tried again as its policy allows."""
    details = activity.cancellation_details()
    return not activity.is_worker_shutdown() and (details is None or details.cancel_requested)
