"""Web servers on loopback that say exactly what they are told to, well-formed or not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from examples.tools.http import http_get

LOOPBACK = ("127.0.0.0/8",)


@dataclass
class Site:
    """``heads``: what was asked, in order; ``names``: the names that TLS clients asked for."""

    port: int
    heads: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


@dataclass
class Names:
    """A name service: for each host its addresses, for each time it is asked; the last go on. ``asked``: of whom."""

    addresses: Mapping[str, Sequence[Sequence[str]]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        times = self.asked.count(host)
        self.asked.append(host)
        if host not in self.addresses:
            raise OSError("no such host")
        return self.addresses[host][min(times, len(self.addresses[host]) - 1)]


@asynccontextmanager
async def site(
    pages: Mapping[str, bytes], *, slow: Sequence[str] = (), tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    """Answers a path with bytes as they are (``PORT`` in them is its own port), and then closes. Those that are
    ``slow`` go out byte by byte, for ever from the start again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            here.heads.append(head)
            path = head.split()[1]
            answer = pages.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nno one")
            while path in slow:
                for byte in answer:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.02)
            writer.write(answer.replace(b"PORT", str(here.port).encode()))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    here = Site(server.sockets[0].getsockname()[1])
    if tls is not None:
        tls.sni_callback = lambda _, name, __: here.names.append(name)
    try:
        yield here
    finally:
        server.close()


def page(body: bytes, kind: str = "text/plain", *more: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(head).encode() + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


HERE = Names({"site.test": [["127.0.0.1"]]})


async def get(here: Site, path: str, **options: Any) -> str:
    """The answer for a path of a site that the tool may reach under the name ``site.test``."""
    given: dict[str, Any] = {"networks": LOOPBACK, "resolve": HERE, **options}
    text: str = await http_get([f"site.test:{here.port}"], **given)(f"http://site.test:{here.port}{path}")
    return text
