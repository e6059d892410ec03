"""The environment of a worker whose providers are all one billing server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.billing import Behaviour, Wire
from tests.billing.server import BillingServer

KEY = "sk-of-the-tests-0123456789"
MODELS: dict[Wire, str] = {
    "chat": "openai-chat:gpt-5",
    "responses": "openai:gpt-5",
    "anthropic": "anthropic:claude-sonnet-5",
}
every_wire = pytest.mark.parametrize("wire", list(MODELS))


@asynccontextmanager
async def billing(behaviour: Behaviour, **options: Any) -> AsyncIterator[BillingServer]:
    """A billing server, and the variables that point every provider at it while the block runs."""
    async with BillingServer(behaviour, **options) as server:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("OPENAI_BASE_URL", server.openai_url)
            environment.setenv("OPENAI_API_KEY", KEY)
            environment.setenv("ANTHROPIC_BASE_URL", server.anthropic_url)
            environment.setenv("ANTHROPIC_API_KEY", KEY)
            yield server
