"""What a model's provider is to Interlock: one request, one answer or one ``Failure``. Nothing is retried here.

A provider is found by the part of a model's name before the colon. Production and test differ by one
dictionary: the one given to ``Providers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from interlock.contracts import AssistantMessage, Finish, Message, Price, ToolSpec


@dataclass(frozen=True)
class Request:
    """One request to a model. ``tools`` are the agent's; ``may_call``: the model may use them this time.
    ``most_input``: the tokens of input that it was granted, which are more than it can have. ``step`` numbers the ids
    of the calls it asks for."""

    model: str
    instructions: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec]
    max_tokens: int
    most_input: int
    timeout: float
    step: int = 0
    may_call: bool = True


@dataclass(frozen=True)
class Tokens:
    """What a provider says it billed. ``input`` includes ``cached`` and ``cache_write``."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0


@dataclass(frozen=True)
class Answer:
    message: AssistantMessage
    finish: Finish
    tokens: Tokens
    response_model: str | None = None


class Provider(Protocol):
    """Calls models. ``ask`` raises ``interlock.errors.Failure``, with the attempt's fate as far as it is known."""

    def check(self, model: str) -> None:
        """Raise ``ValueError``, in one line, when the name cannot be a model of this provider. No I/O."""

    def price(self, model: str) -> Price | None:
        """What the model costs, when the provider itself knows."""

    async def ask(self, request: Request) -> Answer: ...

    async def close(self) -> None:
        """Close every connection. The next call opens them again."""


@dataclass(frozen=True)
class Providers:
    """The providers of a worker: by the name before the colon, and ``default`` for every other."""

    named: Mapping[str, Provider]
    default: Provider

    async def close(self) -> None:
        """Close every connection."""
        for provider in {id(each): each for each in (*self.named.values(), self.default)}.values():
            await provider.close()

    def of(self, model: str) -> Provider:
        return self.named.get(model.partition(":")[0], self.default)
