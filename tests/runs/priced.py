"""Agents whose model is the billing server, at known prices: what it billed is the truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from interlock import Agent, Limits, Price, Retry, tool
from tests.billing.server import BillingServer

MODEL = "openai-chat:priced"
PRICE = Price(input="3.00", output="15.00", cached_input="0.30")
TABLE = {"priced": (Decimal(3), Decimal(15), Decimal("0.30"))}


@tool(effect="read")
async def look(number: int = 0) -> str:
    """Look something up."""
    return f"entry {number}: " + "lorem ipsum " * 20


def agent(name: str = "payer", **options: Any) -> Agent:
    settings: dict[str, Any] = {
        "instructions": "Look things up.",
        "models": MODEL,
        "prices": {MODEL: PRICE},
        "tools": [look],
        "limits": Limits(step_seconds=5, tool_calls=1000),
        "retry": Retry(attempts=3, initial=0.05, maximum=0.2),
        "max_output_tokens": 500,
    }
    return Agent(name=name, **{**settings, **options})


@contextmanager
def pointed_at(server: BillingServer) -> Iterator[None]:
    """The environment of a worker in this process, pointed at ``server``."""
    with patch.dict("os.environ", {"OPENAI_BASE_URL": server.openai_url, "OPENAI_API_KEY": "test"}):
        yield
