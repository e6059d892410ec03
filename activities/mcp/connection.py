"""One MCP server as one worker knows it: a session that calls share, and another when it has ended.

A session lives in a task of its own, because the ``mcp`` package wants to be left by the task that entered it. Calls
are made by whoever makes them: cancelling one tells the server, and leaves the session as it is.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TypeAlias

import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    Tool,
)
from pydantic import TypeAdapter, ValidationError

from activities.agents import BadReference
from activities.mcp.results import text_of
from activities.mcp.session import Session
from interlock import options
from interlock.agent_tools import ToolContext
from interlock.errors import Failure, ToolError
from interlock.mcp_server import McpServer

log = structlog.get_logger("interlock.mcp")

_Answer: TypeAlias = CallToolResult | InputRequiredResult
_ANSWER: TypeAdapter[_Answer] = TypeAdapter(_Answer)

# The server is not well, or nobody knows what became of the call. Other codes are its answer: this call will not do.
_UNWELL = {CONNECTION_CLOSED, REQUEST_TIMEOUT, INTERNAL_ERROR, PARSE_ERROR, 0}


class Connection:
    """The sessions with one server, one after another."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self.offered: dict[str, Tool] = {}
        self._session: Session | None = None
        self._living: set[asyncio.Task[None]] = set()
        self._pings: set[asyncio.Task[None]] = set()
        self._failed = 0
        self._closed = False

    async def start(self) -> None:
        """The first session; what the server offers then is what runs of this worker are told of. Raises
        ``BadReference``."""
        try:
            session = self._begin()
            await session.ready()
        except ConnectionError as error:
            raise BadReference(str(error)) from None
        self.offered = session.offered
        log.info("mcp.started", server=self.server.name, pid=session.pid, tools=len(self.offered))

    async def close(self) -> None:
        """End the session, and with it the server's process. Calls in flight end with it."""
        self._closed = True
        for ping in self._pings:
            ping.cancel()
        if self._session is not None:
            self._session.end()
        await asyncio.gather(*self._living)

    def clean(self, text: str) -> str:
        """``text`` without the secrets that the server was given."""
        return text if self._session is None else self._session.diary.clean(text)

    async def call(self, tool: str, arguments: dict[str, object], context: ToolContext) -> str:
        """What a tool returned, as text. Raises ``ToolError`` with what the server said against the call, and
        ``Failure`` where the server, or what lies between, is at fault."""
        session = await self._ready(context)
        if tool not in session.offered:
            raise ToolError(f"the MCP server {self.server.name} does not offer {tool!r} any more. Nothing was run.")
        request = CallToolRequest(
            params=CallToolRequestParams(
                name=tool, arguments=arguments, meta={"interlock/idempotencyKey": context.idempotency_key}
            )
        )
        given = (context.deadline - datetime.now(UTC)).total_seconds()
        try:
            # Not `call_tool`: it would apply the server's own schema to the server's own result, after the call
            # has been made, and ask us for what we do not offer.
            answer = await session.client.session.send_request(request, _ANSWER)
        except MCPError as error:
            raise self._said(error, session) from None
        except asyncio.CancelledError:
            self._doubt(session, options.mcp_ping(given))
            raise
        except ValidationError:
            raise self._failure("answered with something that is no result of a tool") from None
        if isinstance(answer, InputRequiredResult):
            raise ToolError(
                f"{tool} asks for input from a person or a model, which it is not given. It did not finish."
            )
        text = session.diary.clean(text_of(answer))
        if answer.is_error:
            raise ToolError(text or f"{tool} failed and did not say why")
        return text

    def _doubt(self, session: Session, seconds: float) -> None:
        """A call was given up on: is the server's process still there for others? Seen to beside them."""
        if not self.server.command or session.doubted or session.over or self._closed:
            return
        session.doubted = True
        ping = asyncio.create_task(self._ping(session, seconds))
        self._pings.add(ping)
        ping.add_done_callback(self._pings.discard)

    async def _ping(self, session: Session, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await session.client.session.send_ping()
        except TimeoutError:
            log.warning("mcp.hung", server=self.server.name, pid=session.pid, seconds=seconds)
            session.end()
        except MCPError:
            pass  # an answer all the same, or the end, which is noticed elsewhere
        finally:
            session.doubted = False

    def _said(self, error: MCPError, session: Session) -> Exception:
        said = session.diary.clean(error.message).strip()[:1000] or "no message"
        if session.over:
            return self._failure(f"{session.transport.end} in mid-call{session.diary.last}")
        if error.code in _UNWELL:
            return self._failure(f"could not answer: {said}")
        return ToolError(f"the MCP server {self.server.name} refused the call: {said}")

    def _failure(self, said: str, *, sent: bool = True, retry_after: float | None = None) -> Failure:
        text = f"the MCP server {self.server.name} {said}"
        if sent:
            return Failure("ToolFailed", text, fate="unknown", outage=True)
        return Failure("ToolFailed", f"{text}. Nothing was run.", retry_after=retry_after, outage=True)

    async def _ready(self, context: ToolContext) -> Session:
        """The session, begun anew where there is none. Bounded by the call's own time: a call that was never sent
        must not look like one whose fate is unknown."""
        left = (context.deadline - datetime.now(UTC)).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, left - min(0.5, left / 10))):
                session = await self._current()
                await session.ready()
                return session
        except TimeoutError:
            raise self._failure("was still starting when the call's time was up", sent=False) from None
        except ConnectionError as error:
            raise Failure("ToolFailed", f"{error}. Nothing was run.", outage=True) from None

    async def _current(self) -> Session:
        while True:
            session = self._session
            if session is not None and not session.over and not session.transport.gone():
                return session
            wait = self._until_due(session)
            if wait <= 0:
                return self._begin()
            if wait > options.MCP_BRIEF_WAIT.total_seconds():
                raise self._failure(
                    f"ended {self._failed} times in a row, soon after its start; it is not started again for "
                    f"{wait:.0f} s",
                    sent=False,
                    retry_after=wait,
                )
            await asyncio.sleep(wait)

    def _until_due(self, session: Session | None) -> float:
        """Seconds until another session may begin. One that ends soon after its start makes the next one later."""
        if session is None:
            return 0.0
        if not session.counted:
            session.counted = True
            session.end()
            brief = session.lived < options.MCP_BRIEF_LIFE.total_seconds()
            self._failed = self._failed + 1 if brief else 0
            log.warning("mcp.ended", server=self.server.name, how=session.transport.end, in_a_row=self._failed)
        return options.mcp_restart_gap(self._failed).total_seconds() - session.age

    def _begin(self) -> Session:
        if self._closed:
            raise self._failure("is stopped: the worker ends", sent=False)
        self._session = session = Session(self.server, known=self.offered)
        task = asyncio.create_task(session.live())
        self._living.add(task)
        task.add_done_callback(self._living.discard)
        return session
