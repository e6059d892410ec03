"""A provider that keeps, byte for byte, what each model call was sent, and passes it on."""

from __future__ import annotations

from pydantic import TypeAdapter

from activities.providers import Answer, Providers, Request
from activities.providers.scripted import Scripted
from interlock.contracts import Message, Price

_MESSAGES: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])


class Recording:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._scripted = Scripted()

    @property
    def providers(self) -> Providers:
        return Providers(named={"scripted": self}, default=self)

    def check(self, model: str) -> None:
        self._scripted.check(model)

    def price(self, model: str) -> Price | None:
        return self._scripted.price(model)

    async def close(self) -> None:
        await self._scripted.close()

    async def ask(self, request: Request) -> Answer:
        self.sent.append(request.instructions.encode() + b"\n" + _MESSAGES.dump_json(tuple(request.messages)))
        return await self._scripted.ask(request)
