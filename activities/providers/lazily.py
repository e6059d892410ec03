"""A provider that is made when the first of its models is named.

What its library costs to import, half a second of a worker's start, is paid by workers that serve its models only.
"""

from __future__ import annotations

from collections.abc import Callable

from activities.providers import Answer, Provider, Request
from interlock.contracts import Price


class Lazily:
    """``make`` is called once, at the first ``check``: while agents are loaded, before any run is served."""

    def __init__(self, make: Callable[[], Provider]) -> None:
        self._make = make
        self._made: Provider | None = None

    def check(self, model: str) -> None:
        self._provider().check(model)

    def price(self, model: str) -> Price | None:
        return self._provider().price(model)

    async def ask(self, request: Request) -> Answer:
        return await self._provider().ask(request)

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()

    def _provider(self) -> Provider:
        if self._made is None:
            self._made = self._make()
        return self._made
