"""Values that never show in a log, by the names they stand under, however deep."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from structlog.typing import EventDict

SECRET = (
    "authorization", "api_key", "apikey", "password", "passwd", "passphrase", "secret", "token", "access_token",
    "refresh_token", "cookie", "credentials", "private_key",
)  # fmt: skip
"""``x-api-key``, ``Set-Cookie`` and ``client_secret`` are among them: a name counts by how it ends."""

_PLAIN = (str, int, float, bool, type(None))

HIDDEN = "[redacted]"
DEEPEST = 20


class Redaction:
    """A structlog processor. ``names``: in lower case, words joined by underscores."""

    def __init__(self, names: Collection[str]) -> None:
        self._exact = frozenset(names)
        self._ends = tuple(f"_{name}" for name in names)
        # Remembered: the same few names stand on every line.
        self._hides: Callable[[object], bool] = lru_cache(maxsize=1024)(self._is_secret)

    def __call__(self, logger: Any, method: str, event: EventDict) -> EventDict:
        return {name: self._field(name, value) for name, value in event.items()}

    def _field(self, name: str, value: Any) -> Any:
        if name == "exc_info":  # rendered later; it shows no values
            return value
        return HIDDEN if self._hides(name) else self.of(value)

    def of(self, value: Any, depth: int = 0) -> Any:
        """``value`` without what stands under a secret's name in it."""
        if isinstance(value, _PLAIN):
            return value
        if depth == DEEPEST:
            return HIDDEN
        match value:
            case dict():
                return {name: HIDDEN if self._hides(name) else self.of(each, depth + 1) for name, each in value.items()}
            case BaseModel():
                return self.of(value.model_dump(), depth + 1)
            case list() | tuple():
                return [self.of(each, depth + 1) for each in value]
            case _:
                return value

    def _is_secret(self, name: object) -> bool:
        plain = str(name).lower().replace("-", "_")
        return plain in self._exact or plain.endswith(self._ends)


def redaction() -> Redaction:
    """The names that are always secret, and those of ``INTERLOCK_LOG_REDACT``."""
    more = os.environ.get("INTERLOCK_LOG_REDACT", "").split(",")
    asked = (name.strip().lower().replace("-", "_") for name in more)
    return Redaction({*SECRET, *(name for name in asked if name)})
