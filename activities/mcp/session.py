"""One session with an MCP server: its start, what it offers, and its end. It does not begin again; another does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version

import structlog
from mcp.client.client import Client
from mcp.client.session import IncomingMessage
from mcp_types import Implementation, LoggingMessageNotificationParams, Tool, ToolListChangedNotification
from pydantic import ValidationError

from activities.mcp.diary import Diary
from activities.mcp.http import Http
from activities.mcp.stdio import Stdio
from interlock.mcp_server import McpServer

log = structlog.get_logger("interlock.mcp")

_MOST_LISTED = 2000
"""A server that lists for ever is stopped here; how many of them an agent may have is the listing's to say."""


class Session:
    """``live`` is its life, in a task of its own; ``ready`` waits until calls may be made."""

    client: Client

    def __init__(self, server: McpServer, known: Mapping[str, Tool]) -> None:
        """``known``: what the worker's runs were told that the server offers; empty for the first session."""
        self.server = server
        self._known = known
        self.offered: dict[str, Tool] = {}
        self.counted = False
        self.doubted = False
        given, secrets = self._revealed()
        self.diary = Diary(server.name, secrets)
        self._ended = asyncio.Event()
        self.transport: Stdio | Http = (
            Http(server, given, self._ended) if server.url else Stdio(server, given, self.diary, self._ended)
        )
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._began = self._clock()
        self._over_at: float | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] = loop.create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())

    def _revealed(self) -> tuple[dict[str, str], list[str]]:
        """What the server is given, and what of it is secret."""
        values = {**self.server.env, **self.server.headers}
        try:
            secret = {key: value.reveal() for key, value in values.items() if not isinstance(value, str)}
        except Exception as error:  # noqa: BLE001  # whatever a secret says of why it is not there
            said = f"MCP server {self.server.name} ({self.server.place}) did not start: {_line(error)}"
            raise ConnectionError(said) from None
        plain = {key: value for key, value in values.items() if isinstance(value, str)}
        return {**plain, **secret}, list(secret.values())

    @property
    def pid(self) -> int | None:
        return self.transport.pid

    @property
    def over(self) -> bool:
        return self._ended.is_set()

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    @property
    def lived(self) -> float:
        """Seconds from its beginning to its end, or until now."""
        return (self._over_at or self._clock()) - self._began

    async def ready(self) -> None:
        """Raises ``ConnectionError``, one line, where the server did not start."""
        await asyncio.shield(self._ready)

    def end(self) -> None:
        self._ended.set()
        if self._starting is not None:
            self._starting.cancel()

    async def live(self) -> None:
        """Start the server, ask it for its tools, wait for the end of either side, and leave nothing behind."""
        self._starting = asyncio.current_task()
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self.server.start_timeout):
                    self.client = await stack.enter_async_context(self._client())
                    self.offered = await self._listed()
                self._starting = None
                self._ready.set_result(None)
                self._compare()
                await self._ended.wait()
        except BaseException as error:  # noqa: BLE001  # whoever waits is told; a session's end is nobody else's failure
            self._explain(error)
        finally:
            self._starting = None
            self._over_at = self._clock()
            self._ended.set()

    def _client(self) -> Client:
        return Client(
            self.transport.streams(),
            client_info=Implementation(name="interlock", version=version("interlock")),
            logging_callback=self._logged,
            log_level="info",
            message_handler=self._received,
            cache=None,
        )

    async def _listed(self) -> dict[str, Tool]:
        found: dict[str, Tool] = {}
        cursor: str | None = None
        while True:
            page = await self.client.list_tools(cursor=cursor)
            before = len(found)
            for tool in page.tools:
                found.setdefault(tool.name, tool)
            cursor = page.next_cursor
            if cursor is None or len(found) == before or len(found) > _MOST_LISTED:
                return found

    def _compare(self) -> None:
        if self._known and self._known.keys() != self.offered.keys():
            new, gone = self.offered.keys() - self._known.keys(), self._known.keys() - self.offered.keys()
            log.warning("mcp.tools_changed", server=self.server.name, new=sorted(new)[:20], gone=sorted(gone)[:20])

    def _explain(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        match error:
            case _ if self._ready.done():
                log.warning("mcp.broken", server=self.server.name, error=self.diary.clean(_line(error)))
                return
            case TimeoutError():
                why = f"did not answer within {self.server.start_timeout:g} s"
            case ValidationError():
                [first, *_] = error.errors(include_url=False, include_input=False)
                where = ".".join(map(str, first["loc"]))[:200]
                why = f"listed its tools in a way that the protocol does not have: {where}: {first['msg'][:200]}"
            case _ if self.over and self.server.command:
                why = f"{self.transport.end} before it answered"
            case FileNotFoundError() if self.server.command and self.server.cwd is None:
                why = f"did not start: there is no program {self.server.command[0]!r}"
            case _:
                why = f"did not start: {self.diary.clean(_line(error))}"
        said = f"MCP server {self.server.name} ({self.diary.clean(self.server.place)}) {why}{self.diary.last}"
        self._ready.set_exception(ConnectionError(said))

    async def _logged(self, params: LoggingMessageNotificationParams) -> None:
        self.diary.note("log", f"{params.level}: {params.data}")

    async def _received(self, message: IncomingMessage) -> None:
        match message:
            case ToolListChangedNotification():
                log.warning("mcp.tools_changed", server=self.server.name, hint="new tools are seen by the next worker")
            case _:
                pass


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
