"""Agents with the tools of their MCP servers: each server is started and asked once, when a worker starts.

What it costs to import the ``mcp`` package is paid by workers that serve such agents only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from activities.agents import BadReference
from interlock.agents import Agent
from interlock.mcp_server import McpServer

if TYPE_CHECKING:
    from activities.mcp.connection import Connection


@asynccontextmanager
async def with_mcp_tools(agents: Sequence[Agent]) -> AsyncIterator[list[Agent]]:
    """``agents``, each MCP server among their tools replaced by the tools that it offers; the servers are there
    while the block runs. Raises ``BadReference``, one line that names the server and what it said."""
    servers = _servers(agents)
    if not servers:
        yield list(agents)
        return
    from activities.mcp.connection import Connection

    connections = {name: Connection(server) for name, server in servers.items()}
    try:
        started = await asyncio.gather(*(each.start() for each in connections.values()), return_exceptions=True)
        for problem in started:
            if problem is not None:
                raise problem
        yield [_expanded(agent, connections) for agent in agents]
    finally:
        await asyncio.gather(*(each.close() for each in connections.values()))


def _servers(agents: Sequence[Agent]) -> dict[str, McpServer]:
    found: dict[str, McpServer] = {}
    for agent in agents:
        for server in agent.tools:
            if not isinstance(server, McpServer):
                continue
            if found.setdefault(server.name, server).connection != server.connection:
                places = " and ".join(each.place for each in (found[server.name], server))
                raise BadReference(f"two MCP servers are named {server.name!r}: {places}; give one mcp(..., name=...)")
    return found


def _expanded(agent: Agent, connections: dict[str, Connection]) -> Agent:
    from activities.mcp.listing import learn

    tools: list[Any] = []
    for each in agent.tools:
        tools += learn(each, connections[each.name]) if isinstance(each, McpServer) else [each]
    try:
        return replace(agent, tools=tools)
    except ValueError as error:  # a tool of a server and a function of one name
        raise BadReference(f"{error}; rename one, or give the MCP server mcp(..., name=...)") from None
