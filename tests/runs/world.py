"""A small world for tools that act: a price that moves, and a mailbox. And runs that wait for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock import Agent, Retry, tool
from interlock.client import Run
from interlock.contracts import Message, PendingApproval, ToolMessage
from interlock.testing import Say, ScriptedModel, say
from interlock.tools import Tool
from tests.conftest import Served
from tests.until import until

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
    pending: list[PendingApproval] = []

    async def waiting() -> bool:
        status = await run.status()
        pending[:] = status.pending_approvals
        found = [each.call_id for each in pending] == list(ids)
        assert found or status.state != "closed", f"{run.id} ended: {status.outcome} {status.reason}"
        return found

    await until(waiting)
    return pending


async def told(served: Served, run: Run) -> list[ToolMessage]:
    """What the model was told of its calls, in order."""
    messages: Sequence[Message] = (await served.interlock.transcript(run.id)).messages
    return [message for message in messages if isinstance(message, ToolMessage)]
