"""Prices without a network: known models, tiers, and what nobody knows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from activities.prices import price_of
from activities.providers import Providers
from activities.providers.pydantic_ai import PydanticAI
from interlock.contracts import Attempt, Price
from interlock.policies.prices import cost

PROVIDERS = Providers(named={}, default=PydanticAI())


_watched: list[list[Any]] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        for seen in _watched:
            seen.append(arguments)


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """No price is looked up on the network."""
    seen: list[Any] = []
    _watched.append(seen)
    yield
    _watched.remove(seen)
    assert seen == []


@pytest.mark.parametrize(
    ("model", "input", "output", "cached"),
    [
        ("openai:gpt-5", "1.25", "10", "0.125"),
        ("openai-chat:gpt-5", "1.25", "10", "0.125"),
        ("openai-responses:gpt-5", "1.25", "10", "0.125"),
        ("openai:gpt-5-mini", "0.25", "2", "0.025"),
        ("openai:gpt-4o", "2.5", "10", "1.25"),
        ("openai:gpt-4.1", "2", "8", "0.5"),
        ("openai:o3", "2", "8", "0.5"),
        ("anthropic:claude-sonnet-4-5", "3", "15", "0.3"),
        ("anthropic:claude-opus-4-5", "5", "25", "0.5"),
        ("anthropic:claude-haiku-4-5", "1", "5", "0.1"),
        ("anthropic:claude-sonnet-4-5-20250929", "3", "15", "0.3"),
        ("google-gla:gemini-2.5-pro", "1.25", "10", "0.125"),
        ("groq:llama-3.3-70b-versatile", "0.59", "0.79", None),
    ],
)
def test_a_known_model_costs_what_its_provider_says(model: str, input: str, output: str, cached: str | None) -> None:
    price = price_of(model, PROVIDERS)
    assert price is not None
    assert (price.input, price.output) == (Decimal(input), Decimal(output))
    assert price.cached_input == (None if cached is None else Decimal(cached))
    for rate in (price.input, price.output, price.cached_input, price.cache_write):
        assert rate is None or 0 <= rate < 1000


@pytest.mark.parametrize(
    ("model", "above", "short", "long"),
    [
        ("anthropic:claude-sonnet-4-5", 200_000, "3", "6"),
        ("google-gla:gemini-2.5-pro", 200_000, "1.25", "2.5"),
        ("openai:gpt-5.4", 272_000, "2.5", "5"),
    ],
)
def test_a_long_context_has_rates_of_its_own(model: str, above: int, short: str, long: str) -> None:
    price = price_of(model, PROVIDERS)
    assert price is not None
    for tokens, rate in ((above, short), (above + 1, long)):
        attempt = Attempt(number=1, fate="billed", input_tokens=tokens)
        assert cost(price, attempt) == Decimal(rate) * tokens / 1_000_000


@pytest.mark.parametrize(
    "model",
    [
        "openai:gpt-9000",
        "nobody:gpt-5",
        "openai:",
        "openai:whisper-1",  # by the minute
        "openai:text-embedding-3-small",  # makes no output
        "perplexity:sonar",  # by the request as well
    ],
)
def test_nobody_knows_what_the_others_cost(model: str) -> None:
    assert price_of(model, PROVIDERS) is None


def test_a_provider_that_knows_its_price_is_asked_first() -> None:
    class Own(PydanticAI):
        def price(self, model: str) -> Price | None:
            return Price(input=Decimal(7), output=Decimal(8))

    price = price_of("openai:gpt-5", Providers(named={"openai": Own()}, default=PydanticAI()))
    assert price is not None
    assert price.input == 7
