"""A real server that takes alerts, or does not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "T0KEN-in-the-path"


@dataclass
class Webhook:
    """``tried``: every post; ``taken``: those that were answered with 200."""

    url: str = ""
    tried: list[dict[str, Any]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)

    async def until(self, count: int, seconds: float = 120) -> list[dict[str, Any]]:
        """Wait for so many to be taken."""
        async with asyncio.timeout(seconds):
            while len(self.taken) < count:
                await asyncio.sleep(0.05)
        return self.taken

    async def asked(self, count: int) -> None:
        """Wait for so many to be tried, whether or not they are taken."""
        async with asyncio.timeout(60):
            while len(self.tried) < count:
                await asyncio.sleep(0.01)


@contextmanager
def webhook(answer: Callable[[int], int | None] = lambda number: 200) -> Iterator[Webhook]:
    """``answer``: the status for each post, by its number from 0; ``None``: none at all, until the end. While the block
    runs, workers of this process post here."""
    found, over = Webhook(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found.tried.append(body)
            status = answer(len(found.tried) - 1)
            if status is None:
                over.wait()
                return
            if status == 200:
                found.taken.append(body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Not to the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/services/{KEY}"
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("INTERLOCK_ALERT_WEBHOOK", found.url)
            yield found
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
