"""What a server answers to a GET, read from the connection, and how a model is shown it.

Nothing beyond the bytes that were asked for is read, and nothing but text.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from examples.tools.urls import Target
from interlock import ToolError
from interlock.errors import Failure

READABLE = re.compile(r"text/[\w.+-]+|application/([\w.+-]+\+)?(json|xml|yaml|javascript|x-ndjson|toml)")

_CHARSET = re.compile(r"utf-?8|us-ascii|iso-8859-(1|2|15)|windows-125[0-8]")
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    location: str | None
    kind: str
    charset: str
    body: bytes
    more: bool
    retry_after: float | None = None

    def shown(self, target: Target, most: int) -> str:
        if self.status in _TRANSIENT:
            # 429 and its like are backed off from; that the host is down is said by what is above.
            said = f"{target.url} answered {self.status} {self.reason}"
            raise Failure("ToolFailed", said, retry_after=self.retry_after, outage=self.status >= 500)
        text = self.body.decode(self.charset, errors="replace")
        if self.status >= 300:
            raise ToolError(f"{target.url} answered {self.status} {self.reason}: {text[:500]}")
        cut = f"\n[cut: only the first {most} bytes were read]" if self.more else ""
        return f"{target.url} {self.status} {self.kind}\n\n{text}{cut}"


async def read_answer(reader: asyncio.StreamReader, target: Target, most: int) -> Answer:
    """An answer, parsed by the standard library from what was read: never more than ``most`` bytes of body."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        parsed = _parsed(head)
    except (asyncio.LimitOverrunError, asyncio.IncompleteReadError, http.client.HTTPException, ValueError):
        raise ToolError(f"{target.url} did not answer as an HTTP server does") from None
    location = parsed.getheader("location")
    if 300 <= parsed.status < 400:
        return Answer(parsed.status, _line(parsed.reason), location, "", "utf-8", b"", more=False)
    kind = parsed.headers.get_content_type() if parsed.getheader("content-type") else "text/plain"
    encoding = parsed.getheader("content-encoding", "identity").lower()
    if parsed.status < 300 and (not READABLE.fullmatch(kind) or encoding != "identity"):
        what = kind if encoding == "identity" else f"{kind} in {encoding}"
        raise ToolError(f"{target.url} is {_line(what)}, which is not text and is not read")
    try:
        body = await _chunks(reader, most + 1) if parsed.chunked else await _plain(reader, most + 1, parsed.length)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise ConnectionError(f"{target.url} broke off, or its length is wrong: {error}") from None
    charset = parsed.headers.get_content_charset("utf-8")
    charset = charset if _CHARSET.fullmatch(charset) else "utf-8"
    wait = _seconds(parsed.getheader("retry-after", ""))
    more = len(body) > most
    return Answer(parsed.status, _line(parsed.reason), location, kind, charset, body[:most], more, retry_after=wait)


def _seconds(said: str) -> float | None:
    """``Retry-After``, in either of its forms."""
    if re.fullmatch(r"\d{1,9}", said.strip()):
        return float(said)
    try:
        return (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        return None


async def _plain(reader: asyncio.StreamReader, most: int, length: int | None) -> bytes:
    """A body, ``most`` bytes of it; ``length``: how long it says it is."""
    if length is not None:
        return await reader.readexactly(min(most, length))
    found = bytearray()
    while len(found) < most and (part := await reader.read(most - len(found))):
        found += part
    return bytes(found)


async def _chunks(reader: asyncio.StreamReader, most: int) -> bytes:
    """A body that comes in chunks, ``most`` bytes of it."""
    found = bytearray()
    while len(found) < most:
        digits = (await reader.readuntil(b"\r\n")).partition(b";")[0].strip()
        if not re.fullmatch(b"[0-9A-Fa-f]{1,12}", digits):
            raise ValueError(f"a chunk of {digits[:20]!r} bytes")
        if (size := int(digits, 16)) == 0:
            break
        taken = min(size, most - len(found))
        found += await reader.readexactly(taken)
        if taken < size:
            break
        await reader.readexactly(2)
    return bytes(found)


class _Bytes:
    """As much of a socket as ``http.client.HTTPResponse`` wants."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parsed(head: bytes) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(_Bytes(head), method="GET")  # type: ignore[arg-type]  # all that it uses
    response.begin()
    return response


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
