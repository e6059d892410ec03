"""Agents for workers that are killed while they spend: ``python worker.py --agents tests.chaos.spenders``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

from interlock import Account, Agent, Limits, Retry, tool
from tests.runs.priced import GOOD, PRICES

TURNS = 6

ACCOUNT = Decimal("0.02")
"""Pays for three runs of which nothing is lost; four are begun, and each lost answer costs as much as one."""


@tool(effect="read")
async def ponder(number: int) -> str:
    """Think for a while."""
    await asyncio.sleep(0.25)
    return f"thought {number}"


spender = Agent(
    name="spender",
    instructions="Ponder, then answer.",
    models=GOOD,
    prices=PRICES,
    tools=[ponder],
    accounts=[Account("user:{user_id}", usd="1.00")],
    # What a killed worker had in its hands is tried again when these seconds are over. Fewer, and on a busy machine
    # the first request of a new process, which reads in its provider's library, is not answered within them.
    limits=Limits(usd="0.25", step_seconds=6, tool_calls=50),
    retry=Retry(attempts=4, initial=0.05, maximum=0.2),
    max_output_tokens=200,
)

poor = replace(spender, name="poor", accounts=[Account("poor:{user_id}", usd=ACCOUNT)])
