"""How a worker tells people: a line ``alert`` in its log, a counter, and a JSON POST to ``INTERLOCK_ALERT_WEBHOOK``.

One for each worker process, for the alerts of entities (the activity ``alert``) and for those that the worker raises
itself. An alert is told once for its key; where a post fails, whoever raised it tries again. In a storm only so many
are posted in a minute, and then one that says how many more there were: the log has them all.

The webhook's address is a secret: chat systems put the key into it. It is in no line, failure or span.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from functools import cache
from types import TracebackType
from typing import Any, Self

import httpx2
import structlog

from interlock import options
from interlock.contracts import Alert
from interlock.policies.backoff import backoff
from interlock.present import run_link, several
from interlock.secrets import Secret, redacted
from interlock.telemetry import names
from interlock.telemetry.metrics import Instruments
from interlock.telemetry.redaction import redaction

log = structlog.get_logger("interlock.alerts")

WEBHOOK = Secret("INTERLOCK_ALERT_WEBHOOK")
MINUTE = 60.0
REMEMBERED = 600.0
"""Seconds for which a key is known: longer than an alert is tried again."""


class NotDelivered(Exception):
    """The webhook did not take an alert. Says nothing of its address."""


class Alerting:
    """``minute``: the seconds in which ``most`` posts are made at most."""

    def __init__(self, namespace: str, *, most: int = options.WEBHOOKS_A_MINUTE, minute: float = MINUTE) -> None:
        self._namespace = namespace
        self._most, self._minute = most, minute
        self._told: OrderedDict[str, float] = OrderedDict()
        self._taken: OrderedDict[str, float] = OrderedDict()
        self._posts: deque[float] = deque()
        self._more: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[bool]] = set()
        self._summing: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """What was held back is told of now; there is no later. A post under way ends first: the webhook may have taken
        it already, and would be told twice."""
        self._ending.set()
        await asyncio.gather(*self._tasks, *([self._summing] if self._summing else []), return_exceptions=True)
        if self._more:
            await self._sum_up(tries=1)

    async def settled(self) -> None:
        """Wait for what was raised from here to be posted, held back or given up."""
        await asyncio.gather(*self._tasks)

    def raise_directly(self, alert: Alert, instruments: Instruments) -> None:
        """For a worker that cannot reach the server: told at once, posted meanwhile, tried again from here."""
        if self.tell(alert, instruments):
            task = asyncio.create_task(self._insist(lambda: self.post(alert), alert.key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def tell(self, alert: Alert, instruments: Instruments) -> bool:
        """The line and the counter. ``False``: this worker has told of it already."""
        if _knows(self._told, alert.key):
            return False
        self._told[alert.key] = time.monotonic()
        fields = {name: value for name, value in alert.fields.items() if name not in _OWN}
        log.warning(names.ALERT, kind=alert.kind, text=alert.text, key=alert.key, **fields)
        instruments.add(names.ALERTS, kind=alert.kind)
        return True

    async def post(self, alert: Alert) -> None:
        """Post it, unless this worker has, or there is no webhook. Raises ``NotDelivered``."""
        if _knows(self._taken, alert.key) or not os.environ.get(WEBHOOK.name):
            return
        if self._may_post():
            await _post(self._payload(alert))
        else:
            self._more[alert.kind] += 1
            if self._summing is None or self._summing.done():
                self._summing = asyncio.create_task(self._later())
        self._taken[alert.key] = time.monotonic()

    # -- in a storm ----------------------------------------------------------------------------------------------

    def _may_post(self) -> bool:
        now = time.monotonic()
        while self._posts and self._posts[0] <= now - self._minute:
            self._posts.popleft()
        if len(self._posts) >= self._most:
            return False
        self._posts.append(now)
        return True

    async def _later(self) -> None:
        """When the minute is over, say how many more there were; and again, of those that came while that was tried."""
        while self._more and await self._pause(self._until_next()):
            self._posts.append(time.monotonic())
            await self._sum_up(tries=options.ALERT_RETRY.attempts)

    def _until_next(self) -> float:
        return max(0.0, self._posts[0] + self._minute - time.monotonic()) if self._posts else 0.0

    async def _sum_up(self, tries: int) -> None:
        more, self._more = self._more, Counter()
        kinds = {kind: str(count) for kind, count in sorted(more.items())}
        which = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        text = f"{several(more.total(), 'more alert')} in the last minute ({which}); the worker's log has them all"
        payload = {"text": text, "kind": "more", "key": "", "fields": kinds}
        if not await self._insist(lambda: _post(payload), "", tries) and self._ending.is_set():
            self._more += more

    # -- again and again -----------------------------------------------------------------------------------------

    async def _insist(
        self, post: Callable[[], Awaitable[None]], key: str, tries: int = options.ALERT_RETRY.attempts
    ) -> bool:
        """Try a post as often as an activity would, until the worker ends. Whether it was taken."""
        for number in range(1, tries + 1):
            try:
                await post()
                return True
            except NotDelivered as error:
                log.warning(names.ALERT_FAILED, key=key, error=str(error), attempt=number)
            if number == tries or not await self._pause(backoff(options.ALERT_RETRY, number, random.random())):
                break
        return False

    async def _pause(self, seconds: float) -> bool:
        """``False``: the worker ends, and there is no more time."""
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return True
        return False

    def _payload(self, alert: Alert) -> dict[str, Any]:
        """``text`` is what chat systems show; the rest is for programs."""
        link = run_link(self._namespace, alert.fields["run"]) if alert.fields.get("run") else None
        text = alert.text if link is None else f"{alert.text}\n{link}"
        fields = {name: redacted(str(value)) for name, value in redaction().of(alert.fields).items()}
        said = {"text": redacted(text), "kind": alert.kind, "key": redacted(alert.key), "fields": fields}
        return said if link is None else {**said, "link": redacted(link)}


def _knows(keys: OrderedDict[str, float], key: str) -> bool:
    """Whether a key is among those of the last minutes."""
    while keys and next(iter(keys.values())) < time.monotonic() - REMEMBERED:
        keys.popitem(last=False)
    return key in keys


@cache
def _trusted() -> ssl.SSLContext:
    """Who may have signed the webhook's certificate. To read it takes long enough to be felt by all calls in flight."""
    return httpx2.create_ssl_context()


async def _post(payload: dict[str, Any]) -> None:
    """One post. What is said of a failure is ours: what the client says of it may hold the address."""
    seconds = options.WEBHOOK_PATIENCE.total_seconds()
    try:
        address = WEBHOOK.reveal()  # from here on, no line shows it
        async with asyncio.timeout(seconds), httpx2.AsyncClient(timeout=seconds, verify=_trusted()) as client:
            answer = await client.post(address, json=payload)
    except TimeoutError:
        raise NotDelivered(f"the webhook did not answer within {seconds:g} s") from None
    except Exception as error:  # noqa: BLE001  # an address that is none, a refused connection, a broken answer
        raise NotDelivered(f"the webhook cannot be reached: {type(error).__name__}") from None
    if not answer.is_success:  # a redirect as well: whoever is meant should be named
        raise NotDelivered(f"the webhook answered {answer.status_code}")


_OWN = frozenset({"kind", "text", "key", "event", "level", "timestamp", "logger"})
"""What a field of an alert must not take the place of in its line."""

__all__ = ["Alerting", "NotDelivered"]
