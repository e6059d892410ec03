"""Interlock: LLM agents in production, as Temporal workflows.

Names are loaded when they are first used (PEP 562): an eager import here would be executed again for
every workflow run inside Temporal's sandbox, and would cost the command line a second at ``--help``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.agent_tools import ToolContext
    from interlock.agents import Agent
    from interlock.client import Interlock
    from interlock.contracts import Account, AgentResult, AgentTask, Limits, Models, Price, Retry, RunStatus, Usage
    from interlock.errors import ToolError
    from interlock.mcp_server import mcp
    from interlock.secrets import Secret
    from interlock.tools import Tool, tool

_WHERE = {
    "Account": "contracts",
    "Agent": "agents",
    "Tool": "tools",
    "ToolContext": "agent_tools",
    "tool": "tools",
    "mcp": "mcp_server",
    "Interlock": "client",
    "AgentResult": "contracts",
    "AgentTask": "contracts",
    "Limits": "contracts",
    "Models": "contracts",
    "Price": "contracts",
    "Retry": "contracts",
    "RunStatus": "contracts",
    "Usage": "contracts",
    "ToolError": "errors",
    "Secret": "secrets",
}

__all__ = [
    "Account",
    "Agent",
    "AgentResult",
    "AgentTask",
    "Interlock",
    "Limits",
    "Models",
    "Price",
    "Retry",
    "RunStatus",
    "Secret",
    "Tool",
    "ToolContext",
    "ToolError",
    "Usage",
    "mcp",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'interlock' has no attribute {name!r}")
    return getattr(import_module(f"interlock.{_WHERE[name]}"), name)
