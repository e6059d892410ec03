"""What an agent's model may call, wherever it comes from; and what a call tells the tool that serves it.

``interlock.tools`` makes one of a function, ``activities.mcp`` of what an MCP server offers.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from interlock.beside import Beside
from interlock.contracts import Effect, ToolSpec

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What tools and agents may be called: what every provider takes for the name of a function."""


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know of the call it serves, by a parameter annotated ``ToolContext``.

    idempotency_key  the same for every attempt of this call, different for every other call
    deadline         when the attempt is given up, UTC
    cancelled        set when the call is cancelled; a plain function that works long looks at it
    """

    idempotency_key: str
    run_id: str
    user_id: str
    agent: str
    call_id: str
    attempt: int
    deadline: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)


class AgentTool(ABC):
    """What an agent's model may call, wherever it comes from: a function, or an MCP server.

    is_async        ``invoke`` returns an awaitable; otherwise it may block, and runs in a thread
    predicate       asked whether a call needs a person's approval
    verify          asked whether a call of unknown fate took effect
    requires_fresh  tools whose results must still be valid when it acts"""

    name: str
    effect: Effect
    is_async: bool
    predicate: Beside | None = None
    verify: Beside | None = None
    requires_fresh: tuple[AgentTool, ...] = ()

    @property
    @abstractmethod
    def origin(self) -> str:
        """Where it comes from, for messages to people."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """What arguments are where a call does not say."""
        return {}

    @property
    def dependency(self) -> str:
        """What the fleet's breakers know it by."""
        return f"tool:{self.name}"

    @abstractmethod
    def spec(self) -> ToolSpec:
        """What a run records of it."""

    @abstractmethod
    def bind(self, arguments: str) -> dict[str, Any]:
        """What ``invoke`` takes, from the model's JSON text. Raises ``ValueError`` with one line."""

    @abstractmethod
    def invoke(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        """One attempt of a call."""

    @abstractmethod
    def render(self, value: Any) -> str:
        """A result as the model is shown it."""
