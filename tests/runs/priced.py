"""Agents whose model is the billing server, at known prices: what it billed is the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from interlock import Agent, Limits, Price, Retry, tool
from tests.billing import Behaviour
from tests.billing.server import BillingServer

GOOD, CHEAP = "openai-chat:good", "openai-chat:cheap"
PRICES = {
    GOOD: Price(input="3.00", output="15.00", cached_input="0.30"),
    CHEAP: Price(input="0.30", output="1.50", cached_input="0.03"),
}
TABLE = {
    "good": (Decimal("3.00"), Decimal("15.00"), Decimal("0.30")),
    "cheap": (Decimal("0.30"), Decimal("1.50"), Decimal("0.03")),
}


@tool(effect="read")
async def look(number: int = 0) -> str:
    """Look something up."""
    return f"entry {number}: " + "lorem ipsum " * 20


def agent(name: str = "payer", **options: Any) -> Agent:
    settings: dict[str, Any] = {
        "instructions": "Look things up.",
        "models": GOOD,
        "prices": PRICES,
        "tools": [look],
        "limits": Limits(step_seconds=5, tool_calls=1000),
        "retry": Retry(attempts=3, initial=0.05, maximum=0.2),
        "max_output_tokens": 500,
    }
    return Agent(name=name, **{**settings, **options})


@asynccontextmanager
async def billed(behaviour: Behaviour) -> AsyncIterator[BillingServer]:
    """The billing server, with workers of this process pointed at it."""
    async with BillingServer(behaviour, prices=TABLE) as server:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("OPENAI_BASE_URL", server.openai_url)
            environment.setenv("OPENAI_API_KEY", "test")
            yield server
