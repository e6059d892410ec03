"""What an MCP server says beside the protocol: its log lines, kept from secrets, the last ones for errors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import structlog

from interlock.secrets import redacted

log = structlog.get_logger("interlock.mcp")

_LONGEST = 1000


class Diary:
    """Of one process or connection. ``secrets`` are values that were revealed to it: they are never repeated."""

    def __init__(self, server: str, secrets: Iterable[str]) -> None:
        self.server = server
        self._secrets = [secret for secret in secrets if secret]
        self._last: deque[str] = deque(maxlen=3)

    def note(self, what: str, text: str) -> None:
        """A line of its, at debug."""
        line = self.clean(text)[:_LONGEST]
        if not line.strip():
            return
        if what != "log":
            self._last.append(line.strip()[:300])
        log.debug("mcp.said", server=self.server, on=what, line=line)

    def clean(self, text: str) -> str:
        """``text`` without them: also quoted or in base64, where they come from a ``Secret``."""
        text = redacted(text)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    @property
    def last(self) -> str:
        """``; it said: ...``, or nothing."""
        return f"; it said: {' | '.join(self._last)!r}" if self._last else ""
