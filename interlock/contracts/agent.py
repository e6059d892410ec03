"""An agent, as a run records it once: a deploy never changes a run under way."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from interlock.contracts.base import Asked, Count, Effect, Json, Money, Wire
from interlock.contracts.task import Limits


class Retry(Asked):
    """How patient a call is. Attempt ``n`` (from 1) is followed by a wait drawn from
    ``[(1 - jitter) * d, d]`` with ``d = min(maximum, initial * factor ** (n - 1))`` seconds:
    ``jitter=1`` is full jitter, ``0`` none. A provider's Retry-After takes precedence when longer."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 4
    initial: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    maximum: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0


class Rates(Asked):
    """Dollars per million tokens. ``cached_input`` (default: ``input``) is for input read from the
    provider's cache; ``cache_write`` (default: ``input``) for input written to it."""

    input: Money
    output: Money
    cached_input: Money | None = None
    cache_write: Money | None = None


class LongContext(Rates):
    """Rates of a whole request whose input is more than ``above`` tokens."""

    above: Count


class Price(Rates):
    """What a model costs, with other rates for long contexts where its provider has them."""

    long_context: tuple[LongContext, ...] = ()


class Models(Asked):
    """Which model takes which work, each as ``provider:name``; ``fallback`` in order of preference."""

    simple: str
    medium: str
    complex: str
    fallback: tuple[str, ...] = ()

    @classmethod
    def one(cls, model: str) -> Self:
        return cls(simple=model, medium=model, complex=model)

    def all(self) -> tuple[str, ...]:
        """Every model once, cheapest tier first."""
        return tuple(dict.fromkeys((self.simple, self.medium, self.complex, *self.fallback)))


class ToolSpec(Wire):
    """A tool as the run records it: what the model is shown, and what the run may do with it."""

    name: str
    description: str
    parameters: dict[str, Json]
    effect: Effect = "write"
    timeout: float | None = None
    retry: Retry | None = None
    max_result_bytes: int = 65_536


class AgentSpec(Wire):
    """An agent as a run records it, once: a deploy never changes a run under way."""

    name: str
    instructions: str
    models: Models
    tools: tuple[ToolSpec, ...] = ()
    limits: Limits = Limits()
    retry: Retry = Retry()
    prices: dict[str, Price] = Field(default_factory=dict)
    plan: bool = False
    max_parallel_tools: int = 8
    max_output_tokens: int = 8192

    def tool(self, name: str) -> ToolSpec | None:
        return next((tool for tool in self.tools if tool.name == name), None)


class ResolveAgent(Wire):
    """Input of ``resolve_agent``."""

    agent: str
    user_id: str = "anonymous"
