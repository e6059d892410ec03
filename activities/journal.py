"""Answers that were paid for, kept until they are surely reported: a small SQLite file on the worker's host.

A worker that dies, or that cannot reach the server for longer than the SDK retries, loses its report and not the
answer: the next attempt takes it from here instead of buying it again. It is an economy, never the truth: without
it an answer is bought twice and both are charged.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from interlock.contracts import ModelReply

MAX_AGE = 86_400.0
MAX_BYTES = 256 * 1024 * 1024
PRUNE_EVERY = 500


class Journal:
    """``put`` before reporting, ``get`` before asking again. Entries go after a day, or when they are too many.

    What is written passes through the data converter's codec, so it is encrypted when payloads are."""

    def __init__(self, path: Path, converter: DataConverter, *, max_age: float = MAX_AGE, max_bytes: int = MAX_BYTES):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._converter, self._max_age, self._max_bytes = converter, max_age, max_bytes
        # Autocommit, write-ahead log, no flush to the disk for each entry: an entry survives the process that
        # wrote it, which is what it is for; a power cut may take the last ones.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, at REAL NOT NULL, reply BLOB NOT NULL)"
        )
        self._db.execute("CREATE INDEX IF NOT EXISTS answers_at ON answers (at)")
        path.chmod(0o600)
        self._writes = 0
        self.prune()

    async def put(self, key: str, reply: ModelReply) -> None:
        [payload] = await self._converter.encode([reply])
        row = (key, time.time(), payload.SerializeToString())
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)
        self._writes += 1
        if self._writes % PRUNE_EVERY == 0:
            self.prune()

    async def get(self, key: str) -> ModelReply | None:
        row = self._db.execute("SELECT reply FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        [reply] = await self._converter.decode([Payload.FromString(row[0])], [ModelReply])
        return reply if isinstance(reply, ModelReply) else None

    def prune(self) -> None:
        """Drop what is too old, then the oldest until the rest is small enough."""
        self._db.execute("DELETE FROM answers WHERE at < ?", (time.time() - self._max_age,))
        while (total := self._db.execute("SELECT COALESCE(SUM(LENGTH(reply)), 0) FROM answers").fetchone()[0]) > 0:
            if total <= self._max_bytes:
                return
            self._db.execute("DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY at LIMIT 100)")

    def close(self) -> None:
        self._db.close()


def journal_path() -> Path:
    """``INTERLOCK_JOURNAL``, or ``.interlock/journal.db``. Workers of one host share it."""
    return Path(os.environ.get("INTERLOCK_JOURNAL") or ".interlock/journal.db")
