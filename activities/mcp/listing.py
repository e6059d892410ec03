"""What an MCP server offers, as tools of an agent: the names, and how much of what it says is shown to a model.

All of it is the server's word. Its descriptions reach the model, bounded; its hints about what its tools do
(``readOnlyHint``, ``idempotentHint``) decide nothing: only the agent's author says that a tool may be run twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from mcp_types import Tool as Offered

from activities.agents import BadReference
from activities.mcp.schemas import tamed
from activities.validation import misfit, read_arguments
from interlock.agent_tools import AgentTool, ToolContext
from interlock.contracts import Effect, Retry, ToolSpec
from interlock.mcp_server import McpServer

if TYPE_CHECKING:
    from activities.mcp.connection import Connection

log = structlog.get_logger("interlock.mcp")

MOST_TOOLS = 128
MOST_DESCRIPTION = 4096
MOST_BYTES = 256 * 1024
"""Of all tools of one server together: every run records them, and every request to a model pays for them."""


@dataclass(frozen=True, kw_only=True, repr=False)
class McpTool(AgentTool):
    """One tool of an MCP server. The same tool in two agents' lists is one tool, whatever each says of it."""

    connection: Connection
    remote: str
    name: str
    known_as: str = field(compare=False)
    description: str = field(compare=False)
    parameters: dict[str, Any] = field(compare=False)
    effect: Effect = field(compare=False)
    timeout: float | None = field(compare=False)
    retry: Retry | None = field(compare=False)
    max_result_bytes: int = field(compare=False)
    is_async: bool = field(default=True, init=False, compare=False)

    def __repr__(self) -> str:
        return f"<tool {self.name} ({self.effect}) of MCP server {self.connection.server.name}>"

    @property
    def dependency(self) -> str:
        return self.known_as

    @property
    def origin(self) -> str:
        return f"{self.remote!r} of MCP server {self.connection.server.name}"

    def spec(self) -> ToolSpec:
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            effect=self.effect,
            timeout=self.timeout,
            retry=self.retry,
            max_result_bytes=self.max_result_bytes,
        )

    def bind(self, arguments: str) -> dict[str, Any]:
        value = read_arguments(arguments)
        try:
            said = misfit(self.parameters, value)
        except Exception as error:  # noqa: BLE001  # whatever a schema can raise; nothing is run
            raise ValueError(f"its schema cannot be applied: {type(error).__name__}") from None
        if said is not None or not isinstance(value, dict):
            raise ValueError(said or "they are no object")
        return value

    async def invoke(self, arguments: dict[str, Any], context: ToolContext) -> str:
        return await self.connection.call(self.remote, arguments, context)

    def render(self, value: Any) -> str:
        return str(value)


def learn(server: McpServer, connection: Connection) -> list[AgentTool]:
    """The tools that ``server`` declares, of those that its connection found. Raises ``BadReference`` for a name in
    ``allow`` or ``effects`` that there is not, and for two tools that a model could not tell apart."""
    offered = connection.offered
    for what, names in (("allow", server.allow or ()), ("effects", server.effects)):
        if missing := [name for name in names if name not in offered]:
            known = connection.clean(", ".join(sorted(name[:64] for name in offered)[:50])) or "none"
            raise BadReference(f"MCP server {server.name}: {what} names {missing[0]!r}; its tools: {known}")
    chosen = [each for name, each in offered.items() if server.allow is None or name in server.allow]
    found: dict[str, McpTool] = {}
    size = 0
    for each in chosen:
        try:
            tool = _tool(server, connection, each)
            size += len(tool.spec().model_dump_json().encode())
            if len(found) == MOST_TOOLS or size > MOST_BYTES:
                said = (
                    f"{MOST_TOOLS} tools and {MOST_BYTES} bytes of descriptions and schemas are the most of one server"
                )
                raise ValueError(said)
        except ValueError as error:
            if server.allow is not None:
                raise BadReference(f"MCP server {server.name}: tool {each.name[:64]!r}: {error}") from None
            name = connection.clean(each.name)[:64]
            log.warning("mcp.tool_left_out", server=server.name, tool=name, why=str(error))
            continue
        if (other := found.setdefault(tool.name, tool)) is not tool:
            raise BadReference(
                f"MCP server {server.name}: its tools {other.remote!r} and {tool.remote!r} would both be named "
                f"{tool.name}; choose one with allow=[...]"
            )
    return list(found.values())


def _tool(server: McpServer, connection: Connection, offered: Offered) -> McpTool:
    if not 1 <= len(offered.name) <= 128 or not offered.name.isprintable():
        raise ValueError("its name is not 1 to 128 printable characters")
    if connection.clean(offered.name) != offered.name:
        raise ValueError("its name holds a secret that the server was given")
    return McpTool(
        connection=connection,
        remote=offered.name,
        name=server.tool_name(offered.name),
        known_as=server.dependency(offered.name),
        description=_description(offered, connection),
        parameters=tamed(_clean(offered.input_schema, connection)),
        effect=server.effects.get(offered.name, "write"),
        timeout=server.timeout,
        retry=server.retry,
        max_result_bytes=server.max_result_bytes,
    )


def _clean(schema: Any, connection: Connection) -> Any:
    """A schema without the secrets that the server was given, as values or as names: runs record it. Raises
    ``ValueError`` where that leaves no schema."""
    return json.loads(connection.clean(json.dumps(schema, ensure_ascii=False)))


def _description(offered: Offered, connection: Connection) -> str:
    text = offered.description or offered.title or offered.name
    shown = "".join(character for character in text if character.isprintable() or character in "\n\t")
    data = connection.clean(shown).encode(errors="replace")
    if len(data) <= MOST_DESCRIPTION:
        return data.decode()
    return f"{data[:MOST_DESCRIPTION].decode(errors='ignore')}\n[cut: {len(data)} bytes in all]"
