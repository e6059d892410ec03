"""A small world for tools that act: a price that moves, and a mailbox. And runs that wait for people."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock import Agent, Retry, tool
from interlock.client import Run
from interlock.contracts import Message, PendingApproval, ToolMessage
from interlock.errors import BadRequest, NoWorker
from interlock.testing import DEADLOCK, Say, ScriptedModel, say
from interlock.tools import Tool
from tests.conftest import Served

QUICK = Retry(attempts=3, initial=0.02, maximum=0.05)


@dataclass
class World:
    price: int = 10
    quoted: list[str] = field(default_factory=list)
    bought: list[tuple[str, int]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def quote(self, valid_for: float = 60, **options: Any) -> Tool:
        @tool(effect="read", valid_for=valid_for, **options)
        def quote(symbol: str) -> dict[str, Any]:
            """The price of something."""
            self.quoted.append(symbol)
            return {"symbol": symbol, "price": self.price}

        return quote

    def buy(self, *required: Tool, **options: Any) -> Tool:
        @tool(effect="write", requires_fresh=required, **options)
        def buy(symbol: str, amount: int = 1) -> str:
            """Buy something."""
            self.bought.append((symbol, amount))
            return f"bought {amount} of {symbol}"

        return buy

    def send(self, **options: Any) -> Tool:
        @tool(effect="write", name="send_email", **{"approval": True, **options})
        def send(to: str, text: str = "hello") -> str:
            """Send a message."""
            self.sent.append(to)
            return f"sent to {to}"

        return send


def agent(name: str, turns: Sequence[Say] | Any, tools: Sequence[Tool], **options: Any) -> Agent:
    script = turns if callable(turns) else [*turns, say("done")]
    model = ScriptedModel(name, script)
    return Agent(**{"name": name, "instructions": "", "models": model.model, "tools": tools, "retry": QUICK, **options})


async def waits(run: Run, *ids: str) -> list[PendingApproval]:
    """The calls that wait for a person, when they are these."""
    pending: list[str] = []
    for _ in range(1200):
        try:
            status = await run.status()
        except NoWorker:  # the SDK drops a question that comes while a worker without a cache evicts the run
            continue
        except BadRequest as error:
            if DEADLOCK not in str(error):
                raise
            continue
        pending = [each.call_id for each in status.pending_approvals]
        if pending == list(ids):
            return list(status.pending_approvals)
        assert status.state != "closed", f"{run.id} ended: {status.outcome} {status.reason}"
        await asyncio.sleep(0.05)
    raise AssertionError(f"{run.id} does not wait for {ids}, but for {pending}")


async def told(served: Served, run: Run) -> list[ToolMessage]:
    """What the model was told of its calls, in order."""
    messages: Sequence[Message] = (await served.interlock.transcript(run.id)).messages
    return [message for message in messages if isinstance(message, ToolMessage)]
