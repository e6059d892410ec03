"""An MCP server at a URL, by the ``mcp`` package's streamable HTTP, within bounds that the package does not set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client

from activities.mcp.stdio import MOST_BYTES
from interlock.mcp_server import McpServer


class Http:
    """The connection of one session."""

    pid: int | None = None

    def __init__(self, server: McpServer, given: Mapping[str, str], ended: asyncio.Event) -> None:
        self._url = server.url
        # Compressed answers could be a thousand times what was counted.
        self._headers = {**given, "accept-encoding": "identity"}
        self._ended = ended
        self.end = "closed the connection"

    def gone(self) -> bool:
        return False

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Any]:
        # No time-out for reading: a call is bounded by its own, and one slow call must not end its neighbours.
        wait = httpx2.Timeout(10.0, read=None, pool=None)
        limits = httpx2.Limits(max_connections=None)
        async with (
            httpx2.AsyncClient(
                headers=self._headers,
                timeout=wait,
                transport=_Bounded(self, httpx2.AsyncHTTPTransport(limits=limits)),
            ) as client,
            streamable_http_client(self._url, http_client=client, max_sse_event_size=MOST_BYTES) as streams,
        ):
            yield streams

    def forgotten(self) -> None:
        """The server does not know the session any more: it was started anew."""
        self.end = "has forgotten the session"
        self._ended.set()


class _Bounded(httpx2.AsyncBaseTransport):
    """Requests as they are, answers no longer than ``MOST_BYTES``. Streams of events are bounded by the event."""

    def __init__(self, http: Http, inner: httpx2.AsyncHTTPTransport) -> None:
        self._http = http
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if response.status_code == 404 and MCP_SESSION_ID in request.headers:
            self._http.forgotten()
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("the server compressed an answer, though it was asked not to", request=request)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedStream(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise httpx2.ReadError(f"the server's answer is longer than {MOST_BYTES} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()
