"""The server: HTTP on one side, the ledger on the other."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
import traceback
from collections.abc import Callable, Mapping
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.billing import Behaviour, Bill, Entry, Outcome, Prices, Reply, Request, price, wire

_HEAD_LIMIT = 1 << 20


class _Reader(asyncio.StreamReader):
    """A reader that tells when the client has gone while nobody is reading from it."""

    def __init__(self) -> None:
        super().__init__(limit=_HEAD_LIMIT)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


class BillingServer:
    """Answers as the behaviour says and bills each request; use it as an async context manager.

    An error of the behaviour itself (or a model without a price) is answered with an unbilled 500 and raised again
    when the server is closed, so that it cannot pass for a failure of a provider.

    `sent` holds the body of each reply by the index of its request.
    """

    def __init__(
        self, behaviour: Behaviour, *, prices: Prices | None = None, port: int = 0, log: Path | None = None
    ) -> None:
        self.behaviour = behaviour
        self.prices = prices
        self.port = port
        self.requests: list[Request] = []
        self.sent: dict[int, Any] = {}
        self.bill = Bill()
        self.errors: list[Exception] = []
        self._log_path = log
        self._log: IO[str] | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.anthropic_url}/v1"

    async def __aenter__(self) -> Self:
        if self._log_path is not None:
            self._log = self._log_path.open("a", encoding="utf-8")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(), self._serve), "127.0.0.1", self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        if self._log is not None:
            self._log.close()
        if self.errors and error is None:
            raise ExceptionGroup("the behaviour of the billing server failed", self.errors)

    async def until(self, condition: Callable[[Self], bool], timeout: float = 30.0) -> None:
        """Wait for the server to have seen something, e.g. `lambda s: s.requests[0].closed_at is not None`."""
        async with asyncio.timeout(timeout):
            while not condition(self):
                await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            # Only `__aexit__` cancels connections; ending cancelled would make asyncio's own callback fail.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: _Reader, writer: asyncio.StreamWriter) -> bool:
        """One request and its reply; whether the connection stays open for another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        raw = await _read_body(reader, headers)
        at = time.monotonic()
        keep = headers.get("connection", "").lower() != "close"
        kind = wire.PATHS.get(path.partition("?")[0])
        if method == "GET" and path == "/ledger":
            await _send(writer, 200, self.ledger())
        elif method != "POST" or kind is None:
            await _send(writer, 404, {"error": {"message": f"no such route: {method} {path}"}})
        else:
            try:
                request = wire.parse(kind, raw, headers, at)
            except wire.Malformed as error:
                await _send(writer, 400, wire.render_error(kind, Reply(status=400, error=str(error))))
            else:
                return await self._answer(request, reader, writer) and keep
        return keep

    async def _answer(self, request: Request, reader: _Reader, writer: asyncio.StreamWriter) -> bool:
        n = len(self.requests)
        self.requests.append(request)
        gone = asyncio.create_task(_note_close(request, reader))
        try:
            reply, outcome, usd = await self._choose(request, n)
            if not reply.bill_after_delay:
                self._enter(request, n, reply, outcome, usd, billed=reply.is_billed)
            if reply.delay or reply.hang:
                await asyncio.wait({gone}, timeout=None if reply.hang else reply.delay)
            if reply.bill_after_delay:
                # A client that left before the work was done is not charged for it.
                billed = reply.is_billed and not reader.gone.is_set()
                self._enter(request, n, reply, outcome, usd, billed=billed)
            if reader.gone.is_set():
                raise ConnectionResetError("the client has gone")
            if reply.drop is not None:
                return False
            self.sent[n] = _body(request, reply, outcome)
            await _send(writer, reply.status, self.sent[n], reply.headers, truncate=reply.truncate)
        except ConnectionError:
            request.closed_at = request.closed_at or time.monotonic()
            raise
        finally:
            gone.cancel()
        return not reply.truncate

    async def _choose(self, request: Request, n: int) -> tuple[Reply, Outcome, Decimal]:
        try:
            chosen = self.behaviour(request, n)
            reply = await chosen if inspect.isawaitable(chosen) else chosen
            outcome = reply.outcome(request)
            return reply, outcome, price(outcome, request.model, self.prices)
        except Exception as error:  # noqa: BLE001 - raised again by `__aexit__`
            traceback.print_exception(error)
            self.errors.append(error)
            reply = Reply(status=500, error=f"the behaviour of the billing server failed: {error!r}")
            return reply, reply.outcome(request), Decimal(0)

    def _enter(self, request: Request, n: int, reply: Reply, outcome: Outcome, usd: Decimal, *, billed: bool) -> None:
        counts = (outcome.input_tokens, outcome.output_tokens, outcome.cached_tokens) if billed else (0, 0, 0)
        cost = usd if billed else Decimal(0)
        entry = Entry(n, request.wire, request.model, request.turns, *counts, billed, reply.status, cost, request.at)
        self.bill.entries.append(entry)
        if self._log is not None:
            # Flushed before the reply leaves, so that whatever dies next, what was billed is on record.
            self._log.write(json.dumps(entry.to_json()) + "\n")
            self._log.flush()

    def ledger(self) -> dict[str, Any]:
        """The books as GET /ledger shows them."""
        rows = [{**entry.to_json(), "closed_at": self.requests[entry.n].closed_at} for entry in self.bill.entries]
        totals = {"usd": str(self.bill.usd), "tokens": self.bill.tokens}
        return {**totals, "requests": self.bill.requests, "billed": self.bill.billed, "entries": rows}


async def _note_close(request: Request, reader: _Reader) -> None:
    await reader.gone.wait()
    request.closed_at = time.monotonic()


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", "").lower():
        return await reader.readexactly(int(headers.get("content-length", 0)))
    chunks: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # Trailers.
    return b"".join(chunks)


def _body(request: Request, reply: Reply, outcome: Outcome) -> dict[str, Any] | str:
    if reply.body is not None:
        return reply.body
    return wire.render(request, outcome) if reply.status == 200 else wire.render_error(request.wire, reply)


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: dict[str, Any] | str,
    headers: Mapping[str, str] | None = None,
    *,
    truncate: bool = False,
) -> None:
    payload = (body if isinstance(body, str) else json.dumps(body)).encode()
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Overloaded"
    fields = {"content-type": "application/json", "content-length": str(len(payload)), **(headers or {})}
    head = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    writer.write("\r\n".join(head).encode("latin-1") + (payload[: len(payload) // 2] if truncate else payload))
    await writer.drain()
